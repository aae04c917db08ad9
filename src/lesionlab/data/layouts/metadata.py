"""Columns and ids of metadata tables: what other data sets call HAM10000's columns, and what may be an image's id."""

import difflib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesionlab.data.image_formats import without_suffix
from lesionlab.data.layouts.tables import ROW
from lesionlab.errors import UsageError

REQUIRED = ("image_id", "lesion_id", "dx")
OPTIONAL = ("dx_type", "age", "sex", "localization", "dataset")
PATIENT = "patient_id"  # where a table has it; HAM10000 does not
PART = "official_part"  # train, validation or test, where a data set is published in parts
IMAGE_TYPE = "image_type"
MANIPULATION = "image_manipulation"
FURTHER = (PATIENT, PART, IMAGE_TYPE)  # columns that a table may have beside those of HAM10000
UNKNOWN = "unknown"
# Names of the same columns in ISIC's tables, MILK10k and PAD-UFES-20.
ALIASES = {  # of several for one column, the first that is there
    "isic_id": "image_id",
    "image": "image_id",
    "diagnosis_confirm_type": "dx_type",
    "age_approx": "age",
    "age_approximate": "age",
    "gender": "sex",
    "anatom_site_general": "localization",
    "anatom_site_general_challenge": "localization",
    "site": "localization",
    "region": "localization",
}
OTHER_NAMES = {  # of other data sets, for messages: what they hold is for people to judge
    "image_id": ("img_id", "bcn_filename", "md5hash", "filename", "file_name", "image_name"),
    "dx": ("diagnosis", "diagnosis_3", "diagnostic", "label", "target"),
    "part": ("split", "fold", "set", "subset"),
}
_BARRED = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, ends of lines and paragraphs
_WITHOUT_LESIONS = (
    "Without it, images of one lesion would fall on two sides of a split. Take the table as HAM10000 publishes it, or add "
    "a column that gives images of one lesion the same name (for one image a lesion, a copy of image_id)."
)


def with_own_names(table: pd.DataFrame, columns: Sequence[str], path: Path) -> pd.DataFrame:
    """Rename the columns that have one of `ALIASES`, and require some.

    Raises:
        UsageError: as `require`; the names are those of the file.
    """
    there = set(table.columns)
    # A column's own name comes before its aliases, and only the first alias counts.
    names: dict[str, str] = {}
    for alias, column in ALIASES.items():
        if alias in there and column not in there and column not in names.values():
            names[alias] = column
    require(table, [column for column in columns if column not in names.values()], path)
    return table.rename(columns=names)


def require(table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Raise UsageError where a column is missing; what it is often called, or else the nearest that is there, is named."""
    there = [name for name in table.columns if name != ROW]
    for column in columns:
        if column not in there:
            other = next((name for name in OTHER_NAMES.get(column, ()) if name in there), None)
            near = [other] if other else difflib.get_close_matches(column, there, n=1, cutoff=0.6)
            hint = f" Rename the column {near[0]!r} to {column}, if that is what it holds." if near else ""
            why = f" {_WITHOUT_LESIONS}" if column == "lesion_id" else ""
            raise UsageError(f"{path} has no column {column!r}; it has {', '.join(there)}.{hint}{why}")


def check_image_id(value: str, where: str) -> str:
    """Give an image id as `without_suffix` does.

    Raises:
        UsageError: it is empty, could lead out of the folder or holds control characters or line breaks.
    """
    image_id = without_suffix(value)
    if not image_id:
        raise UsageError(f"{where}: image_id is empty. Name the image's file without its suffix.")
    is_barred = any(unicodedata.category(character) in _BARRED for character in image_id)
    if "/" in image_id or "\\" in image_id or image_id in (".", "..") or is_barred:
        alone = re.split(r"[/\\]", image_id)[-1]
        advice = f" Give the name alone: {alone!r}." if alone not in ("", ".", "..", image_id) and not is_barred else ""
        raise UsageError(
            f"{where}: image_id {value!r} is no name of a file: no folders, no control characters.{advice}"
        )
    return image_id
