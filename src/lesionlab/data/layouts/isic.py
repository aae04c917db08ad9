"""ISIC 2018 Task 3: one-hot tables of ground truth, and the table that says which images show one lesion."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.metadata import OTHER_DIAGNOSES, read_rows, require
from lesionlab.data.layouts.tables import ROW, number, read_table
from lesionlab.data.layouts.written_diagnoses import known_by_words, refuse_unknown
from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy

_OTHER_LABELS = ("scc", "unk")  # of ISIC 2019
_RUN_COLUMNS = {"part", "predicted"}
_ADVICE_LESIONS = (
    "Put ISIC2018_Task3_Training_LesionGroupings.csv, which is published beside the images, into the folder."
)
_ADVICE_HAM10000 = (
    "If it is HAM10000's, put HAM10000_metadata.csv, which has the lesion_id of these very images, into the folder: it is then "
    "read in place of this table. Else put a table with the columns image and lesion_id there, under a name that ends in "
    "LesionGroupings.csv."
)
_ADVICE_OTHER_LESIONS = (
    "Put a table with the columns image and lesion_id into the folder, under a name that ends in LesionGroupings.csv: of "
    "ISIC 2019, a copy of ISIC_2019_Training_Metadata.csv in which rows without lesion_id have that of their image."
)
_PHASE = re.compile(r"task3_(training|validation|test)", re.IGNORECASE)


def is_one_hot(header: list[str]) -> bool:
    """Tell whether a header (lower case) is that of a one-hot table."""
    return "image" in header and taxonomy_of_columns(header) is not None


def taxonomy_of_columns(header: Sequence[str]) -> Taxonomy | None:
    """Give the taxonomy of which a header has most columns, and more than half; of several, that with most diagnoses."""
    found = [(_count_columns(header, taxonomy), taxonomy) for taxonomy in known_by_words()]
    most, taxonomy = max(found, key=lambda one: (one[0] == len(one[1]), one[0]))
    return taxonomy if most > len(taxonomy) // 2 else None


def _count_columns(header: Sequence[str], taxonomy: Taxonomy) -> int:
    return sum(column.lower() in header for column in taxonomy.columns)


def holds_predictions(header: list[str], first_row: list[str]) -> bool:
    """Tell whether a one-hot table is one of predictions: a run's, or its first row holds shares that are no 0 and 1."""
    if set(header) >= _RUN_COLUMNS:
        return True
    try:
        taxonomy = taxonomy_of_columns(header)
        labels = [column.lower() for column in taxonomy.columns] if taxonomy else []
        shares = [number(cell) for name, cell in zip(header, first_row, strict=False) if name in labels]
    except ValueError:
        return False
    return any(0 < share < 1 for share in shares) and all(0 <= share <= 1 for share in shares)


def read_isic(truths: list[Path], groupings: list[Path], taxonomy: Taxonomy) -> tuple[pd.DataFrame, list[Finding]]:
    """Read one table of ground truth or several (training, validation, test) as one.

    Lesions are known of the training images alone; an image of validation or test counts as a lesion of its own.
    Column `dataset` says which phase an image is of: `isic2018_training`, `isic2018_validation`, `isic2018_test`.

    Returns:
        As `read_rows`.

    Raises:
        UsageError: a table is at fault, or lesions of training images are not given.
    """
    lesions = _read_groupings(groupings)
    tables, findings = [], []
    for truth in truths:
        table, found = _read_truth(truth, lesions, taxonomy)
        tables.append(table)
        findings += found
    table = pd.concat(tables, ignore_index=True)
    twice = table.loc[table["image_id"].duplicated(), "image_id"]
    if len(twice):
        names = ", ".join(path.name for path in truths)
        raise UsageError(f"image_id {twice.iloc[0]!r} stands in two tables ({names}). Keep the one that is meant.")
    return table, findings


def _read_truth(truth: Path, lesions: pd.DataFrame, taxonomy: Taxonomy) -> tuple[pd.DataFrame, list[Finding]]:
    table = _with_labels(read_table(truth), truth, taxonomy)
    labels = [column.lower() for column in taxonomy.columns]
    require(table, ["image", *labels], truth)
    table["dx"] = [taxonomy.find(label) for label in _read_marks(table, truth, taxonomy)]
    table = table.drop(columns=[name for name in (*labels, "lesion_id", "diagnosis_confirm_type") if name in table])
    table = table.merge(lesions, on="image", how="left")
    without = table.loc[table["lesion_id"].isna(), "image"].tolist()
    phase = _PHASE.search(truth.name)
    advice = _ADVICE_HAM10000 if taxonomy.name == "ham10000" and "2019" not in truth.name else _ADVICE_OTHER_LESIONS
    if without and (phase is None or phase[1].lower() == "training"):
        raise UsageError(
            f"{truth}: {len(without):,} images have no lesion (first: {without[0]}), so that images of one lesion would "
            f"fall on two sides of a split. {_ADVICE_LESIONS if phase else advice}"
        )
    table["lesion_id"] = table["lesion_id"].fillna(table["image"])
    table["diagnosis_confirm_type"] = table["diagnosis_confirm_type"].fillna("")
    if phase:
        table["dataset"] = f"isic2018_{phase[1].lower()}"
    weighed = _weighed(table, truth)
    table, findings = read_rows(table, truth, taxonomy)
    decision = "each image counts as a lesion of its own; only near-duplicates keep a split from leaking"
    found = finding("lesion-unknown", f"{truth.name} has images without lesion", decision, without)
    return table, findings + found + weighed


