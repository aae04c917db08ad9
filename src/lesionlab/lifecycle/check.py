"""`lesionlab check` and `lesionlab explore`: steps 2 to 5 by themselves, without a recipe and without Keras."""

import dataclasses
import errno
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from lesionlab import folders
from lesionlab.data import local_features
from lesionlab.data.clean import Cleaned, Finding
from lesionlab.data.duplicates import NearDuplicate
from lesionlab.data.layouts.joined import read_data
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.data.phantom import write
from lesionlab.data.point_matches import PointMatch
from lesionlab.errors import UsageError
from lesionlab.files import write_csv
from lesionlab.folders import Data, named
from lesionlab.lifecycle.explore import write_exploration_page
from lesionlab.lifecycle.prepare import LOOK_PX, decode, inspect
from lesionlab.taxonomy import DIAGNOSES


def check(data: Data, pairs: Path | None = None) -> None:
    """Read a folder, or several, and print what is in it, what is wrong with it, and which lesions several have in common.

    Args:
        data: a folder, or several.
        pairs: a .csv file to write all pairs of images that show one lesion into; None to leave that out.

    Raises:
        UsageError: a folder cannot be read, or the file cannot be written.
    """
    collection = read_data(data)
    cleaned = inspect(collection)
    if pairs:
        _write_pairs(cleaned, pairs)
    console = Console(markup=False, emoji=False)  # names of files are printed as they are: [old], :bug:
    console.print(
        f"{named(collection.data)}: layout {collection.layout!r}, {len(collection.table):,} rows, {len(cleaned.table):,} images "
        f"kept of {cleaned.table['lesion_id'].nunique():,} lesions, {len(cleaned.set_aside):,} set aside.",
        highlight=False,
    )
    if collection.others:
        console.print(_in_common(cleaned), highlight=False)
    console.print(_diagnoses(cleaned))
    console.print(_findings((*collection.findings, *cleaned.findings)))


def _in_common(cleaned: Cleaned) -> str:
    count = sum(found.count for found in cleaned.findings if found.kind == "lesion-common")
    return f"In common: {count:,} lesions, by their pictures, names or ids; a split leaves each on one side."


def _write_pairs(cleaned: Cleaned, path: Path) -> None:
    kind = PointMatch if local_features.is_available() else NearDuplicate
    columns = [field.name for field in dataclasses.fields(kind)]
    try:
        write_csv(pd.DataFrame([dataclasses.asdict(pair) for pair in cleaned.pairs], columns=columns), path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(f"{path} cannot be written ({error.strerror}). Name another file with --pairs.") from error


def explore_folder(folder: Path, out: Path) -> Path:
    """Write tables and figures of a folder into `out`; returns the page to open.

    Raises:
        UsageError: `out` cannot be written, is the data folder, or holds other things than an earlier exploration.
    """
    _refuse_other_things(folder, out)
    collection = read_collection(folder)
    cleaned = inspect(collection)
    pixels = decode(collection, LOOK_PX, LOOK_PX, "centre").pixels
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}). Choose another folder with --out.") from error
    return write_exploration_page(cleaned.table, pixels, out, write.is_generated(collection.table["image_id"]))


def _refuse_other_things(folder: Path, out: Path) -> None:
    """Refuse a folder that the exploration would be lost among."""
    folders.refuse_among_images(out, folder)
    if out.is_dir() and not (out / "explore.html").exists():
        folders.refuse_foreign(out, "exploration")


def _diagnoses(cleaned: Cleaned) -> Table:
    table = Table("dx", "diagnosis", "malignant", title="Images and lesions")
    for column in ("images", "lesions", "share"):
        table.add_column(column, justify="right")
    for diagnosis in DIAGNOSES:
        chosen = cleaned.table[cleaned.table["dx"] == diagnosis.dx]
        share = f"{len(chosen) / len(cleaned.table):.1%}"
        malignant = "yes" if diagnosis.is_malignant else "no"
        lesions = f"{chosen['lesion_id'].nunique():,}"
        table.add_row(diagnosis.dx, diagnosis.name, malignant, f"{len(chosen):,}", lesions, share)
    return table


def _findings(findings: tuple[Finding, ...]) -> Table:
    table = Table("what", title="Findings")
    table.add_column("count", justify="right")
    table.add_column("decision")
    table.add_column("first five", overflow="fold")  # whole names: on a narrow terminal all would begin alike
    for finding in findings:
        table.add_row(finding.what, f"{finding.count:,}", finding.decision, ", ".join(finding.items[:5]))
    return table
