"""Which networks of `keras.applications` end in a model.onnx: one of each family, with random weights, written and compared.

Each is built as a run builds it, with a decision rule behind it, at the size in brackets; its normalisations take the statistics
of the eight images, so that answers differ between them (`spread`, the largest difference between two).

    python benchmarks/architectures.py [NAME ...]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.model.backend import keras
from lesionlab.model.decide import Decision
from lesionlab.model.export import export_onnx, keras_probabilities
from lesionlab.model.zoo import build_network, with_decision
from lesionlab.recipe import read_recipe

SIDES = {
    "MobileNet": 64, "MobileNetV2": 64, "MobileNetV3Small": 64, "EfficientNetB0": 64, "EfficientNetV2B0": 64,
    "EfficientNetV2S": 64, "ConvNeXtTiny": 64, "ResNet50": 64, "ResNet50V2": 64, "DenseNet121": 64, "VGG16": 64,
    "Xception": 80, "InceptionV3": 80, "NASNetMobile": 224,
}  # fmt: skip
RULE = Decision("prior-corrected", 1.0, (2.0, -1.0, 1.5, 2.5, 0.5, 3.0, 3.5), 0.8)


def main() -> None:
    """Print one line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(SIDES), metavar="NAME", help=f"of {', '.join(SIDES)}")
    for name in parser.parse_args().names:
        print(f"{name:18} ({SIDES[name]} px)  {written(name, SIDES[name])}", flush=True)


def written(name: str, side: int) -> str:
    """Write a network as ONNX and say how far it is from Keras, or why it could not be written."""
    recipe = read_recipe("mobile").with_changes("image", height=side, width=side)
    recipe = recipe.with_changes("model", architecture=name, weights="none")
    network = build_network(recipe, np.full(3, 140.0), np.full(3, 40.0))
    noise = np.random.default_rng(0).integers(0, 256, (8, side, side, 3))
    images = (noise * np.linspace(0.05, 1, 8)[:, None, None, None]).astype(np.uint8)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(images.astype(np.float32), training=True)
    network = with_decision(network, RULE)
    spread = np.ptp(keras_probabilities(network, images), axis=0).max()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            difference = export_onnx(network, Path(folder) / "model.onnx", {}, images)
        except LesionlabError as error:
            return str(error)
    return f"difference {difference:.0e}, spread {spread:.0e}, {time.perf_counter() - started:.0f} s"


if __name__ == "__main__":
    main()
