r"""What the packaged model is trained from, made from ../shared: see docs/experiments.md.

- `ham10000`: HAM10000 less the images of lesions that the official ISIC 2018 test shows too: a link to the images, and the
  other rows of the metadata.
- `mobilenet_v2.weights.h5`: ImageNet's weights of MobileNetV2, as `keras.applications` names them. The file at hand was
  laid out from PyTorch's: it normalises by ImageNet's channel statistics and has another epsilon. Both are folded into the
  first layers here, so that pixels from -1 to 1 give the same; PyTorch pads both sides where Keras pads one, which moves
  the maps by a pixel, and is not undone.

    python benchmarks/packaged.py --out build/packaged
    lesionlab run --data build/packaged/ham10000 --data ../shared/milk10k --recipe bundled \
        --weights build/packaged/mobilenet_v2.weights.h5
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

SHARED = Path(__file__).parents[2] / "shared"


def main() -> None:
    """Make both, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = leave_out_seen(options.shared / "ham10000", options.out / "ham10000")
    print(f"{options.out / 'ham10000'}: {rows:,} rows")
    source = options.shared / "weights" / "mobilenet_v2_1_0_224_imagenet_notop.keras"
    target = options.out / "mobilenet_v2.weights.h5"
    network = as_keras(keras.saving.load_model(source))
    network.save_weights(target)
    print(f"{target}: {network.count_params():,} parameters")


def leave_out_seen(data: Path, out: Path) -> int:
    """Lay HAM10000 out again without the images that the official test shows; give the number of rows."""
    seen = set(pd.read_csv(data / "seen_in_official_test.csv")["image_id"])
    return lay_out(data, out, lambda image_id: image_id not in seen)


def lay_out(data: Path, out: Path, is_wanted: Callable[[str], bool]) -> int:
    """Lay some of HAM10000's images out again: a link to the images, and their rows of the metadata; give their number."""
    out.mkdir(parents=True, exist_ok=True)
    images = out / "HAM10000_images"
    if not images.exists():
        images.symlink_to((data / "HAM10000_images").resolve(), target_is_directory=True)
    table = pd.read_csv(data / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    table = table[table["image_id"].map(is_wanted)]
    table.to_csv(out / "HAM10000_metadata.csv", index=False)
    return len(table)


def as_keras(source: keras.Model) -> keras.Model:
    """Lay the weights into `keras.applications.MobileNetV2` without top, for pixels from -1 to 1."""
    network = keras.applications.MobileNetV2(input_shape=(None, None, 3), include_top=False, weights=None)
    network.set_weights(source.get_weights())
    choices = source.get_layer("torch_normalisation").get_config()
    scale, offset = (np.array(choices[key], np.float32)[None, None, :, None] for key in ("scale", "offset"))
    (first, *_), (norm, *_) = of_kind(network, keras.layers.Conv2D), of_kind(network, keras.layers.BatchNormalization)
    (kernel,) = first.get_weights()
    gamma, beta, mean, variance = norm.get_weights()
    first.set_weights([kernel * scale])
    norm.set_weights([gamma, beta, mean - (kernel * offset).sum(axis=(0, 1, 2)), variance])
    epsilon = of_kind(source, keras.layers.BatchNormalization)[0].epsilon
    for layer in of_kind(network, keras.layers.BatchNormalization):
        gamma, beta, mean, variance = layer.get_weights()
        layer.set_weights([gamma * np.sqrt((variance + layer.epsilon) / (variance + epsilon)), beta, mean, variance])
    return network


def of_kind(network: keras.Model, kind: type) -> list:
    """The network's layers of one kind, in order."""
    return [layer for layer in network.layers if type(layer) is kind]


if __name__ == "__main__":
    main()
