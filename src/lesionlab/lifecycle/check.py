"""`lesionlab check` and `lesionlab explore`: steps 2 to 5 by themselves, without a recipe and without Keras."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from lesionlab import folders
from lesionlab.data.clean import Cleaned, Finding
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.data.phantom import write
from lesionlab.errors import UsageError
from lesionlab.lifecycle.explore import write_exploration_page
from lesionlab.lifecycle.prepare import LOOK_PX, decode, inspect
from lesionlab.taxonomy import Taxonomy


def check(folder: Path) -> None:
    """Read a folder and print what is in it and what is wrong with it."""
    collection = read_collection(folder)
    cleaned = inspect(collection)
    console = Console(markup=False, emoji=False)  # names of files are printed as they are: [old], :bug:
    console.print(
        f"{folder}: layout {collection.layout!r}, {len(collection.table):,} rows, {len(cleaned.table):,} images kept "
        f"of {cleaned.table['lesion_id'].nunique():,} lesions, {len(cleaned.set_aside):,} set aside.",
        highlight=False,
    )
    console.print(_diagnoses(cleaned, collection.taxonomy))
    console.print(_findings((*collection.findings, *cleaned.findings)))


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
    is_generated = write.is_generated(collection.table["image_id"])
    return write_exploration_page(cleaned.table, collection.taxonomy, pixels, out, is_generated)


def _refuse_other_things(folder: Path, out: Path) -> None:
    """Refuse a folder that the exploration would be lost among."""
    folders.refuse_among_images(out, folder)
    if out.is_dir() and not (out / "explore.html").exists():
        folders.refuse_foreign(out, "exploration")


def _diagnoses(cleaned: Cleaned, taxonomy: Taxonomy) -> Table:
    table = Table("dx", "diagnosis", "malignant", title="Images and lesions")
    for column in ("images", "lesions", "share"):
        table.add_column(column, justify="right")
    for diagnosis in taxonomy.diagnoses:
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
