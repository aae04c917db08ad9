"""An ONNX file looked through as protobuf, without running it and without the onnx package.

In: the bytes. Out: its metadata, and what in it would reach outside the file or hide code. Only what lesionlab's own exports
need is let through; the field numbers are those of onnx.proto.
"""

from collections.abc import Iterator
from typing import Any

_MAX_PARTS = 1_000_000  # fields looked at, about a second
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OWN_OPERATORS = (b"", b"ai.onnx", b"ai.onnx.ml")


def scan(data: bytes) -> tuple[dict[str, str], str | None]:
    """Read an ONNX file's metadata, and say what is dangerous about it, None where nothing is.

    Raises:
        ValueError: it is not ONNX, or damaged; says where.

    """
    metadata: dict[str, str] = {}
    dangers = list(_scan_model(memoryview(data), metadata))
    return metadata, dangers[0] if dangers else None


def _scan_model(data: memoryview, facts: dict[str, str]) -> Iterator[str]:
    """Yield what makes an ONNX file dangerous; fill `facts` with its metadata. Field numbers are those of onnx.proto."""
    budget = [_MAX_PARTS]
    has_graph = False
    for number, value in fields(data, budget):
        if number == 7:
            has_graph = True
            yield from _scan_graph(value, budget)
        elif number == 14:
            entry = dict(fields(value, budget))
            key, text = (_text(entry.get(part, memoryview(b""))).decode() for part in (1, 2))
            facts[key] = text
        elif number in (20, 25):
            yield "holds functions or training steps of its own"
    if not has_graph:
        raise ValueError("it holds no graph")


def _scan_graph(graph: memoryview, budget: list[int]) -> Iterator[str]:
    for number, value in fields(graph, budget):
        if number == 1:
            yield from _scan_node(value, budget)
        elif number == 5:
            yield from _scan_tensor(value, budget)
        elif number == 15:
            yield "holds sparse tensors"


def _scan_node(node: memoryview, budget: list[int]) -> Iterator[str]:
    for number, value in fields(node, budget):
        if number == 7 and (domain := _text(value)) not in _OWN_OPERATORS:
            yield f"needs operators of {domain.decode(errors='replace')!r}"
        if number == 5:
            for part, content in fields(value, budget):
                if part in (5, 10):
                    yield from _scan_tensor(content, budget)
                elif part in (6, 11, 22, 23):
                    yield "holds loops, branches or sparse tensors"


def _scan_tensor(tensor: memoryview, budget: list[int]) -> Iterator[str]:
    for number, value in fields(tensor, budget):
        if number == 13 or (number == 14 and value != 0):
            yield "points to data in other files"


def _text(value: Any) -> bytes:
    if not isinstance(value, memoryview):  # bytes(number) would take that much memory
        raise ValueError("a number stands where a text should")
    return bytes(value)


def fields(data: memoryview, budget: list[int] | None = None) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a protobuf message: int for numbers, memoryview for all else.

    `budget` holds how many more parts may be read, and is drawn on; by default a million.
    A message where a string or number was expected, or the other way round, is not told apart; the callers compare.

    Raises:
        ValueError: not protobuf, or more parts than any model has.

    """
    if not isinstance(data, memoryview):
        raise ValueError("a number stands where a message should")
    budget = [_MAX_PARTS] if budget is None else budget
    at, end = 0, len(data)
    while at < end:
        budget[0] -= 1
        if budget[0] < 0:
            raise ValueError("it has too many parts")
        tag, at = _varint(data, at)
        if tag >= 2**32:  # other readers would drop the upper bits and see another field
            raise ValueError(f"a field number too large at byte {at}")
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(kind)
        if kind == _BYTES:
            length, at = _varint(data, at)
        if length is None or at + length > end:
            raise ValueError(f"cut short or no protobuf at byte {at}")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise ValueError("it is cut short")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number too long at byte {at}")
