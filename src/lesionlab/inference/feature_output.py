"""A model file that does not give its features, made to: what goes into its last dense layer becomes the output `features`.

In: the bytes of a `.onnx` file. Out: the same bytes, and some 100 more behind them. Protobuf joins a message that is written
twice, so the file is not taken apart: a second `graph` behind it, which holds one node (Identity) and one output, is added to
the first. The layer is found by the structure of the graph, not by a name, so that it is found in every kind of network, and
in 8-bit files.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lesionlab.inference.onnx_scan import fields

FEATURES, PROBABILITIES = "features", "probabilities"
_DENSE = ("MatMul", "Gemm")
# Field numbers of onnx.proto: of a model, a graph, a node, a value.
_GRAPH, _NODE, _GRAPH_INPUT, _OUTPUT = 7, 1, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _OPERATOR = 1, 2, 3, 4
_VALUE_NAME = 1


@dataclass(frozen=True)
class Node:
    """An operation of a graph: the names of the tensors that it takes and gives."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def with_features(data: bytes) -> bytes | None:
    """Give a model file that has the output `features`; None where the network has no one last dense layer.

    Args:
        data: of a `.onnx` file that `lesionlab.inference.onnx_scan.scan` has let through.

    """
    nodes, given, outputs = _read(memoryview(data))
    if FEATURES in outputs:
        return data
    head = last_dense(nodes, given)
    if head is None:
        return None
    two_axes = _field(2, _field(1, b"") * 2)  # of a tensor type, its shape: axes of any length
    kind = _field(1, bytes([1 << 3, 1]) + two_axes)  # a tensor of float32
    value = _field(_OUTPUT, _texts({_VALUE_NAME: FEATURES}) + _field(2, kind))
    if head.inputs[0] == FEATURES:
        return data + _field(_GRAPH, value)
    node = _texts({_NODE_INPUT: head.inputs[0], _NODE_OUTPUT: FEATURES, _NODE_NAME: FEATURES, _OPERATOR: "Identity"})
    return data + _field(_GRAPH, _field(_NODE, node) + value)


def last_dense(nodes: Iterable[Node], given: Iterable[str], wanted: str = PROBABILITIES) -> Node | None:
    """Find the dense layer that the probabilities come from; None where there is none, or several side by side.

    Args:
        nodes: in the order in which they are computed.
        given: names of the graph's inputs.
        wanted: the output to go back from.

    """
    nodes = list(nodes)
    from_image = set(given)  # what follows from the image; the rest are weights
    for node in nodes:
        if from_image.intersection(node.inputs):
            from_image.update(node.outputs)

    def dense(needed: str) -> list[Node]:
        """Find the dense layers that a tensor comes from, the last one first."""
        above, found = {needed}, []
        for node in reversed(nodes):
            if above.intersection(node.outputs):
                above.update(node.inputs)
                if node.operator in _DENSE and node.inputs[0] in from_image and node.inputs[1] not in from_image:
                    found.append(node)
        return found

    found = dense(wanted)
    if not found or found[1:] != dense(found[0].inputs[0]):
        return None
    return found[0]


def _read(data: memoryview) -> tuple[list[Node], list[str], list[str]]:
    """Give a file's nodes, and the names of its inputs and outputs."""
    nodes: list[Node] = []
    names: dict[int, list[str]] = {_GRAPH_INPUT: [], _OUTPUT: []}
    graphs = (graph for number, graph in fields(data) if number == _GRAPH)
    for number, value in (part for graph in graphs for part in fields(graph)):
        if number == _NODE:
            nodes.append(Node(*_node(value)))
        elif number in names:
            names[number] += [bytes(text).decode() for part, text in fields(value) if part == _VALUE_NAME]
    return nodes, names[_GRAPH_INPUT], names[_OUTPUT]


def _node(node: memoryview) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    texts: dict[int, list[str]] = {_OPERATOR: [], _NODE_INPUT: [], _NODE_OUTPUT: []}
    for number, value in fields(node):
        if number in texts:
            texts[number].append(bytes(value).decode())
    return "".join(texts[_OPERATOR]), tuple(texts[_NODE_INPUT]), tuple(texts[_NODE_OUTPUT])


def _texts(parts: dict[int, str]) -> bytes:
    return b"".join(_field(number, text.encode()) for number, text in parts.items())


def _field(number: int, content: bytes) -> bytes:
    """Write a field of bytes: its number, its length, its content."""
    return bytes(_varint(number << 3 | 2)) + bytes(_varint(len(content))) + content


def _varint(value: int) -> Iterator[int]:
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
