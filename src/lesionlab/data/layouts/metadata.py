"""Step 3: the rows of a metadata table, brought to HAM10000's columns and one way of writing.

In: a table of strings as read from a file. Out: a row per image, with what was changed as findings. A fault that makes
a row mean nothing (no image, no lesion, no diagnosis, two diagnoses) is an error that names the row; what is merely
unknown or unlikely is kept, for `clean` to judge.
"""

import difflib
import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesionlab.data.images import SUFFIXES
from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.tables import ROW, number
from lesionlab.data.layouts.written_diagnoses import read_all_dx
from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy

REQUIRED = ("image_id", "lesion_id", "dx")
OPTIONAL = ("dx_type", "age", "sex", "localization", "dataset")
PATIENT = "patient_id"  # where a table has it; HAM10000 does not
UNKNOWN = "unknown"
# ISIC's names of the same columns.
ALIASES = {  # of several for one column, the first that is there
    "isic_id": "image_id",
    "image": "image_id",
    "diagnosis_confirm_type": "dx_type",
    "age_approx": "age",
    "anatom_site_general": "localization",
}
_OTHER_NAMES = {  # of other data sets, for messages: what they hold is for people to judge
    "image_id": ("img_id", "bcn_filename", "md5hash", "filename", "file_name", "image_name"),
    "dx": ("diagnosis", "diagnosis_3", "diagnostic", "label", "target"),
    "part": ("split", "fold", "set", "subset"),
}
_MEANING = {
    "sex": {"m": "male", "f": "female"},
    "dx_type": {
        "histopathology": "histo",
        "serial imaging showing no change": "follow_up",
        "single image expert consensus": "consensus",
        "confocal microscopy with consensus dermoscopy": "confocal",
    },
}
_BARRED = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, ends of lines and paragraphs
_UNKNOWN_WORDS = ("", "unknown", "nan", "na", "n/a", "none", "null", "-", "?")
OTHER_DIAGNOSES = "To leave other diagnoses out, remove these rows from the table; their images may stay."
_WITHOUT_LESIONS = (
    "Without it, images of one lesion would fall on two sides of a split. Take the table as HAM10000 publishes it, or add "
    "a column that gives images of one lesion the same name (for one image a lesion, a copy of image_id)."
)


def read_rows(table: pd.DataFrame, path: Path, taxonomy: Taxonomy) -> tuple[pd.DataFrame, list[Finding]]:
    """Bring a table to HAM10000's columns.

    Args:
        table: strings with `ROW`, as from `read_table`; `image_id`, `lesion_id` and `dx` are needed.
        path: the file, for messages.
        taxonomy: of its diagnoses.

    Returns:
        `REQUIRED`, `OPTIONAL`, `PATIENT` where the table has it (age as float64 years, NaN unknown; other unknown values
        "unknown") and `ROW`, a row per image; and what was found.

    Raises:
        UsageError: a column is missing; an image_id is empty, a path or listed twice with different values; a
            lesion_id is empty; a diagnosis is unknown; a lesion has two diagnoses.
    """
    table, findings = _columns(table, path)
    where = [f"{path}, row {row}" for row in table[ROW]]
    written = table["dx"]
    table["image_id"] = [check_image_id(value, place) for value, place in zip(table["image_id"], where, strict=True)]
    table["lesion_id"] = [
        _check_lesion_id(value, place) for value, place in zip(table["lesion_id"], where, strict=True)
    ]
    rows = [f"row {row}" for row in table[ROW]]
    table["dx"] = read_all_dx(written.tolist(), rows, taxonomy, str(path), OTHER_DIAGNOSES)
    changed = [
        f"row {row}: {value}" for row, value in zip(table[ROW], written, strict=True) if value not in taxonomy.index_of
    ]
    findings += finding("dx-written", "A diagnosis is not written as its code", "read as the code", changed)
    if PATIENT in table:
        table[PATIENT] = [UNKNOWN if value.lower() in _UNKNOWN_WORDS else value for value in table[PATIENT]]
        table = table if (table[PATIENT] != UNKNOWN).any() else table.drop(columns=PATIENT)
    for column in ("dx_type", "sex", "localization", "dataset"):
        table[column] = [_read_word(value, _MEANING.get(column, {})) for value in table[column]]
    table, more = _read_ages(table)
    findings += more
    table, more = _without_repeats(table, path)
    _check_one_diagnosis(table, path)
    return table, findings + more


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
            other = next((name for name in _OTHER_NAMES.get(column, ()) if name in there), None)
            near = [other] if other else difflib.get_close_matches(column, there, n=1, cutoff=0.6)
            hint = f" Rename the column {near[0]!r} to {column}, if that is what it holds." if near else ""
            why = f" {_WITHOUT_LESIONS}" if column == "lesion_id" else ""
            raise UsageError(f"{path} has no column {column!r}; it has {', '.join(there)}.{hint}{why}")


