"""Weights in 16 bits: an exported file half as large, whose answers are still those of its Keras network.

Batch normalisation is folded into the convolution before it when a network is exported, so that weights rounded in Keras
would come out of the export unrounded. They are rounded here as they will be folded: `round_weights` makes the Keras network
one whose folded weights fit in 16 bits, `store_as_half` then stores those without loss, with a cast back to 32 bits behind
them. ONNX Runtime casts once, when it opens the file; the arithmetic stays float32.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from lesionlab.model.backend import keras

_MIN_SIZE = 256  # smaller arrays are not worth a cast
_TOLERANCE = 1e-6  # relative, of float32 arithmetic in the folding
_MIN_FACTOR = 1e-6


def round_weights(network: keras.Model) -> None:
    """Round the convolution kernels, in place, so that they fit in 16 bits once the normalisation behind them is folded in.

    A relative change of 0.0005 at most for each folded weight of 6e-5 or more. Depthwise kernels are small and stay.
    """
    layers = list(_in_order(network))
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, keras.layers.Conv2D):
            kernel, *bias = layer.get_weights()
            factor = _folded_factor(following)
            layer.set_weights([(kernel * factor).astype(np.float16).astype(np.float32) / factor, *bias])


def store_as_half(model: Any) -> None:
    """Store those weights of an ONNX model in 16 bits, in place, that fit without loss; all others stay as they are."""
    import onnx

    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MIN_SIZE:
            continue
        half = values.astype(np.float16)
        if np.any(np.abs(half.astype(np.float32) - values) > _TOLERANCE * np.abs(values)):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}/half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}/half"], [name], f"{name}/cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _in_order(network: keras.Model) -> Iterator[Any]:
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _in_order(layer)
        else:
            yield layer


def _folded_factor(following: Any) -> np.ndarray | float:
    """What each output channel of a kernel is multiplied by when the batch normalisation that follows is folded into it."""
    if not isinstance(following, keras.layers.BatchNormalization):
        return 1.0
    scale = keras.ops.convert_to_numpy(following.gamma) if following.scale else 1.0
    factor = scale / np.sqrt(keras.ops.convert_to_numpy(following.moving_variance) + following.epsilon)
    return np.where(np.abs(factor) < _MIN_FACTOR, 1.0, factor).astype(np.float32)