def _weighed(table: pd.DataFrame, truth: Path) -> list[Finding]:
    """Say that images which a challenge weighs, or does not score, count like all others here."""
    if "score_weight" not in table:
        return []
    others = table.loc[~table["score_weight"].isin(("1", "1.0", "")), "image"].tolist()
    decision = "each counts once, as all do; lesionlab score weighs them as the challenge does"
    return finding("weighed", f"{truth.name} gives images a score_weight that is not 1", decision, others)


def _read_groupings(paths: list[Path]) -> pd.DataFrame:
    """One row per image: image, lesion_id, diagnosis_confirm_type."""
    columns = ["image", "lesion_id", "diagnosis_confirm_type"]
    tables = [pd.DataFrame(columns=columns, dtype=str)]
    for path in paths:
        table = read_table(path)
        require(table, columns[:2], path)
        tables.append(table.assign(**{name: "" for name in columns[2:] if name not in table})[columns])
        clashing = table[table["image"].duplicated()]
        if len(clashing):
            row, image = clashing[[ROW, "image"]].iloc[0]
            raise UsageError(f"{path}, row {row}: image {image!r} is listed twice. Keep one.")
    return pd.concat(tables).drop_duplicates("image")


def _with_labels(table: pd.DataFrame, path: Path, taxonomy: Taxonomy) -> pd.DataFrame:
    """Name the columns of diagnoses as the taxonomy does; those of ISIC 2019 say AK for AKIEC."""
    labels = {dx: column.lower() for dx, column in zip(taxonomy.dx, taxonomy.columns, strict=True)}
    codes = {name: labels.get(taxonomy.find(name) or "") for name in table.columns if name not in labels.values()}
    for code in filter(None, set(codes.values())):
        same = [name for name in table.columns if codes.get(name, name) == code]
        if len(same) > 1:
            raise UsageError(f"{path}: the columns {' and '.join(same)} both mean {code}. Make one of them.")
    return table.rename(columns={name: code for name, code in codes.items() if code and code not in table})


def _read_marks(table: pd.DataFrame, path: Path, taxonomy: Taxonomy) -> list[str]:
    """Give the one column that each row marks; rows that mark another diagnosis are refused together."""
    labels = [column.lower() for column in taxonomy.columns]
    marked = [_marked(dict(zip(labels, row[:-1], strict=True)), row[-1], path) for row in _rows(table, labels)]
    others = _other_labels(table, labels, [bool(found) for found in marked])
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    for found, (*marks, row) in zip(marked, _rows(table, others), strict=True):
        foreign = [name.upper() for name, mark in zip(others, marks, strict=True) if float(mark)]
        if len(found) == 1 and not foreign:
            continue
        if found or not foreign:
            columns = ", ".join([*taxonomy.columns, *foreign])
            raise UsageError(f"{path}, row {row}: {len(found) + len(foreign)} of {columns} are 1; exactly one must be.")
        for name in foreign:
            counts[name] = counts.get(name, 0) + 1
            first.setdefault(name, f"row {row}")
    if counts:
        refuse_unknown(counts, first, taxonomy, str(path), OTHER_DIAGNOSES)
    return [found[0] for found in marked]


def _other_labels(table: pd.DataFrame, labels: list[str], is_marked: list[bool]) -> list[str]:
    """Find the columns of further diagnoses: those of ISIC 2019, and any that is 1 only where none of the set is."""
    flags = [name for name in table.columns if name not in labels and set(table[name]) <= {"0", "1", "0.0", "1.0"}]
    return [name for name in flags if name in _OTHER_LABELS or not (table[name].astype(float)[is_marked] == 1).any()]


def _rows(table: pd.DataFrame, columns: list[str]) -> Iterator[tuple[str, ...]]:
    return table[[*columns, ROW]].itertuples(index=False, name=None)


def _marked(marks: dict[str, str], row: str, path: Path) -> list[str]:
    """Give the columns of the set that a row marks."""
    found = []
    for dx, mark in marks.items():
        try:
            value = number(mark)
        except ValueError as error:
            raise UsageError(f"{path}, row {row}: {mark!r} in the column {dx.upper()} is no number.") from error
        if value not in (0, 1):
            raise UsageError(f"{path}, row {row}: {mark} in the column {dx.upper()}; ground truth is 0 or 1.")
        found += [dx] if value else []
    return found
