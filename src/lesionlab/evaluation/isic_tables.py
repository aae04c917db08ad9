"""Tables to score: predictions and truth, read strictly, so that every fault is named by its row, column or images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab.data.image_formats import without_suffix
from lesionlab.data.layouts.medmnist import MEDMNIST_DX, image_ids_of_results
from lesionlab.data.layouts.tables import number, read_rows, tidy
from lesionlab.data.layouts.written_diagnoses import read_all_dx, taxonomy_of
from lesionlab.errors import UsageError
from lesionlab.evaluation.isic_challenges import CHALLENGES, DIAGNOSES, Challenge, of_taxonomy
from lesionlab.evaluation.isic_rows import MARKS, marks_row, metadata_row, one_hot_row, share, weight
from lesionlab.taxonomy import HAM10000, Taxonomy, wider_than

RUN_COLUMNS = ("part", "lesion_id", "truth", "predicted")
ALL_PARTS = "*"
WEIGHT_COLUMNS = ("score_weight", "validation_weight")
_NEVER_SCORED = "ISIC_0035068"  # listed twice in the official test set

_MEDMNIST_HEADER = ["image", *(DIAGNOSES.columns[HAM10000.index_of[dx]] for dx in MEDMNIST_DX)]

_Rows = list[tuple[int, dict[str, str]]]  # each with its line number, as an editor counts them


@dataclass(frozen=True)
class Table:
    """Rows of n images or lesions and their values.

    `values` are probabilities or the truth, float64 (n, columns) in the challenge's order; `weights` float64 (n, 2).
    """

    images: list[str]
    values: np.ndarray
    weights: np.ndarray


def read_predictions(path: Path, part: str | None = None, challenge: Challenge = DIAGNOSES) -> tuple[Table, list[str]]:
    """Read a table of predictions, and notes on what is odd about it but scored all the same.

    Columns may be named by the challenge's names, by code or by full name, in any order. Where the challenge is about marks
    the file may have no header; results as MedMNIST writes them have none. Of a run's table, `part` is the part to read;
    `ALL_PARTS` reads them all.

    Raises:
        UsageError: names the row and the column at fault.

    """
    header, rows = _named_rows(path, challenge)
    if header == _MEDMNIST_HEADER:
        names = image_ids_of_results(path, [row["image"] for _, row in rows])
        rows = [(line, row | {"image": name}) for (line, row), name in zip(rows, names, strict=True)]
    if wider := _wider(header, challenge):
        return _narrowed(path, part, challenge, wider)
    if challenge.from_diagnoses and _holds_diagnoses(header):
        return _as_marks(path, part, challenge, HAM10000)
    header, rows, notes = _own_names(path, header, rows, challenge)
    key = challenge.key_column
    foreign = [column for column in header if column not in (*challenge.header, *RUN_COLUMNS)]
    if foreign:
        named = ", ".join(map(repr, foreign[:5]))
        raise UsageError(
            f"{path} has columns that predictions do not have: {named}.{_other_challenge(header, challenge)}"
        )
    rows = _of_part(path, header, rows, part)
    images = _keys(path, rows, key, challenge)
    values = np.array([[share(path, line, row, column, key) for column in challenge.columns] for line, row in rows])
    off = np.flatnonzero(np.abs(values.sum(axis=1) - 1) > 1e-3)
    if len(off) and challenge is DIAGNOSES:  # of the others some ask for confidences that do not
        named = ", ".join(images[index] for index in off[:5])
        notes.append(
            f"{len(off):,} rows of {path} do not sum to 1 ({named}); scored as they are, as the challenge does."
        )
    return Table(images, values, np.ones((len(images), 2))), notes


def read_truth(path: Path, challenge: Challenge = DIAGNOSES) -> Table:
    """Read the truth, its columns written in any case: the challenge's own table, or metadata with `image_id` and `dx`.

    Raises:
        UsageError: names the row and the column at fault.

    """
    header, rows = _named_rows(path, challenge)
    keyed = {tidy(name): name for name in header}
    named = [keyed[name] for name in challenge.key_columns if name in keyed]
    is_own = {tidy(column) for column in challenge.columns} <= set(keyed)
    is_metadata = challenge.takes_dx and bool(named) and "dx" in keyed and not is_own
    if is_metadata:
        key, dx = named[0], keyed["dx"]
        rows = [
            (line, {tidy(name): cell for name, cell in row.items()} | {"key": row[key], "dx": row[dx]})
            for line, row in rows
        ]
        images = _keys(path, rows, "key", challenge)
        values = _of_metadata(path, rows, challenge)
    else:
        hint = " (or give metadata with image_id and dx)" if challenge.takes_dx else ""
        header, rows, _ = _own_names(path, header, rows, challenge, hint)
        images = _keys(path, rows, challenge.key_column, challenge)
        read_row = one_hot_row if challenge.has_one_answer else marks_row
        values = np.array([read_row(path, line, row, challenge) for line, row in rows])
    weights = np.array([[weight(path, line, row, column) for column in WEIGHT_COLUMNS] for line, row in rows])
    weights[[image == _NEVER_SCORED for image in images]] = 0.0
    return Table(images, values, weights)


def _of_metadata(path: Path, rows: _Rows, challenge: Challenge) -> np.ndarray:
    """Give the truth that the diagnoses of a table with `dx` stand for, one column marked or the mark: (n, columns)."""
    if challenge.has_one_answer:
        return np.array([metadata_row(path, line, row, challenge) for line, row in rows])
    written = [row["dx"] for _, row in rows]
    taxonomy = taxonomy_of(set(written))
    places, remedy = [f"row {line}" for line, _ in rows], f"Correct them, or give the truth of {challenge.name}."
    codes = read_all_dx(written, places, taxonomy, str(path), remedy)
    return np.isin(codes, _marked(challenge, taxonomy)).astype(float)[:, None]


def _marked(challenge: Challenge, taxonomy: Taxonomy) -> tuple[str, ...]:
    """The diagnoses that have the challenge's mark: all malignant ones, or those that it names."""
    return taxonomy.malignant if challenge.from_diagnoses == HAM10000.malignant else challenge.from_diagnoses


