"""Put every `--help`, and every key of the typed files, into docs/commands.md, between their markers.

Run: `python docs/make_commands.py`.
"""

import argparse
import inspect
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from lesionlab.cli import make_parser
from lesionlab.evaluation.metrics_file import Metrics
from lesionlab.runs.manifest import EvaluationManifest, Manifest

PAGE = Path(__file__).parent / "commands.md"
FILES = {"manifest": Manifest, "evaluation": EvaluationManifest, "metrics": Metrics}
_HELP = re.compile(r"(?<=<!-- help: )([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)
_KEYS = re.compile(r"(?<=<!-- keys: )(\w+) -->\n.*?<!-- end -->", re.DOTALL)
_DESCRIBED = re.compile(r"^    (\w+): (.+(?:\n        .+)*)$", re.MULTILINE)


def with_help(text: str) -> str:
    """Replace each block `<!-- help: COMMAND -->` … `<!-- end -->` by what `lesionlab COMMAND --help` prints at 80 columns."""
    os.environ["COLUMNS"] = "80"
    parser = make_parser()
    commands = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    parsers = {"lesionlab": parser, **commands}
    return _HELP.sub(lambda found: f"{found[1]} -->\n```text\n{parsers[found[1]].format_help()}```\n<!-- end -->", text)


def with_keys(text: str) -> str:
    """Replace each block `<!-- keys: FILE -->` … `<!-- end -->` by a table of the file's keys."""
    return _KEYS.sub(lambda found: f"{found[1]} -->\n{_table(FILES[found[1]])}\n<!-- end -->", text)


def _table(kind: type) -> str:
    rows = [f"| `{key}` | {meaning} |" for key, meaning in keys_of(kind)]
    return "\n".join(["", "| key | what it holds |", "| --- | --- |", *rows, ""])


def keys_of(kind: type, prefix: str = "", known: dict[type, str] | None = None) -> Iterator[tuple[str, str]]:
    """Give each key of a class, dotted, with what it means; `[]` stands for every item of a list, `*` for every key.

    What a key means stands in its `msgspec.Meta`, or under `Attributes:` in the docstring of its class. Of classes whose keys
    were given already (`known`, with where), or whose base's were, the place is named and not the keys again.

    Raises:
        KeyError: a key is not described.

    """
    known = {} if known is None else known
    inherited = {name for base in kind.__mro__[1:] if base in known for name in get_type_hints(base)}
    described = dict(_DESCRIBED.findall(inspect.getdoc(kind) or ""))
    names = {f.name: f.encode_name for f in msgspec.structs.fields(kind)} if issubclass(kind, msgspec.Struct) else {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name in inherited:
            continue
        key = f"{prefix}{names.get(name, name)}"
        inside = [(inner, infix) for inner, infix in _inner(hint, "") if _is_described(inner)]
        again = ", ".join(f"`{known[each]}`" for inner, _ in inside for each in inner.__mro__ if each in known)
        meaning = " ".join((_meta(hint) or described[name]).split()).rstrip(".")
        yield key, f"{meaning}; has the keys of {again}" if again else meaning
        for inner, infix in inside:
            if inner not in known:
                known[inner] = key
                yield from keys_of(inner, f"{key}{infix}.", known)


def _meta(hint: Any) -> str:
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((note.description for note in notes if isinstance(note, msgspec.Meta) and note.description), "")


def _inner(hint: Any, infix: str) -> Iterator[tuple[type, str]]:
    """Give the classes within a type, and what stands for them in a key."""
    if isinstance(hint, type) and not get_args(hint):
        yield hint, infix
        return
    infix += {tuple: "[]", list: "[]", Sequence: "[]", dict: ".*"}.get(get_origin(hint), "")
    inside = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
    for argument in inside:
        yield from _inner(argument, infix)


def _is_described(kind: type) -> bool:
    has_notes = issubclass(kind, msgspec.Struct) and any(map(_meta, get_type_hints(kind, include_extras=True).values()))
    return has_notes or "Attributes:" in (inspect.getdoc(kind) or "")


if __name__ == "__main__":
    PAGE.write_text(with_keys(with_help(PAGE.read_text(encoding="utf-8"))), encoding="utf-8")
