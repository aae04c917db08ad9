"""What moves an answer outside lesionlab: `python benchmarks/pixels_elsewhere.py FOLDER`; for docs/export.md.

JPEGs are decoded by TensorFlow in place of Pillow, scaled by other filters and without antialiasing, and the 8-bit file is run
in ONNX Runtime's optimised graph and in the plain one. Printed are, over the same images: of decoders the share of the values
that differ before scaling; how far the scaled levels lie apart in the mean; of each image's largest difference of a probability
the median, the 95th percentile and the largest; and how many answers change. Where one does, its probability jumps: the
decision rule is a step.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf
from PIL import Image

from lesionlab.inference.bundle import MODELS
from lesionlab.inference.model import Model, load_model
from lesionlab.progress import track

Pixels = np.ndarray  # uint8 (height, width, 3)
_FILTERS = {name: Image.Resampling[name] for name in ("BICUBIC", "BOX", "NEAREST")}


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of JPEGs")
    parser.add_argument("--images", type=int, default=64, help="so many of them, spread evenly (default: 64)")
    options = parser.parse_args()
    paths = sorted(options.folder.rglob("*.jpg"))
    paths = [paths[place] for place in np.linspace(0, len(paths) - 1, options.images).astype(int)]
    model = load_model("bundled")
    decoded = [by_pillow(path) for path in paths]
    small = np.stack([scaled(pixels, model) for pixels in decoded])
    expected = answers(model, small)
    print(f"{len(paths)} images, {model.facts.name}\n")
    print("| instead | values that differ | levels, mean | probability: median | 95 % | largest | other answers |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, decode in decoders().items():
        others = [decode(path) for path in track(paths, name)]
        differ = np.mean([(one != other).mean() for one, other in zip(decoded, others, strict=True)])
        made = np.stack([scaled(pixels, model) for pixels in others])
        row(name, expected, answers(model, made), f"{differ:.0%}", levels(small, made))
    for name, scale in scalings(model).items():
        made = np.stack([scale(pixels) for pixels in decoded])
        row(name, expected, answers(model, made), "", levels(small, made))
    for name in ("bundled", "bundled-int8"):
        optimised, plain = (run_graph(name, small, is_optimised) for is_optimised in (True, False))
        row(f"{name}: plain graph in place of the optimised one", optimised, plain)


def row(name: str, expected: np.ndarray, found: np.ndarray, differ: str = "", off: str = "") -> None:
    """Print a row of the table; probabilities (n, k) both."""
    changed = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    worst = np.abs(expected - found).max(axis=1)
    figures = " | ".join(f"{np.percentile(worst, q):.4f}" for q in (50, 95, 100))
    print(f"| {name} | {differ} | {off} | {figures} | {changed} |", flush=True)


def levels(one: np.ndarray, other: np.ndarray) -> str:
    """Mean distance of two stacks of uint8 pixels."""
    return f"{np.abs(one.astype(np.int16) - other).mean():.2f}"


def by_pillow(path: Path) -> Pixels:
    """Decode as lesionlab does a JPEG that lies upright and has no colour profile."""
    return np.asarray(Image.open(path).convert("RGB"))


def decoders() -> dict[str, Callable[[Path], Pixels]]:
    """TensorFlow's two ways."""

    def decode(path: Path, method: str) -> Pixels:
        return tf.io.decode_jpeg(path.read_bytes(), channels=3, dct_method=method).numpy()

    return {
        "`tf.io.decode_jpeg`": lambda path: decode(path, ""),
        '`tf.io.decode_jpeg(dct_method="INTEGER_ACCURATE")`': lambda path: decode(path, "INTEGER_ACCURATE"),
    }


def box_of(pixels: Pixels, model: Model) -> tuple[int, int, int, int]:
    """The largest centred box with the model's aspect, in whole pixels: left, upper, right, lower."""
    height, width = pixels.shape[:2]
    scale = min(width / model.facts.width, height / model.facts.height)
    inner = round(scale * model.facts.width), round(scale * model.facts.height)
    left, upper = (width - inner[0]) // 2, (height - inner[1]) // 2
    return left, upper, left + inner[0], upper + inner[1]


def scaled(pixels: Pixels, model: Model, resampling: Image.Resampling = Image.Resampling.BILINEAR) -> Pixels:
    """Crop and scale by Pillow."""
    size = model.facts.width, model.facts.height
    return np.asarray(Image.fromarray(pixels).resize(size, resampling, box_of(pixels, model)))


def scalings(model: Model) -> dict[str, Callable[[Pixels], Pixels]]:
    """Other ways to scale the same box."""

    def by_tensorflow(pixels: Pixels, antialias: bool) -> Pixels:
        left, upper, right, lower = box_of(pixels, model)
        size = model.facts.height, model.facts.width
        made = tf.image.resize(pixels[upper:lower, left:right], size, "bilinear", antialias=antialias)
        return np.clip(np.round(made.numpy()), 0, 255).astype(np.uint8)

    own = {f"Pillow's `{name}`": lambda pixels, by=by: scaled(pixels, model, by) for name, by in _FILTERS.items()}
    return own | {
        "`tf.image.resize(antialias=True)`": lambda pixels: by_tensorflow(pixels, True),
        "`tf.image.resize`, which does not smooth": lambda pixels: by_tensorflow(pixels, False),
    }


def answers(model: Model, images: np.ndarray) -> np.ndarray:
    """Probabilities (n, k) of images of the model's size."""
    return np.concatenate([model.bundle.run(["probabilities"], image[None])["probabilities"] for image in images])


def run_graph(name: str, images: np.ndarray, is_optimised: bool) -> np.ndarray:
    """Probabilities (n, k) of a packaged model, its graph optimised by ONNX Runtime or as it stands in the file."""
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if is_optimised else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession((MODELS / f"{name}.onnx").read_bytes(), options, ["CPUExecutionProvider"])
    return np.concatenate([session.run(["probabilities"], {"image": image[None]})[0] for image in images])


if __name__ == "__main__":
    main()
