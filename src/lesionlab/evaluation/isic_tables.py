"""Tables to score: predictions and truth, read strictly, so that every fault is named by its row, column or images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab.data.layouts.metadata import ALIASES, without_suffix
from lesionlab.data.layouts.tables import number, read_rows, tidy
from lesionlab.errors import UsageError
from lesionlab.taxonomy import HAM10000, INDEX_OF, ISIC_COLUMNS

RUN_COLUMNS = ("part", "lesion_id", "truth", "predicted")
ALL_PARTS = "*"
# Of metadata: the first that is there.
_IMAGE_COLUMNS = ("image_id", *(alias for alias, column in ALIASES.items() if column == "image_id"))
_WEIGHT_COLUMNS = ("score_weight", "validation_weight")
_NEVER_SCORED = "ISIC_0035068"  # listed twice in the official test set


@dataclass(frozen=True)
class Table:
    """Images and their values: probabilities or one-hot truth float64 (n, 7) in ISIC's order; weights float64 (n, 2)."""

    images: list[str]
    values: np.ndarray
    weights: np.ndarray


def read_predictions(path: Path, part: str | None = None) -> tuple[Table, list[str]]:
    """Read a table of predictions, and notes on what is odd about it but scored all the same.

    Columns may be named by ISIC's names, by code or by full name, in any order. Of a run's table, `part` is the part to
    read; `ALL_PARTS` reads them all.

    Raises:
        UsageError: names the row and the column at fault.

    """
    header, rows = _by_isic_names(path, *_named_rows(path))
    _need_columns(path, header, ("image", *ISIC_COLUMNS))
    foreign = [column for column in header if column not in ("image", *ISIC_COLUMNS, *RUN_COLUMNS)]
    if foreign:
        raise UsageError(f"{path} has columns that predictions do not have: {', '.join(map(repr, foreign[:5]))}.")
    rows = _of_part(path, header, rows, part)
    images = [without_suffix(row["image"]) for _, row in rows]
    _refuse_repeated(path, images, [line for line, _ in rows])
    values = np.array([[_share(path, line, row, column) for column in ISIC_COLUMNS] for line, row in rows])
    notes = []
    off = np.flatnonzero(np.abs(values.sum(axis=1) - 1) > 1e-3)
    if len(off):
        named = ", ".join(images[index] for index in off[:5])
        notes.append(
            f"{len(off):,} rows of {path} do not sum to 1 ({named}); scored as they are, as the challenge does."
        )
    return Table(images, values, np.ones((len(images), 2))), notes


