"""Step 3: the rows of a metadata table, brought to HAM10000's columns and one way of writing.

In: a table of strings as read from a file. Out: a row per image, with what was changed as findings, and the rows that are set
aside. Faults that make a row mean nothing (no image, no lesion, no diagnosis, two diagnoses) are an error that names all of them;
what is merely unknown or unlikely is kept, for `clean` to check.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lesionlab.data.layouts import image_types
from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.metadata import (
    FURTHER,
    IMAGE_TYPE,
    MANIPULATION,
    OPTIONAL,
    PART,
    PATIENT,
    REQUIRED,
    UNKNOWN,
    check_image_id,
    with_own_names,
)
from lesionlab.data.layouts.tables import ROW, UNKNOWN_WORDS, number
from lesionlab.data.layouts.written_diagnoses import find_dx, read_all_dx
from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy

_MEANING = {
    "sex": {"m": "male", "f": "female"},
    "dx_type": {
        "histopathology": "histo",
        "serial imaging showing no change": "follow_up",
        "single image expert consensus": "consensus",
        "confocal microscopy with consensus dermoscopy": "confocal",
    },
}
_NAMED = 5  # faults of one kind that are named
OTHER_DIAGNOSES = "To leave other diagnoses out, remove these rows from the table; their images may stay."


@dataclass(frozen=True)
class Rules:
    """What a layout allows.

    Attributes:
        image_types: kinds of image that are wanted, see `lesionlab.data.layouts.image_types`; None for the layout's own.
        no_diagnosis: words, in lower case, that say that a row has no diagnosis of the set: such rows are set aside.
        needs_lesions: whether a row without lesion is a fault; else its image counts as a lesion of its own.
    """

    image_types: tuple[str, ...] | None = None
    no_diagnosis: frozenset[str] = frozenset()
    needs_lesions: bool = True


class Rows(NamedTuple):
    """A table as read: its rows, what was found, and `image_id` and `reason` of the rows that are set aside."""

    table: pd.DataFrame
    findings: list[Finding]
    set_aside: pd.DataFrame


def read_rows(table: pd.DataFrame, path: Path, taxonomy: Taxonomy, rules: Rules = Rules()) -> Rows:
    """Bring a table to HAM10000's columns.

    Args:
        table: strings with `ROW`, as from `read_table`; `image_id`, `lesion_id` and `dx` are needed.
        path: the file, for messages.
        taxonomy: of its diagnoses.
        rules: of the layout.

    Returns:
        `REQUIRED`, `OPTIONAL`, those of `FURTHER` that the table has (age as float64 years, NaN unknown; other unknown values
        "unknown") and `ROW`, a row per image; what was found; and what is set aside.

    Raises:
        UsageError: a column is missing; or, all together: an image_id is empty, a path or listed twice with different values;
            a lesion_id is empty; a diagnosis is unknown; a lesion has two diagnoses or two patients.
    """
    table, findings = _columns(table, path, rules)
    faults: list[str] = []
    where = [f"{path}, row {row}" for row in table[ROW]]
    table["image_id"] = _checked(table["image_id"], where, check_image_id, faults)
    table, set_aside = _set_aside(table, rules)
    where = [f"{path}, row {row}" for row in table[ROW]]
    table, more = _with_lesions(table, where, path, rules, faults)
    findings += more
    written = table["dx"]
    table["dx"] = _read_dx(written, table[ROW], taxonomy, path, faults)
    codes = set(taxonomy.dx)
    changed = [f"row {row}: {value}" for row, value in zip(table[ROW], written, strict=True) if value not in codes]
    findings += finding("dx-written", "A diagnosis is not written as its code", "read as the code", changed)
    for column in (PATIENT, PART):
        if column in table:
            table[column] = [UNKNOWN if value.lower() in UNKNOWN_WORDS else value for value in table[column]]
            table = table if (table[column] != UNKNOWN).any() else table.drop(columns=column)
    for column in ("dx_type", "sex", "localization", "dataset"):
        table[column] = _read_words(table[column], _MEANING.get(column, {}))
    table, more = _read_ages(table)
    findings += more
    table, more = _without_repeats(table, path, faults)
    faults += _of_two(table, path, "dx", "diagnoses") + _of_two(table, path, PATIENT, "patients")
    _refuse(faults)
    return Rows(table, findings + more, set_aside)


def _refuse(faults: list[str]) -> None:
    """Raise all faults of a table together."""
    if faults:
        several = f"{len(faults)} faults:\n" if len(faults) > 1 else ""
        raise UsageError(several + "\n".join(faults))


def _checked(
    values: Iterable[str], where: Sequence[str], check: Callable[[str, str], str], faults: list[str]
) -> list[str]:
    """Check each value; what is at fault is "" and named, the first five."""
    found, refused = [], []
    for value, place in zip(values, where, strict=True):
        try:
            found.append(check(value, place))
        except UsageError as error:
            found.append("")
            refused.append(str(error))
    faults += refused[:_NAMED]
    if len(refused) > _NAMED:
        faults.append(f"{len(refused) - _NAMED:,} more rows have a fault of this kind.")
    return found


def _read_dx(written: pd.Series, rows: pd.Series, taxonomy: Taxonomy, path: Path, faults: list[str]) -> list[str]:
    try:
        return read_all_dx(written.tolist(), [f"row {row}" for row in rows], taxonomy, str(path), OTHER_DIAGNOSES)
    except UsageError as error:
        faults.append(str(error))
        return [find_dx(value, taxonomy) or "" for value in written]


def _set_aside(table: pd.DataFrame, rules: Rules) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the rows that show another kind of image, or have no diagnosis, from the others."""
    reasons = pd.Series("", index=table.index, dtype=object)
    if IMAGE_TYPE in table:
        kinds = image_types.kinds_of(table[IMAGE_TYPE], table[MANIPULATION] if MANIPULATION in table else None)
        table[IMAGE_TYPE] = kinds
        reasons = image_types.reasons(kinds, rules.image_types)
    if rules.no_diagnosis:
        none = table["dx"].str.lower().isin(rules.no_diagnosis) & (reasons == "")
        words = table["dx"][none].where(table["dx"][none] != "", "empty")
        reasons[none] = "no diagnosis of the set: " + words
    gone = reasons != ""
    set_aside = pd.DataFrame({"image_id": table["image_id"][gone], "reason": reasons[gone]}, dtype=object)
    return table[~gone].reset_index(drop=True).drop(columns=MANIPULATION, errors="ignore"), set_aside


