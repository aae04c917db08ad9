"""What a layout's reader is told and gives: every reader takes a `Scan` and `Options`, and gives a `Reading` or None."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lesionlab.data.layouts.findings import Finding
from lesionlab.data.layouts.rows import Rows
from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy


class NoDiagnoses(UsageError):
    """A folder of images that has no table of diagnoses, in place of one at fault."""


@dataclass(frozen=True)
class Options:
    """What the caller asks for; None leaves it to the layout.

    Attributes:
        taxonomy: to read diagnoses in.
        image_types: kinds of image that are wanted, see `lesionlab.data.layouts.image_types`.
    """

    taxonomy: Taxonomy | None = None
    image_types: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Reading:
    """A folder as one layout reads it.

    Attributes:
        layout: its name, as in a report.
        rows: as `read_rows` gives them.
        taxonomy: of their diagnoses.
        table: the file that they are from, for messages.
        paths: of images that are not found by their id in the folder: entries of HDF5 files, rows of Parquet files, and files
            that a table names by their path.
    """

    layout: str
    rows: Rows
    taxonomy: Taxonomy
    table: Path
    paths: Mapping[str, str] = field(default_factory=dict)


def joined(parts: Sequence[Rows], paths: Sequence[Path]) -> Rows:
    """Put the rows of several tables together.

    Raises:
        UsageError: an image or, with another diagnosis, a lesion stands in two of them.
    """
    table = pd.concat([rows.table for rows in parts], ignore_index=True)
    names = ", ".join(path.name for path in paths)
    twice = table.loc[table["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise UsageError(f"image_id {twice.iloc[0]!r} stands in two tables ({names}). Keep the one that is meant.")
    for column in ("official_part", "patient_id", "image_type"):
        if column in table:
            table[column] = table[column].fillna("unknown" if column != "image_type" else "")
    numbers = table.groupby("lesion_id", sort=False)["dx"].nunique()
    if (numbers > 1).any():
        lesion = numbers.index[numbers > 1][0]
        found = " and ".join(table.loc[table["lesion_id"] == lesion, "dx"].unique())
        raise UsageError(f"{names}: lesion {lesion!r} has two diagnoses, {found}. Give it one.")
    set_aside = pd.concat([rows.set_aside for rows in parts], ignore_index=True)
    return Rows(table, together([found for rows in parts for found in rows.findings]), set_aside)


def together(findings: Sequence[Finding]) -> list[Finding]:
    """Make one of findings that say the same of several tables."""
    items: dict[tuple[str, str, str], dict[str, None]] = {}
    for one in findings:
        items.setdefault((one.kind, one.what, one.decision), {}).update(dict.fromkeys(one.items))
    return [Finding(kind, what, len(of), decision, tuple(of)) for (kind, what, decision), of in items.items()]
