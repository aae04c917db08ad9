"""What `lesionlab check` has found, as a terminal shows it: tables of diagnoses and of findings."""

from rich.console import Console
from rich.table import Table

from lesionlab.data.clean import Cleaned, Finding
from lesionlab.folders import named
from lesionlab.lifecycle.check import Checked
from lesionlab.taxonomy import Taxonomy


def print_checked(checked: Checked) -> None:
    """Print what is in a folder, or several, and what is wrong with it."""
    collection, cleaned = checked.collection, checked.cleaned
    console = Console(markup=False, emoji=False)  # names of files are printed as they are: [old], :bug:
    rows = len(collection.table) + len(collection.set_aside)
    console.print(
        f"{named(collection.data)}: layout {collection.layout!r}, {rows:,} rows, {len(cleaned.table):,} images kept "
        f"of {cleaned.table['lesion_id'].nunique():,} lesions, {len(cleaned.set_aside):,} set aside.",
        highlight=False,
    )
    if collection.others:
        console.print(_in_common(cleaned), highlight=False)
    console.print(_diagnoses(cleaned, collection.taxonomy))
    console.print(_findings(checked.findings))


def _in_common(cleaned: Cleaned) -> str:
    count = sum(found.count for found in cleaned.findings if found.kind == "lesion-common")
    return f"In common: {count:,} lesions, by their pictures, names or ids; a split leaves each on one side."


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
