"""Weights in 8 or 16 bits: an exported file a quarter as large, whose answers are still those of its Keras network.

Batch normalisation is folded into the convolution before it when a network is exported, so that weights rounded in Keras
would come out of the export unrounded. They are rounded here as they will be folded: `round_weights` makes the Keras network
one whose folded weights fit in few bits, `store_compactly` then stores those without loss, and writes behind them how they
become 32 bits again. ONNX Runtime does that once, when it opens the file; the arithmetic stays float32.
"""

from typing import Any

import numpy as np

from lesionlab.model.backend import keras

_MIN_SIZE = 256  # smaller arrays are not worth a cast
_MIN_SIZE_OF_BYTES = 4096  # the first layers are small, and all that follows depends on them
_LEVELS = 127
_TOLERANCE = 1e-6  # relative, of float32 arithmetic in the folding
_MIN_FACTOR = 1e-6


def round_weights(network: keras.Model) -> None:
    """Round the convolution kernels, in place, so that they fit in 8 bits, small ones in 16, once normalisation is folded in.

    A folded weight changes by 0.4 % at most of the largest of its output channel; one of a small kernel by 0.05 % of itself,
    if it is 6e-5 or more. Depthwise kernels stay.
    """
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D):
            kernel, *bias = layer.get_weights()
            factor = _folded_factor(layer)
            folded = kernel * factor
            if kernel.size >= _MIN_SIZE_OF_BYTES:
                whole, step = _in_bytes(folded, axis=(0, 1, 2))
                rounded = whole.astype(np.float32) * step
            else:
                rounded = folded.astype(np.float16).astype(np.float32)
            layer.set_weights([rounded / factor, *bias])


def store_compactly(model: Any) -> None:
    """Store those weights of an ONNX model in 8 or 16 bits, in place, that fit without loss; all others stay as they are."""
    import onnx

    to_tensor, make_node, float32 = onnx.numpy_helper.from_array, onnx.helper.make_node, onnx.TensorProto.FLOAT
    graph = model.graph
    nodes = []
    for tensor in list(graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MIN_SIZE:
            continue
        name = tensor.name
        if values.ndim == 4 and values.size >= _MIN_SIZE_OF_BYTES:
            whole, step = _in_bytes(values, axis=(1, 2, 3))
            if np.all(np.abs(whole * step - values) <= _TOLERANCE * _LEVELS * step):
                tensor.CopyFrom(to_tensor(whole, f"{name}/whole"))
                graph.initializer.append(to_tensor(step, f"{name}/step"))
                nodes.append(make_node("Cast", [f"{name}/whole"], [f"{name}/cast"], f"{name}/cast", to=float32))
                nodes.append(make_node("Mul", [f"{name}/cast", f"{name}/step"], [name], f"{name}/scaled"))
                continue
        half = values.astype(np.float16)
        if np.all(np.abs(half.astype(np.float32) - values) <= _TOLERANCE * np.abs(values)):
            tensor.CopyFrom(to_tensor(half, f"{name}/half"))
            nodes.append(make_node("Cast", [f"{name}/half"], [name], f"{name}/cast", to=float32))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _in_bytes(values: np.ndarray, axis: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The nearest whole numbers, int8, and the step between them, float32: for each output channel, all but `axis`, one."""
    step = np.max(np.abs(values), axis=axis, keepdims=True).astype(np.float32) / np.float32(_LEVELS)
    step = np.where(step > 0, step, np.float32(1))
    return np.rint(values / step).astype(np.int8), step


def _folded_factor(layer: Any) -> np.ndarray | float:
    """What each output channel of a kernel is multiplied by when the batch normalisation that follows is folded into it."""
    users = {id(node.operation): node.operation for node in layer._outbound_nodes}
    following = next(iter(users.values()), None)
    if len(users) != 1 or not isinstance(following, keras.layers.BatchNormalization):
        return 1.0
    if following.moving_variance.shape != (layer.filters,):
        return 1.0
    scale = keras.ops.convert_to_numpy(following.gamma) if following.scale else 1.0
    factor = scale / np.sqrt(keras.ops.convert_to_numpy(following.moving_variance) + following.epsilon)
    return np.where(np.abs(factor) < _MIN_FACTOR, 1.0, factor).astype(np.float32)
