"""Which networks end in a model.onnx: one of each family, with random weights, written and compared.

Each is built as a run builds it, with a decision rule behind it, at the size in brackets; its normalisations take the statistics
of the eight images, so that answers differ between them (`spread`, the largest difference between two). `rounding` is how far
Keras's own answers are from the same network's in 64 bits: an export cannot be nearer to them than that.

    python benchmarks/architectures.py [NAME ...]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.model.architectures import build_network, with_decision
from lesionlab.model.backend import keras
from lesionlab.model.decision_rule import Decision
from lesionlab.model.export.onnx import export_onnx
from lesionlab.model.export.proof import keras_probabilities
from lesionlab.recipe import read_recipe

SIDES = {
    "MobileNet": 64, "MobileNetV2": 64, "MobileNetV3Small": 64, "EfficientNetB0": 64, "EfficientNetV2B0": 64,
    "EfficientNetV2S": 64, "ConvNeXtTiny": 64, "ResNet50": 64, "ResNet50V2": 64, "DenseNet121": 64, "VGG16": 64,
    "Xception": 80, "InceptionV3": 80, "NASNetMobile": 224, "EfficientNetLite0": 64,
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
    network = build_network(recipe, np.full(3, 140.0), np.full(3, 40.0), n_diagnoses=7)
    noise = np.random.default_rng(0).integers(0, 256, (8, side, side, 3))
    images = (noise * np.linspace(0.05, 1, 8)[:, None, None, None]).astype(np.uint8)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(images.astype(np.float32), training=True)
    rounding = np.abs(keras_probabilities(network, images) - in_64_bits(network, images)).max()
    network = with_decision(network, RULE)
    spread = np.ptp(keras_probabilities(network, images), axis=0).max()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            difference = export_onnx(network, Path(folder) / "model.onnx", {}, images)
        except LesionlabError as error:
            return f"{error} (rounding {rounding:.0e})"
    return f"difference {difference:.0e}, rounding {rounding:.0e}, spread {spread:.0e}, {time.perf_counter() - started:.0f} s"


def in_64_bits(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Probabilities (n, 7) of the same network computed in float64."""

    def wide(layer: keras.Layer) -> keras.Layer:
        choices = layer.get_config()
        return type(layer).from_config(choices | {"dtype": "float64"} if "dtype" in choices else choices)

    keras.config.set_dtype_policy("float64")
    try:
        wider = keras.models.clone_model(network, clone_function=wide, recursive=True)
        wider.set_weights(network.get_weights())
        return np.asarray(wider(images.astype(np.float64), training=False))
    finally:
        keras.config.set_dtype_policy("float32")


if __name__ == "__main__":
    main()
