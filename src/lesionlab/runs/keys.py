"""What each key of a typed file means, from the docstrings of its classes: for the tables in the documentation."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec


def described_keys(kind: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give each key of a class, dotted, with what it means; `[]` stands for every item of a list, `*` for every key.

    Raises:
        KeyError: a field is not described under `Attributes:`.

    """
    described = dict(re.findall(r"^    (\w+): (.+)$", inspect.getdoc(kind) or "", flags=re.MULTILINE))
    names = {f.name: f.encode_name for f in msgspec.structs.fields(kind)} if issubclass(kind, msgspec.Struct) else {}
    for name, hint in get_type_hints(kind).items():
        key = f"{prefix}{names.get(name, name)}"
        yield key, described[name]
        for inner, infix in _inner(hint):
            if "Attributes:" in (inspect.getdoc(inner) or ""):
                yield from described_keys(inner, f"{key}{infix}.")


def _inner(hint: Any) -> Iterator[tuple[Any, str]]:
    """Give the classes within a type, and what stands for them in a key."""
    infix = {tuple: "[]", dict: ".*"}.get(get_origin(hint), "")
    yield from ((inner, infix) for inner in (get_args(hint) or (hint,)) if isinstance(inner, type))


def table(kind: type) -> str:
    """Write a Markdown table of the keys."""
    rows = [f"| `{key}` | {meaning.rstrip('.')} |" for key, meaning in described_keys(kind)]
    return "\n".join(["| key | what it holds |", "| --- | --- |", *rows]) + "\n"