def _by_isic_names(
    path: Path, header: list[str], rows: list[tuple[int, dict[str, str]]]
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Give columns that name a diagnosis by code or full name ISIC's names, where ISIC's own are not there."""
    if {"image", *ISIC_COLUMNS} <= set(header):
        return header, rows
    new_name = {name: _isic_name(name, has_image="image" in header) for name in header}
    named = list(new_name.values())
    twice = next((name for index, name in enumerate(named) if name in named[:index]), None)
    if twice:
        raise UsageError(f"{path} has two columns for {twice}: {', '.join(n for n in header if new_name[n] == twice)}.")
    return named, [(line, {new_name[name]: value for name, value in row.items()}) for line, row in rows]


def _isic_name(name: str, *, has_image: bool) -> str:
    dx = HAM10000.find(name)
    if dx:
        return ISIC_COLUMNS[INDEX_OF[dx]]
    return "image" if tidy(name) in _IMAGE_COLUMNS and not has_image else name


def read_truth(path: Path) -> Table:
    """Read the truth: ISIC's one-hot table or metadata with `image_id` and `dx`, its columns written in any case.

    Raises:
        UsageError: names the row and the column at fault.

    """
    header, rows = _named_rows(path, tidy)
    named = [column for column in _IMAGE_COLUMNS if column in header]
    is_one_hot = {"image", *(column.lower() for column in ISIC_COLUMNS)} <= set(header)
    is_metadata = bool(named) and "dx" in header and not is_one_hot
    if is_metadata:
        rows = [(line, row | {"image": row[named[0]]}) for line, row in rows]
    else:
        header, rows = _by_isic_names(path, header, rows)
        _need_columns(path, header, ("image", *ISIC_COLUMNS), " (or give metadata with image_id and dx)")
    read_row = _metadata_row if is_metadata else _one_hot_row
    images = [without_suffix(row["image"]) for _, row in rows]
    _refuse_repeated(path, images, [line for line, _ in rows])
    values = np.array([read_row(path, line, row) for line, row in rows])
    weights = np.array([[_weight(path, line, row, column) for column in _WEIGHT_COLUMNS] for line, row in rows])
    weights[[image == _NEVER_SCORED for image in images]] = 0.0
    return Table(images, values, weights)


def _metadata_row(path: Path, line: int, row: dict[str, str]) -> list[float]:
    dx = HAM10000.find(row["dx"])
    if dx is None:
        raise UsageError(f"{path}, row {line}: dx {row['dx']!r} is not one of {', '.join(INDEX_OF)}.")
    return [float(index == INDEX_OF[dx]) for index in range(len(INDEX_OF))]


def _one_hot_row(path: Path, line: int, row: dict[str, str]) -> list[float]:
    values = [_share(path, line, row, column) for column in ISIC_COLUMNS]
    if sorted(values) != [0.0] * (len(values) - 1) + [1.0]:
        raise UsageError(f"{path}, row {line} ({row['image']}): the truth needs one 1 and six 0 in ISIC's columns.")
    return values


def _share(path: Path, line: int, row: dict[str, str], column: str) -> float:
    value = _number(path, line, row, column)
    if not 0 <= value <= 1:
        raise UsageError(f"{path}, row {line} ({row['image']}), column {column}: {row[column]} is outside 0 to 1.")
    return value


def _weight(path: Path, line: int, row: dict[str, str], column: str) -> float:
    if column not in row:
        return 1.0
    value = _number(path, line, row, column)
    if not 0 <= value < math.inf:
        raise UsageError(f"{path}, row {line}, column {column}: the weight {row[column]} is not 0 or more.")
    return value


def _number(path: Path, line: int, row: dict[str, str], column: str) -> float:
    text = row[column].strip()
    try:
        value = number(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        what = "the value is missing" if text.lower() in ("", "nan", "na", "null") else f"{text!r} is no number"
        raise UsageError(f"{path}, row {line} ({row['image']}), column {column}: {what}.")
    return value


def _named_rows(path: Path, rename: Callable[[str], str] = str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read column names, renamed, and rows; each row with its line number, as an editor counts them."""
    header, rows = read_rows(path, rename)
    return header, [(line, dict(zip(header, cells, strict=True))) for line, cells in rows]


def _need_columns(path: Path, header: list[str], needed: Sequence[str], hint: str = "") -> None:
    missing = [column for column in needed if column not in header]
    if missing:
        raise UsageError(f"{path} has no column {', '.join(missing)}{hint}; it has {', '.join(header[:12])}.")


def _of_part(
    path: Path, header: list[str], rows: list[tuple[int, dict[str, str]]], part: str | None
) -> list[tuple[int, dict[str, str]]]:
    if "part" not in header:
        if part not in (None, ALL_PARTS):
            raise UsageError(f"{path} has no column 'part': leave out --part.")
        return rows
    if part == ALL_PARTS:
        return rows
    parts = sorted({row["part"] for _, row in rows})
    if part is None and len(parts) > 1:
        raise UsageError(
            f"{path} holds {', '.join(parts)}, of which training was on one. Choose: lesionlab score --part test, or "
            f"lesionlab evaluate --split {path.with_name('splits.csv')}."
        )
    if part is not None and part not in parts:
        raise UsageError(f"{path} has no part {part!r}: it has {', '.join(parts)}.")
    return [(line, row) for line, row in rows if part in (None, row["part"])]


def _refuse_repeated(path: Path, images: list[str], lines: list[int]) -> None:
    seen: dict[str, int] = {}
    for image, line in zip(images, lines, strict=True):
        if not image:
            raise UsageError(f"{path}, row {line}: the image has no name.")
        if image in seen:
            raise UsageError(f"{path}, row {line}: the image {image!r} is in row {seen[image]} too.")
        seen[image] = line
