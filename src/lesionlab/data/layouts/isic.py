"""ISIC's one-hot tables of ground truth (2018 Task 3, 2019), with the tables beside them that know lesions, age, sex and site."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.metadata import ALIASES, PART, require
from lesionlab.data.layouts.reading import joined
from lesionlab.data.layouts.rows import OTHER_DIAGNOSES, Rows, Rules, read_rows
from lesionlab.data.layouts.scan import Scan, part_of
from lesionlab.data.layouts.tables import ROW, UNKNOWN_WORDS, number, read_table
from lesionlab.data.layouts.written_diagnoses import known_by_words, refuse_unknown
from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy

_OTHER_LABELS = ("scc", "unk")  # of ISIC 2019
_UNKNOWN_LABEL = "unk"  # none of the others: a state, no diagnosis
_RUN_COLUMNS = {"part", "predicted"}
_HELPFUL = ("lesion_id", "diagnosis_confirm_type", "age_approx", "sex", "anatom_site_general", "patient_id")
_ADVICE_LESIONS = {
    "2018": "Put ISIC2018_Task3_Training_LesionGroupings.csv, which is published beside the images, into the folder.",
    "2019": "Put ISIC_2019_Training_Metadata.csv, which is published beside the images, into the folder.",
    "": (
        "Put a table with the columns image and lesion_id into the folder: of HAM10000, HAM10000_metadata.csv has the lesion_id "
        "of these very images; of ISIC 2019, ISIC_2019_Training_Metadata.csv has them."
    ),
}
_PHASE = re.compile(r"task3_(training|validation|test)", re.IGNORECASE)
_ISIC_2019 = re.compile(r"isic_?2019", re.IGNORECASE)


def is_one_hot(header: list[str], taxonomy: Taxonomy | None = None) -> bool:
    """Tell whether a header (lower case) is that of a one-hot table of images."""
    return "image" in header and taxonomy_of_columns(header, taxonomy) is not None


def taxonomy_of_columns(header: Sequence[str], given: Taxonomy | None = None) -> Taxonomy | None:
    """Give the taxonomy of which a header has most columns, and more than half; of several, that with most diagnoses."""
    known = (given,) if given else known_by_words()
    found = [(len({taxonomy.find(name) for name in header} - {None}), taxonomy) for taxonomy in known]
    most, taxonomy = max(found, key=lambda one: (one[0] == len(one[1]), one[0]))
    return taxonomy if most > len(taxonomy) // 2 else None


def holds_predictions(header: list[str], first_row: list[str]) -> bool:
    """Tell whether a one-hot table is one of predictions: a run's, or its first row holds shares that are no 0 and 1."""
    if set(header) >= _RUN_COLUMNS:
        return True
    taxonomy = taxonomy_of_columns(header)
    try:
        shares = [
            number(cell) for name, cell in zip(header, first_row, strict=False) if taxonomy and taxonomy.find(name)
        ]
    except ValueError:
        return False
    return any(0 < share < 1 for share in shares) and all(0 <= share <= 1 for share in shares)


def read_isic(scan: Scan, truths: list[Path], taxonomy: Taxonomy) -> Rows:
    """Read one table of ground truth or several (training, validation, test) as one.

    Of ISIC 2018, lesions are known of the training images alone; an image of validation or test counts as a lesion of its own.
    Of ISIC 2019, the images without lesion do so too. Column `dataset` says which phase of ISIC 2018 an image is of.

    Raises:
        UsageError: a table is at fault, or lesions of training images are not given.
    """
    beside = _read_beside(scan, truths)
    parts = [_read_truth(truth, beside, taxonomy) for truth in scan.take(truths)]
    return joined(parts, truths)


def layout_name(truths: list[Path]) -> str:
    """Name the layout as in a report."""
    return "ISIC 2019" if any(_ISIC_2019.search(path.name) for path in truths) else "ISIC 2018 Task 3"


def _read_truth(truth: Path, beside: pd.DataFrame, taxonomy: Taxonomy) -> Rows:
    table = read_table(truth)
    require(table, ["image"], truth)
    labels = labels_of(table, truth, taxonomy)
    table["dx"] = read_marks(table, labels, truth, taxonomy)
    table = table.drop(columns=[name for name in table.columns if name in (*labels, *_HELPFUL, _UNKNOWN_LABEL)])
    table = table.merge(beside, on="image", how="left")
    for column in _HELPFUL:
        if column in table:
            table[column] = table[column].fillna("")
    phase = _PHASE.search(truth.name)
    without = table.loc[table["lesion_id"].str.lower().isin(UNKNOWN_WORDS), "image"].tolist()
    is_known = not beside.empty and bool(_ISIC_2019.search(truth.name))  # its metadata leaves some without
    if without and not is_known and (phase is None or phase[1].lower() == "training"):
        year = "2018" if phase else "2019" if _ISIC_2019.search(truth.name) else ""
        raise UsageError(
            f"{truth}: {len(without):,} images have no lesion (first: {without[0]}), so that images of one lesion would "
            f"fall on two sides of a split. {_ADVICE_LESIONS[year]}"
        )
    if phase:
        table["dataset"] = f"isic2018_{phase[1].lower()}"
    if part := part_of(truth.stem):
        table[PART] = part
    weighed = _weighed(table, truth)
    rows = read_rows(table, truth, taxonomy, Rules(no_diagnosis=frozenset((_UNKNOWN_LABEL,)), needs_lesions=False))
    return rows._replace(findings=[*rows.findings, *weighed])


