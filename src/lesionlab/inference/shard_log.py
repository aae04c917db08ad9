"""What is done of a job of shards: `_shards.jsonl`, a line for each file, and `_job.json`, what the job is.

A shard is counted once its line is written whole; what a killed process left of a line is cut off.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from lesionlab._version import __version__
from lesionlab.errors import UsageError
from lesionlab.files import write_json
from lesionlab.folders import sweep

JOB, LOG = "_job.json", "_shards.jsonl"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A shard that is done.

    Attributes:
        shard: its number.
        file: its file's name, and that file's size in `bytes`.
        sources: digest of its images.
        rows: in the file.
        node: who made it.
        unreadable: image, source, reason and code of what could not be read.

    """

    shard: int
    file: str
    bytes: int
    sources: str
    rows: int
    node: str
    unreadable: list[tuple[str, str, str, str]]


@dataclass(frozen=True)
class Job:
    """What a folder of shards is of: another model's, format's or size's is another job."""

    model: str
    model_sha256: str
    format: str
    shard_size: int


def begin(folder: Path, job: Job) -> dict[int, Line]:
    """Make or recognise the job in a folder; give the log's lines of what is done, by shard.

    Raises:
        UsageError: the folder holds another job, or a damaged one.

    """
    path = folder / JOB
    wanted = msgspec.to_builtins(job)
    if not path.exists():
        write_json(path, wanted | {"lesionlab": __version__})
        return {}
    try:
        held = dict(json.loads(path.read_text(encoding="utf-8")))
        log = read_log(folder)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{folder} holds a damaged {JOB} or {LOG} ({error}). Choose another with --shards.") from error
    differing = [
        f"{key} {held.get(key)!r} there, {wanted[key]!r} now" for key in wanted if held.get(key) != wanted[key]
    ]
    if differing:
        raise UsageError(f"{folder} holds another job: {'; '.join(differing)}. Choose another folder with --shards.")
    _cut_log(folder)
    sweep(folder)
    return {line.shard: line for line in log if _is_whole(folder / line.file, line.bytes)}


def read_log(folder: Path) -> list[Line]:
    """Read a line for each shard that is done; the latest of a shard counts.

    Raises:
        ValueError: a line is none of `write_line`'s.

    """
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    read: dict[int, Line] = {}
    for number, text in enumerate(lines[:-1], start=1):  # what follows the last line end was cut off by a kill
        try:
            line = msgspec.convert(json.loads(text), Line, strict=True)
        except ValueError as error:  # msgspec's own among them
            raise ValueError(f"line {number} of {LOG}: {text[:100]}") from error
        read[line.shard] = line
    return list(read.values())


def write_line(file: IO[str], line: Line) -> None:
    """Append a line, so that another process sees it: whole, as names that are no Unicode are escaped."""
    file.write(json.dumps(msgspec.to_builtins(line)) + "\n")
    file.flush()


def _is_whole(path: Path, n_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == n_bytes


def _cut_log(folder: Path) -> None:
    """Take away a line that a killed process left half-written: the next one would run on in it."""
    path = folder / LOG
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
