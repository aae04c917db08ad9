"""What tf2onnx leaves to do until a graph is plain ONNX with the inputs and outputs that `lesionlab.inference.bundle` reads."""

from typing import Any

import numpy as np

OUTPUTS = ("probabilities", "activation_maps", "features")


def make_plain(graph: Any) -> None:
    """Change an ONNX graph in place: one input, outputs by their names, no operation that ONNX lacks though it could say it."""
    _without_unused_inputs(graph)
    _name_outputs(graph)
    _without_erfc(graph)


def _without_unused_inputs(graph: Any) -> None:
    """Drop inputs that nothing takes: EfficientNet's normalisation leaves its mean and variance behind as such."""
    used = {name for node in graph.node for name in node.input}
    for unused in [given for given in graph.input if given.name not in used]:
        graph.input.remove(unused)


def _name_outputs(graph: Any) -> None:
    """Give the graph's outputs their names and its number of images one name, n."""
    new_name = {output.name: name for output, name in zip(graph.output, OUTPUTS, strict=False)}
    for node in graph.node:
        node.input[:] = [new_name.get(name, name) for name in node.input]
        node.output[:] = [new_name.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = new_name.get(value.name, value.name)
        value.type.tensor_type.shape.dim[0].dim_param = "n"


def _without_erfc(graph: Any) -> None:
    """Write erfc(x), of which TensorFlow makes GELU, as 1 - erf(x): ONNX has no operator for it."""
    from onnx import helper, numpy_helper

    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        (given,), (wanted,) = node.input, node.output
        erf, one = f"{wanted}/erf", f"{wanted}/one"
        graph.initializer.append(numpy_helper.from_array(np.float32(1.0), one))
        nodes += [
            helper.make_node("Erf", [given], [erf], erf),
            helper.make_node("Sub", [one, erf], [wanted], node.name),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