def _with_lesions(
    table: pd.DataFrame, where: list[str], path: Path, rules: Rules, faults: list[str]
) -> tuple[pd.DataFrame, list[Finding]]:
    if rules.needs_lesions:
        return table.assign(lesion_id=_checked(table["lesion_id"], where, _check_lesion_id, faults)), []
    without = table["lesion_id"].str.lower().isin(UNKNOWN_WORDS)
    has_patients = PATIENT in table and not table[PATIENT][without].str.lower().isin(UNKNOWN_WORDS).all()
    keeps = "its patient and near-duplicates" if has_patients else "only near-duplicates"
    decision = f"each image counts as a lesion of its own; {keeps} keep a split from leaking"
    what = f"{path.name} has images without lesion"
    found = finding("lesion-unknown", what, decision, table.loc[without, "image_id"])
    return table.assign(lesion_id=table["lesion_id"].where(~without, table["image_id"])), found


def _check_lesion_id(value: str, where: str) -> str:
    if value.lower() in UNKNOWN_WORDS:
        raise UsageError(f"{where}: lesion_id is {value!r}. Give each lesion a name of its own, such as the image_id.")
    return value


def _columns(table: pd.DataFrame, path: Path, rules: Rules) -> tuple[pd.DataFrame, list[Finding]]:
    """Rename, require, fill and order the columns."""
    if not rules.needs_lesions and "lesion_id" not in table:
        table = table.assign(lesion_id="")
    table = with_own_names(table, REQUIRED, path)
    further = [name for name in (*FURTHER, MANIPULATION) if name in table]
    wanted = [*REQUIRED, *OPTIONAL, *further, ROW]
    extra = [name for name in table.columns if name not in wanted]
    absent = [name for name in OPTIONAL if name not in table.columns]
    findings = finding("columns-extra", "The metadata has columns that are not used", "ignored", extra)
    findings += finding("columns-absent", "The metadata lacks columns", "filled with unknown", absent)
    return table.assign(**dict.fromkeys(absent, UNKNOWN))[wanted], findings


def _read_words(values: pd.Series, meaning: dict[str, str]) -> pd.Series:
    """Words in lower case, their meaning where they have one, "unknown" for those that say so."""

    def word(value: str) -> str:
        text = value.lower()
        return UNKNOWN if text in UNKNOWN_WORDS else meaning.get(text, text)

    return values.map({value: word(value) for value in values.unique()})


def _read_ages(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    """Ages as numbers, whatever they are; `clean` checks them."""
    ages, no_numbers = [], []
    for value, row in zip(table["age"], table[ROW], strict=True):
        age = math.nan
        if value.lower() not in UNKNOWN_WORDS:
            try:
                age = number(value)
            except ValueError:
                no_numbers.append(f"row {row}: {value}")
        ages.append(age)
    what, decision = "An age is no number", "kept; the age counts as empty"
    return table.assign(age=pd.Series(ages, table.index, "float64")), finding("age-text", what, decision, no_numbers)


def _without_repeats(table: pd.DataFrame, path: Path, faults: list[str]) -> tuple[pd.DataFrame, list[Finding]]:
    is_repeat = table.drop(columns=ROW).duplicated()
    repeats = [f"row {row}: {name}" for row, name in table.loc[is_repeat, [ROW, "image_id"]].itertuples(index=False)]
    kept = table[~is_repeat].reset_index(drop=True)
    clashing = kept[kept["image_id"].duplicated(keep=False) & (kept["image_id"] != "")]
    for image_id, same in list(clashing.groupby("image_id", sort=False))[:_NAMED]:
        differing = [name for name in kept.columns.drop(ROW) if same[name].nunique(dropna=False) > 1]
        faults.append(
            f"{path}: image_id {image_id!r} stands in rows {same[ROW].iloc[0]} and {same[ROW].iloc[1]} "
            f"with different values ({', '.join(differing)}). Keep one."
        )
    return kept, finding("row-twice", "A row of the metadata is repeated", "read once", repeats)


def _of_two(table: pd.DataFrame, path: Path, column: str, what: str) -> list[str]:
    """Word the fault of lesions with two values of a column that must be one; unknown values count for nothing."""
    if column not in table:
        return []
    known = table[~table[column].isin(("", UNKNOWN)) & (table["lesion_id"] != "")]
    numbers = known.groupby("lesion_id", sort=False)[column].nunique()
    lesions = numbers.index[numbers > 1].tolist()
    if not lesions:
        return []
    rows = known[known["lesion_id"] == lesions[0]].drop_duplicates(column)
    said = " and ".join(f"{value} (row {row})" for value, row in zip(rows[column], rows[ROW], strict=True))
    more = f" {len(lesions) - 1} more lesions have the same fault." if len(lesions) > 1 else ""
    return [f"{path}: lesion {lesions[0]!r} has two {what}, {said}. Give it one.{more}"]