def without_suffix(name: str) -> str:
    """Give an image's id: its name without the suffix of an image file, composed (NFC), since macOS writes accents apart."""
    suffix = Path(name).suffix if "\0" not in name else ""
    return unicodedata.normalize("NFC", name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name)


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


def _check_lesion_id(value: str, where: str) -> str:
    if value.lower() in _UNKNOWN_WORDS:
        raise UsageError(f"{where}: lesion_id is {value!r}. Give each lesion a name of its own, such as the image_id.")
    return value


def _columns(table: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """Rename, require, fill and order the columns."""
    table = with_own_names(table, REQUIRED, path)
    wanted = [*REQUIRED, *OPTIONAL, *([PATIENT] if PATIENT in table else []), ROW]
    extra = [name for name in table.columns if name not in wanted]
    absent = [name for name in OPTIONAL if name not in table.columns]
    findings = finding("columns-extra", "The metadata has columns that are not used", "ignored", extra)
    findings += finding("columns-absent", "The metadata lacks columns", "filled with unknown", absent)
    return table.assign(**dict.fromkeys(absent, UNKNOWN))[wanted], findings


def _read_word(value: str, meaning: dict[str, str]) -> str:
    text = value.lower()
    return UNKNOWN if text in _UNKNOWN_WORDS else meaning.get(text, text)


def _read_ages(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    """Ages as numbers, whatever they are; `clean` judges them."""
    ages, no_numbers = [], []
    for value, row in zip(table["age"], table[ROW], strict=True):
        age = math.nan
        if value.lower() not in _UNKNOWN_WORDS:
            try:
                age = number(value)
            except ValueError:
                no_numbers.append(f"row {row}: {value}")
        ages.append(age)
    what, decision = "An age is no number", "kept; the age counts as empty"
    return table.assign(age=pd.Series(ages, table.index, "float64")), finding("age-text", what, decision, no_numbers)


def _without_repeats(table: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[Finding]]:
    is_repeat = table.drop(columns=ROW).duplicated()
    repeats = [f"row {row}: {name}" for row, name in table.loc[is_repeat, [ROW, "image_id"]].itertuples(index=False)]
    kept = table[~is_repeat].reset_index(drop=True)
    clashing = kept[kept["image_id"].duplicated(keep=False)]
    if len(clashing):
        same = clashing[clashing["image_id"] == clashing["image_id"].iloc[0]]
        differing = [name for name in kept.columns.drop(ROW) if same[name].nunique(dropna=False) > 1]
        raise UsageError(
            f"{path}: image_id {same['image_id'].iloc[0]!r} stands in rows {same[ROW].iloc[0]} and {same[ROW].iloc[1]} "
            f"with different values ({', '.join(differing)}). Keep one."
        )
    return kept, finding("row-twice", "A row of the metadata is repeated", "read once", repeats)


def _check_one_diagnosis(table: pd.DataFrame, path: Path) -> None:
    numbers = table.groupby("lesion_id", sort=False)["dx"].nunique()
    lesions = numbers.index[numbers > 1].tolist()
    if lesions:
        rows = table[table["lesion_id"] == lesions[0]].drop_duplicates("dx")
        said = " and ".join(f"{dx} (row {row})" for dx, row in zip(rows["dx"], rows[ROW], strict=True))
        more = f" {len(lesions) - 1} more lesions have the same fault." if len(lesions) > 1 else ""
        raise UsageError(f"{path}: lesion {lesions[0]!r} has two diagnoses, {said}. Give it one.{more}")