def _weighed(table: pd.DataFrame, truth: Path) -> list[Finding]:
    """Say that images which a challenge weighs, or does not score, count like all others here."""
    if "score_weight" not in table:
        return []
    others = table.loc[~table["score_weight"].isin(("1", "1.0", "")), "image"].tolist()
    decision = "each counts once, as all do; lesionlab score weighs them as the challenge does"
    return finding("weighed", f"{truth.name} gives images a score_weight that is not 1", decision, others)


def _read_beside(scan: Scan, truths: list[Path]) -> pd.DataFrame:
    """A row per image of the tables that know lesions, ages and more: image and those of `_HELPFUL` that there are."""
    tables = [pd.DataFrame(columns=["image", "lesion_id"], dtype=str)]
    helpful = [
        path
        for path, (header, _) in scan.tables.items()
        if path not in truths
        and _image_column(header)
        and {ALIASES.get(name, name) for name in header} & {*_HELPFUL, "age"}
        and not is_one_hot(header)
    ]
    for path in scan.take(helpful):
        table = read_table(path)
        table = table.rename(columns={_image_column(list(table.columns)): "image"})
        clashing = table[table["image"].duplicated()]
        if len(clashing):
            row, image = clashing[[ROW, "image"]].iloc[0]
            raise UsageError(f"{path}, row {row}: image {image!r} is listed twice. Keep one.")
        tables.append(table[["image", *(name for name in _HELPFUL if name in table)]])
    known = pd.concat(tables)
    return known.groupby("image", sort=False, as_index=False).first() if len(tables) > 2 else known


def _image_column(header: list[str]) -> str:
    return next((name for name in header if ALIASES.get(name, name) == "image_id"), "")


def labels_of(table: pd.DataFrame, path: Path, taxonomy: Taxonomy) -> dict[str, str]:
    """Find the columns of diagnoses: the code of each such column (lower case), in the taxonomy's order.

    Raises:
        UsageError: two columns of one diagnosis, or a diagnosis without column.
    """
    codes = {name: taxonomy.find(name) for name in table.columns if name != ROW}
    labels: dict[str, str] = {}
    for diagnosis in taxonomy.diagnoses:
        same = [name for name, code in codes.items() if code == diagnosis.dx]
        if len(same) > 1:
            raise UsageError(f"{path}: the columns {' and '.join(same)} both mean {diagnosis.dx}. Make one of them.")
        if not same:
            require(table, [diagnosis.column.lower()], path)
        labels[same[0]] = diagnosis.dx
    return labels


def read_marks(table: pd.DataFrame, labels: dict[str, str], path: Path, taxonomy: Taxonomy) -> list[str]:
    """Give the code of the one column that each row marks, `unk` for that column; rows of other diagnoses are refused together.

    Raises:
        UsageError: a mark is no 0 or 1, a row has none or several, or one of a diagnosis that is not of the set.
    """
    names = list(labels)
    marks = np.column_stack([_marks(table, name, path) for name in names])  # (n, diagnoses)
    others = _other_labels(table, labels, np.asarray(marks.any(axis=1)))
    flags = [(table[name].astype(float) == 1).to_numpy() for name in others]
    foreign = np.column_stack(flags or [np.zeros(len(table), bool)])
    for row in np.flatnonzero(marks.sum(axis=1) + foreign.sum(axis=1) != 1)[:1]:
        extra = [name.upper() for name, mark in zip(others, foreign[row], strict=False) if mark]
        columns = ", ".join([*taxonomy.columns, *extra])
        found = int(marks[row].sum() + foreign[row].sum())
        raise UsageError(f"{path}, row {table[ROW].iloc[row]}: {found} of {columns} are 1; exactly one must be.")
    counts = {name.upper(): int(foreign[:, at].sum()) for at, name in enumerate(others) if name != _UNKNOWN_LABEL}
    if any(counts.values()):
        first = {name.upper(): f"row {table[ROW].iloc[int(foreign[:, at].argmax())]}" for at, name in enumerate(others)}
        refuse_unknown({name: n for name, n in counts.items() if n}, first, taxonomy, str(path), OTHER_DIAGNOSES)
    codes = np.array([*labels.values(), _UNKNOWN_LABEL], dtype=object)
    return list(codes[np.where(marks.any(axis=1), marks.argmax(axis=1), len(names))])


def _other_labels(table: pd.DataFrame, labels: dict[str, str], is_marked: np.ndarray) -> list[str]:
    """Find the columns of further diagnoses: those of ISIC 2019, and any that is 1 only where none of the set is."""
    flags = [name for name in table.columns if name not in labels and set(table[name]) <= {"0", "1", "0.0", "1.0"}]
    return [name for name in flags if name in _OTHER_LABELS or not (table[name].astype(float)[is_marked] == 1).any()]


def _marks(table: pd.DataFrame, name: str, path: Path) -> np.ndarray:
    """A column of ground truth as bool (n,)."""
    value_of = {}
    for mark in table[name].unique():
        row = table.loc[table[name] == mark, ROW].iloc[0]
        try:
            value_of[mark] = number(mark)
        except ValueError as error:
            raise UsageError(f"{path}, row {row}: {mark!r} in the column {name.upper()} is no number.") from error
        if value_of[mark] not in (0, 1):
            raise UsageError(f"{path}, row {row}: {mark} in the column {name.upper()}; ground truth is 0 or 1.")
    return table[name].map(value_of).to_numpy() == 1
