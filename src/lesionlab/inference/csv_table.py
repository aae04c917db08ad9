"""The table that `lesionlab predict --out` writes: valid at any moment, held by one process, gone on with by `--resume`."""

import csv
import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from lesionlab.errors import UsageError
from lesionlab.files import locked
from lesionlab.inference.image_sources import Source
from lesionlab.inference.model import Model
from lesionlab.inference.predictions import Prediction
from lesionlab.inference.shard_files import csv_header, csv_line, csv_row

_HEADER = 4096  # bytes that another model's header may be longer
_CHECKED = 8  # finished images that are predicted again
_SAME = 1e-3  # between two runs of one model; another model differs by more


@dataclass
class Done:
    """The rows of a table, by image: probabilities float32 (n, k), to know its model by; and how many were met again."""

    row_of: dict[str, int] = field(default_factory=dict)
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    n_skipped: int = 0


class PredictedTable:
    """A CSV file that is valid at any moment: a row is written whole, or taken back."""

    def __init__(self, path: Path, columns: Sequence[str], *, resume: bool) -> None:
        """Begin the table of a taxonomy's `columns`, or go on with it.

        Raises:
            UsageError: the file cannot be written, is none of predictions, or another command is writing it.

        """
        self.path, self.header, self.done = path, csv_header(columns), Done()
        try:
            _refuse_other_file(path, self.header)
            is_device = path.exists() and not path.is_file()
            self._file: IO[bytes] = open(path, "wb" if is_device else "ab", buffering=0)  # noqa: SIM115  closed on exit
        except OSError as error:
            raise UsageError(f"{path} cannot be written ({error.strerror}). Choose another file with --out.") from error
        try:
            self._end = 0 if is_device else self._whole_rows(resume)
            if not self._end:
                self._write(csv_line(self.header))
        except BaseException:
            self._file.close()
            raise

    def _whole_rows(self, resume: bool) -> int:
        """Hold the file, and cut it behind its last whole row, or to nothing; say where it ends then."""
        if not locked(self._file.fileno()):
            raise UsageError(f"Another command is writing {self.path}. Wait for it, or choose another file with --out.")
        end = 0
        if resume:
            end = _whole_rows_end(self.path)
            self.done = _read_done(self.path, end, self.header)
        self._file.truncate(end)
        return end

    def __enter__(self) -> "PredictedTable":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, prediction: Prediction) -> None:
        """Append a row.

        Raises:
            OSError: the disk is full; the file then ends with the row before.

        """
        self._write(csv_line(csv_row(prediction)))

    def _write(self, line: str) -> None:
        data = line.encode()
        try:
            written = self._file.write(data)
            if written != len(data):
                self._file.write(data[written:])  # a full disk takes a part first, and raises on the rest
        except OSError:
            with suppress(OSError):  # a pipe or device cannot be cut
                self._file.truncate(self._end)
            raise
        self._end += len(data)


def _refuse_other_file(path: Path, columns: list[str]) -> None:
    """Leave alone what is no table of predictions, nor the beginning of its first line as a killed process leaves it."""
    if not path.is_file():
        return
    header = csv_line(columns).encode().rstrip()
    with path.open("rb") as file:
        line = file.readline(len(BOM_UTF8) + len(header) + _HEADER).removeprefix(BOM_UTF8)
        first_row = file.readline(1024)
    is_ours = line.rstrip(b"\r\n") == header if line.endswith(b"\n") else header.startswith(line)
    if not is_ours:
        raise _of_other_diagnoses(path, line, columns) or no_table(path, columns)
    if _is_one_hot(first_row):
        raise UsageError(
            f"{path} has ISIC's columns, but its first row holds a 1 and 0 for the rest: it is a truth, not predictions, "
            "and is left as it is. Choose another file with --out."
        )


def _is_one_hot(row: bytes) -> bool:
    """Whether the row of a table in ISIC's columns says what an image is; no network is that certain."""
    try:
        *zeros, one = sorted(map(float, row.split(b",")[1:]))
        return one == 1.0 and not any(zeros)
    except ValueError:
        return False


def _of_other_diagnoses(path: Path, line: bytes, columns: list[str]) -> UsageError | None:
    """Word that a table is of other diagnoses, as one that an older model wrote; None where it is no such table."""
    given = line.decode("utf-8", "replace").strip().split(",")
    if len(given) < 3 or given[0] != columns[0] or not all(re.fullmatch(r"[A-Z0-9_-]+", name) for name in given[1:]):
        return None
    return UsageError(
        f"{path} is of other diagnoses than the model's, and is left as it is: it has the columns {','.join(given)}, and the "
        f"model {','.join(columns)}. Choose another file with --out, or give the model that wrote it with --model."
    )


def no_table(path: Path, header: list[str]) -> UsageError:
    """Word what is wrong with a file that is no table of predictions."""
    columns = ",".join(header)
    return UsageError(
        f"{path} is no table of predictions with the columns {columns}, and is left as it is. "
        "Choose another file with --out."
    )


def _read_done(path: Path, end: int, header: list[str]) -> Done:
    with path.open("rb") as file:
        lines = file.read(end).removeprefix(BOM_UTF8).decode("utf-8", "replace").splitlines()
    try:
        rows = [
            row for row in csv.reader(lines) if row
        ]  # an editor or a spreadsheet leaves empty lines, and the mark above
        if rows and (rows[0] != header or any(len(row) != len(header) for row in rows)):
            raise no_table(path, header)
        row_of = {row[0]: number for number, row in enumerate(rows[1:])}
        probabilities = np.array([row[1:] for row in rows[1:]], np.float32).reshape(-1, len(header) - 1)
    except (csv.Error, ValueError) as error:
        raise no_table(path, header) from error
    is_right = np.abs(probabilities.sum(axis=1) - 1) < _SAME
    if not is_right.all():
        name = rows[1 + int(is_right.argmin())][0]
        raise UsageError(
            f"{path}: the row of {name} holds no probabilities that sum to 1. Take the row out, and --resume predicts it anew."
        )
    return Done(row_of, probabilities)


def _whole_rows_end(path: Path) -> int:
    """Where the last whole line ends, in bytes: a killed process may have left a piece of one."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0


def not_done(sources: Iterable[Source], done: Done, model: Model, path: Path) -> Iterator[Source]:
    """Give the sources that the table has no row of; the first eight it has are predicted again, to know model and images by.

    Raises:
        UsageError: these rows are another model's, of other images, or with other metadata.

    """
    n_known = 0
    for source in sources:
        if source.image not in done.row_of:
            yield source
            continue
        done.n_skipped += 1
        if n_known < _CHECKED:
            (result,) = model.stream([source])
            if isinstance(result, Prediction):
                n_known += 1
                _refuse_other_row(result, done, model, path)


def _refuse_other_row(result: Prediction, done: Done, model: Model, path: Path) -> None:
    before = done.probabilities[done.row_of[result.image]]
    now = np.array(list(result.probabilities.values()))
    differences = np.abs(before - now)
    if not (differences <= _SAME).all():
        worst = int(differences.argmax())
        raise UsageError(
            f"{path} was written by another model, of other images or with other --metadata: {result.image} has "
            f"{model.facts.taxonomy.columns[worst]} {before[worst]:.4f} there and {now[worst]:.4f} now. "
            "Choose another file with --out, or leave out --resume."
        )
