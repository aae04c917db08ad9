"""What tf2onnx leaves to do until a graph is plain ONNX with the inputs and outputs that `lesionlab.inference.bundle` reads."""

from collections.abc import Iterator
from typing import Any

import numpy as np

OUTPUTS = ("probabilities", "activation_maps", "features")


def make_plain(graph: Any) -> None:
    """Change an ONNX graph in place: one input, outputs by their names, no operation that ONNX lacks though it could say it."""
    _without_unused_inputs(graph)
    _name_outputs(graph)
    _without_erfc(graph)
    _flip_by_slices(graph)


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


def _flip_by_slices(graph: Any) -> None:
    """Write a flip, for which tf2onnx takes ReverseSequence of whole lengths, as a Slice with step -1.

    ONNX Runtime moves transpositions through a Slice, and joins them, which it cannot with the other: the same bits in less
    time.
    """
    from onnx import helper, numpy_helper

    nodes: list[Any] = []
    made: dict[str, np.ndarray] = {}
    for node in graph.node:
        if node.op_type != "ReverseSequence" or "ReverseV2" not in node.name:
            nodes.append(node)
            continue
        axis = next(item.i for item in node.attribute if item.name == "time_axis")
        values = {"start": -1, "end": np.iinfo(np.int64).min, "axis": axis, "step": -1}
        names = [f"flip/{key}_{value}" for key, value in values.items()]
        made |= {name: np.array([value]) for name, value in zip(names, values.values(), strict=True)}
        nodes.append(helper.make_node("Slice", [node.input[0], *names], list(node.output), node.name))
    if made:
        graph.initializer.extend(numpy_helper.from_array(value.astype(np.int64), name) for name, value in made.items())
        del graph.node[:]
        graph.node.extend(nodes)
        drop_unused(graph)


def needed_nodes(graph: Any, names: list[str]) -> Iterator[Any]:
    """Give the nodes that some tensors need, in the graph's order."""
    made_by = {name: number for number, node in enumerate(graph.node) for name in node.output}
    waiting, wanted = list(names), set[int]()
    while waiting:
        number = made_by.get(waiting.pop())
        if number is not None and number not in wanted:
            wanted.add(number)
            waiting += graph.node[number].input
    return (graph.node[number] for number in sorted(wanted))


def drop_unused(graph: Any) -> None:
    """Drop nodes that no output needs, and constants that no node takes."""
    nodes = list(needed_nodes(graph, [output.name for output in graph.output]))
    del graph.node[:]
    graph.node.extend(nodes)
    taken = {name for node in nodes for name in node.input}
    kept = [item for item in graph.initializer if item.name in taken]
    del graph.initializer[:]
    graph.initializer.extend(kept)
