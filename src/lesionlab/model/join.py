"""Several networks made one, whose logits are the mean of theirs (deep ensemble: Lakshminarayanan et al., NeurIPS 2017).

The last maps of all members, laid side by side, go through one global average and one dense layer: the joined network has
features and activation maps as any other, and is exported and explained the same way.
"""

from collections.abc import Sequence

import numpy as np

from lesionlab.errors import UsageError
from lesionlab.model.architectures import name_of_network
from lesionlab.model.backend import keras
from lesionlab.model.export.onnx import global_average


def join(members: Sequence[keras.Model], name: str) -> keras.Model:
    """Join networks of `lesionlab.model.architectures.build_network` that end in a global average.

    Args:
        members: each from float32 (n, height, width, 3) to (n, k) probabilities, all of one input size and one last grid.
        name: of the joined network.

    Returns:
        A network of the same shapes; the softmax of the mean of the members' logits.

    Raises:
        UsageError: a member that does not end in a global average, or members of different sizes.

    """
    pools = [_pool(member) for member in members]
    shapes = {(member.input_shape[1:], pool.input.shape[1:3]) for member, pool in zip(members, pools, strict=True)}
    if len(shapes) > 1:
        raise UsageError("Networks of different image sizes or last grids cannot be joined: " + _listed(shapes))
    inputs = keras.Input(members[0].input_shape[1:], name="image")
    bodies = [
        keras.Model(member.inputs, pool.input, name=f"member_{number}")
        for number, (member, pool) in enumerate(zip(members, pools, strict=True), 1)
    ]
    maps = [body(inputs) for body in bodies]
    x = keras.layers.Concatenate(name="members")(maps)  # (n, gh, gw, channels of all)
    x = keras.layers.GlobalAveragePooling2D(name="mean_over_image")(x)
    head = keras.layers.Dense(members[0].output_shape[1], activation="softmax", name="probabilities")
    joined = keras.Model(inputs, head(x), name=name_of_network(name))
    kernels, biases = zip(*(member.get_layer("probabilities").get_weights() for member in members), strict=True)
    head.set_weights([np.concatenate(kernels) / len(members), np.mean(biases, axis=0)])
    return joined


def _pool(member: keras.Model) -> keras.layers.Layer:
    pool = global_average(member)
    if pool is None:
        raise UsageError(f"The network {member.name!r} does not end in a global average and cannot be joined.")
    return pool


def _listed(shapes: set[tuple]) -> str:
    return ", ".join(f"{size[0]} x {size[1]} px with {grid[0]} x {grid[1]}" for size, grid in sorted(shapes))
