"""MILK10k: truth by lesion in eleven columns; a dermoscopic and a clinical picture each, in a folder a lesion."""

import pandas as pd

from lesionlab.data.layouts.isic import labels_of, read_marks
from lesionlab.data.layouts.reading import Options, Reading
from lesionlab.data.layouts.rows import Rules, read_rows
from lesionlab.data.layouts.scan import Scan, one_of
from lesionlab.data.layouts.tables import ROW, read_table
from lesionlab.data.layouts.written_diagnoses import find_dx, levels_of
from lesionlab.errors import UsageError
from lesionlab.taxonomy import read_taxonomy

NEEDS = frozenset(("lesion_id", "akiec", "ben_oth", "mal_oth", "sccka"))
_METADATA_NEEDS = frozenset(("lesion_id", "isic_id", "image_type"))
_ADVICE = "Keep the one that belongs to the images."


def read_milk10k(scan: Scan, options: Options) -> Reading | None:
    """Read MILK10k's training data; None where no table is its truth.

    Raises:
        UsageError: its metadata are not there, or a table is at fault.
    """
    truths = scan.tables_with(NEEDS)
    if not truths:
        return None
    scan.take(truths)
    truth = one_of(scan.folder, truths, _ADVICE)
    metadata = scan.tables_with(_METADATA_NEEDS)
    if not metadata:
        raise UsageError(
            f"{truth} has the truth by lesion, and no table says which images a lesion has: put MILK10k_Training_Metadata.csv "
            "(lesion_id, image_type, isic_id) into the folder."
        )
    scan.take(metadata)
    path = one_of(scan.folder, metadata, _ADVICE)
    own = read_taxonomy("milk10k")
    marks = read_table(truth)
    labels = labels_of(marks, truth, own)
    marks["dx"] = read_marks(marks, labels, truth, own)
    twice = marks[marks["lesion_id"].duplicated()]
    if len(twice):
        row, lesion = twice[[ROW, "lesion_id"]].iloc[0]
        raise UsageError(f"{truth}, row {row}: lesion {lesion!r} is listed twice. Keep one.")
    table = read_table(path).rename(columns={"site": "localization"})
    table = table.merge(marks[["lesion_id", "dx"]], on="lesion_id", how="left").fillna({"dx": ""})
    table = _with_supplement(scan, table).assign(dataset="milk10k")
    taxonomy = options.taxonomy or own
    if taxonomy != own and "diagnosis_full" in table:
        table = table.assign(dx=table["diagnosis_full"])
    table = table.drop(columns="diagnosis_full", errors="ignore")
    # Words of the archive that the taxonomy asked for does not have: known, and none of its diagnoses.
    others = {word.lower() for word in table["dx"].unique() if levels_of(word) and find_dx(word, taxonomy) is None}
    rules = Rules(options.image_types, frozenset(("", *others)))
    return Reading("MILK10k", read_rows(table, path, taxonomy, rules), taxonomy, path)


def _with_supplement(scan: Scan, table: pd.DataFrame) -> pd.DataFrame:
    """How diagnoses were confirmed, and their full names, where the supplement is there."""
    for path in scan.take(scan.tables_with(("isic_id", "diagnosis_full"))):
        more = read_table(path)
        columns = [name for name in ("diagnosis_full", "diagnosis_confirm_type") if name in more]
        return table.merge(more[["isic_id", *columns]].drop_duplicates("isic_id"), on="isic_id", how="left").fillna(
            dict.fromkeys(columns, "")
        )
    return table