def _named_rows(path: Path, challenge: Challenge) -> tuple[list[str], _Rows]:
    def without_header(cells: list[str]) -> Sequence[str]:
        header = _MEDMNIST_HEADER if challenge is DIAGNOSES else challenge.header
        is_row = len(cells) == len(header) and tidy(cells[0]) not in challenge.key_columns
        return header if is_row and all(map(_is_value, cells[1:])) else ()

    may_lack_header = challenge is DIAGNOSES or not challenge.has_one_answer
    header, rows = read_rows(path, without_header=without_header if may_lack_header else None)
    return header, [(line, dict(zip(header, cells, strict=True))) for line, cells in rows]


def _is_value(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return cell.lower() in MARKS
    return True


def _own_names(
    path: Path, header: list[str], rows: _Rows, challenge: Challenge, hint: str = ""
) -> tuple[list[str], _Rows, list[str]]:
    """Give the columns the challenge's names, and 0 to those that may be missing; say so."""
    new_name = _new_names(header, challenge)
    named = list(new_name.values())
    twice = next((name for index, name in enumerate(named) if name in named[:index]), None)
    if twice:
        raise UsageError(f"{path} has two columns for {twice}: {', '.join(n for n in header if new_name[n] == twice)}.")
    lacked = [column for column in challenge.may_lack if column not in named]
    named += lacked
    _need_columns(path, header, named, challenge, hint)
    zeros = dict.fromkeys(lacked, "0")
    notes = [f"{path} has no column {' and '.join(lacked)}: taken as 0."] if lacked else []
    return named, [(line, {new_name[name]: cell for name, cell in row.items()} | zeros) for line, row in rows], notes


def _new_names(header: list[str], challenge: Challenge) -> dict[str, str]:
    """What each column is called here: as it is where the challenge's own names are all there."""
    if set(challenge.header) <= set(header):
        return {name: name for name in header}
    tidied = {name: tidy(name) for name in header}
    wanted = (challenge.key_column, *challenge.key_columns)
    key = next((name for column in wanted for name in header if tidied[name] == column), None)
    exact = {tidied[name]: name for name in header}
    own = {tidy(column): column for column in challenge.columns}
    names = {}
    for name in header:
        column = challenge.column_of(name)
        if name == key:
            names[name] = challenge.key_column
        elif column and not challenge.has_one_answer and tidied[name] not in own and tidy(column) in exact:
            names[name] = name  # `benign_malignant` beside `target`
        else:
            names[name] = column or (tidied[name] if tidied[name] in (*RUN_COLUMNS, *WEIGHT_COLUMNS) else name)
    return names


def _holds_diagnoses(header: list[str]) -> bool:
    return set(DIAGNOSES.columns) <= {DIAGNOSES.column_of(name) for name in header}


def _wider(header: list[str], challenge: Challenge) -> Taxonomy | None:
    """The diagnoses of a model that knows all that the challenge asks for and more; None where the table has no more."""
    if not (challenge.has_one_answer or challenge.from_diagnoses):
        return None
    return wider_than(HAM10000.columns if challenge.from_diagnoses else challenge.columns, header)


def _narrowed(path: Path, part: str | None, challenge: Challenge, wider: Taxonomy) -> tuple[Table, list[str]]:
    """Read a table of more diagnoses than the challenge has: without the others, each row scaled to its former sum."""
    if challenge.from_diagnoses:
        return _as_marks(path, part, challenge, wider)
    table, notes = read_predictions(path, part, of_taxonomy(wider))
    kept = table.values[:, [wider.index_of[wider.find(column) or ""] for column in challenge.columns]]
    sums = kept.sum(axis=1, keepdims=True)
    values = np.divide(kept * table.values.sum(axis=1, keepdims=True), sums, out=np.zeros_like(kept), where=sums > 0)
    others = [column for column in wider.columns if column not in challenge.columns]
    note = f"{path} predicts {', '.join(others)} too: left out, and the other probabilities of each row scaled up."
    return Table(table.images, values, table.weights), [*notes, note]


def _as_marks(path: Path, part: str | None, challenge: Challenge, taxonomy: Taxonomy) -> tuple[Table, list[str]]:
    """Answer a challenge about one mark with the probabilities of the diagnoses that have it."""
    table, notes = read_predictions(path, part, of_taxonomy(taxonomy))
    wanted = [taxonomy.index_of[dx] for dx in _marked(challenge, taxonomy)]
    names = " + ".join(taxonomy.columns[index] for index in wanted)
    values = table.values[:, wanted].sum(axis=1, keepdims=True)
    return Table(table.images, values, table.weights), [*notes, f"{challenge.columns[0]} of {path} is {names}."]


def _need_columns(path: Path, header: list[str], named: Sequence[str], challenge: Challenge, hint: str) -> None:
    missing = [column for column in challenge.header if column not in named]
    if not missing:
        return
    if missing[0] == "lesion_id":
        hint = ": this challenge scores lesions, one row each with the answer to both of its pictures"
    there = ", ".join(header[:12])
    other = _other_challenge(header, challenge)
    raise UsageError(f"{path} has no column {', '.join(missing)}{hint}; it has {there}.{other}")


def _other_challenge(header: list[str], challenge: Challenge) -> str:
    """Name the challenge whose columns these are."""
    fitting = [
        other.name
        for other in CHALLENGES.values()
        if other != challenge
        and set(other.columns) <= {other.column_of(name) for name in header}
        and other.has_one_answer
    ]
    largest = max(fitting, key=lambda name: len(CHALLENGES[name].columns), default=None)
    return f" These are the columns of --challenge {largest}." if largest else ""


def _of_part(path: Path, header: list[str], rows: _Rows, part: str | None) -> _Rows:
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


def _keys(path: Path, rows: _Rows, key: str, challenge: Challenge) -> list[str]:
    """Name the images or lesions of the rows; each once."""
    names = [row[key] if challenge.key == "lesion" else without_suffix(row[key]) for _, row in rows]
    seen: dict[str, int] = {}
    for name, (line, _) in zip(names, rows, strict=True):
        if not name:
            raise UsageError(f"{path}, row {line}: the {challenge.key} has no name.")
        if name in seen:
            raise UsageError(f"{path}, row {line}: the {challenge.key} {name!r} is in row {seen[name]} too.")
        seen[name] = line
    return names
