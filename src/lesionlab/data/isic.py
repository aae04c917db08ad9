"""ISIC 2018 Task 3: one-hot tables of ground truth, and the table that says which images show one lesion."""

import re
from pathlib import Path

import pandas as pd

from lesionlab.data.findings import Finding, finding
from lesionlab.data.metadata import read_rows, require
from lesionlab.data.tables import ROW, number, read_table
from lesionlab.diagnosis import DX, ISIC_COLUMNS
from lesionlab.errors import UsageError

_LABELS = [column.lower() for column in ISIC_COLUMNS]
_RUN_COLUMNS = {"part", "predicted"}
_PHASE = re.compile(r"task3_(training|validation|test)", re.IGNORECASE)


def is_one_hot(header: list[str]) -> bool:
    """Tell whether a header (lower case) is that of a one-hot table."""
    return "image" in header and len(set(_LABELS) & set(header)) > len(_LABELS) // 2


def holds_predictions(header: list[str], first_row: list[str]) -> bool:
    """Tell whether a one-hot table is one of predictions: a run's, or its first row holds shares that are no 0 and 1."""
    if set(header) >= _RUN_COLUMNS:
        return True
    try:
        shares = [number(cell) for name, cell in zip(header, first_row, strict=False) if name in _LABELS]
    except ValueError:
        return False
    return any(0 < share < 1 for share in shares) and all(0 <= share <= 1 for share in shares)


def read_isic(truths: list[Path], groupings: list[Path]) -> tuple[pd.DataFrame, list[Finding]]:
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
        table, found = _read_truth(truth, lesions)
        tables.append(table)
        findings += found
    table = pd.concat(tables, ignore_index=True)
    twice = table.loc[table["image_id"].duplicated(), "image_id"]
    if len(twice):
        names = ", ".join(path.name for path in truths)
        raise UsageError(f"image_id {twice.iloc[0]!r} stands in two tables ({names}). Keep the one that is meant.")
    return table, findings


def _read_truth(truth: Path, lesions: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    table = read_table(truth)
    require(table, ["image", *_LABELS], truth)
    marks = table[[*_LABELS, ROW]].itertuples(index=False)
    table = table.drop(
        columns=[name for name in (*_LABELS, "lesion_id", "dx", "diagnosis_confirm_type") if name in table]
    )
    table["dx"] = [_read_one_hot(list(values), truth) for values in marks]
    table = table.merge(lesions, on="image", how="left")
    without = table.loc[table["lesion_id"].isna(), "image"].tolist()
    phase = _PHASE.search(truth.name)
    if without and (phase is None or phase[1].lower() == "training"):
        raise UsageError(
            f"{truth}: {len(without):,} images have no lesion (first: {without[0]}), so that images of one lesion would "
            "fall on two sides of a split. Put ISIC2018_Task3_Training_LesionGroupings.csv, which is published beside "
            "the images, into the folder."
        )
    table["lesion_id"] = table["lesion_id"].fillna(table["image"])
    table["diagnosis_confirm_type"] = table["diagnosis_confirm_type"].fillna("")
    if phase:
        table["dataset"] = f"isic2018_{phase[1].lower()}"
    table, findings = read_rows(table, truth)
    decision = "each image counts as a lesion of its own; only near-duplicates keep a split from leaking"
    return table, findings + finding("lesion-unknown", f"{truth.name} has images without lesion", decision, without)


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


def _read_one_hot(values: list[str], path: Path) -> str:
    """Give the one diagnosis that is marked; the last of the values is the row's number."""
    *marks, row = values
    marked = []
    for dx, mark in zip(DX, marks, strict=True):
        try:
            value = number(mark)
        except ValueError as error:
            raise UsageError(f"{path}, row {row}: {mark!r} in the column {dx.upper()} is no number.") from error
        if value not in (0, 1):
            raise UsageError(f"{path}, row {row}: {mark} in the column {dx.upper()}; ground truth is 0 or 1.")
        marked += [dx] if value else []
    if len(marked) != 1:
        raise UsageError(f"{path}, row {row}: {len(marked)} of {', '.join(ISIC_COLUMNS)} are 1; exactly one must be.")
    return marked[0]
