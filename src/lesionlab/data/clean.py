"""Step 4: check a collection. Each fault is found, counted, decided and listed; nothing is dropped in silence.

In: the table as read, what decoding found in each file, and the pairs of near-duplicates. Out: the rows that stay, with
the columns `sha256`, `row` (into the pixel cache) and `group` (lesions joined by near-duplicates, names of copies and patients,
the unit of a split); the rows set aside, each with its reason; and the findings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lesionlab.data.copy_names import sources
from lesionlab.data.duplicates import NearDuplicate
from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.joined import folder_of_row
from lesionlab.data.layouts.metadata import PATIENT, UNKNOWN
from lesionlab.data.layouts.recognise import Collection
from lesionlab.data.patient import OLDEST_YEARS
from lesionlab.data.point_matches import PointMatch
from lesionlab.data.stored_images import is_stored
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.folders import named

# HAM10000 rounds ages to 5 years. Its 39 zeros (21 lesions, all of one clinic) may be infants, but 5 show a benign
# keratosis, which no infant has: a zero is no age to learn from or to report on.
_AGE_ZERO = "kept; the age counts as unknown, since HAM10000's zeros include lesions that no infant has"
_AGE_UNKNOWN = "kept; the age counts as unknown"


@dataclass(frozen=True)
class Cleaned:
    """A checked collection.

    Attributes:
        table: the rows that stay: `TABLE_COLUMNS`, sha256 (of the file), row (int, into the pixel cache), group (str).
        findings: what was found.
        set_aside: image_id and reason of every other row, and the group of those that the collection's table has.
        pairs: the near-duplicates it was checked for.
        is_by_points: whether these were found point by point; else by texture.
    """

    table: pd.DataFrame
    findings: tuple[Finding, ...]
    set_aside: pd.DataFrame
    pairs: tuple[NearDuplicate | PointMatch, ...] = ()
    is_by_points: bool = False


def clean(collection: Collection, facts: pd.DataFrame, pairs: Sequence[NearDuplicate | PointMatch]) -> Cleaned:
    """Judge a collection; every row of its table is either kept or set aside.

    Args:
        collection: from `read_collection`.
        facts: a row per row of its table, in order: `image_id`, `sha256`, `error` ("" where the image was read,
            "missing" where there is no file, else the reason).
        pairs: of its images that show one lesion, as `point_matches` or `near_duplicates` find them; a pair with
            an image that was not read counts for nothing.

    Raises:
        UsageError: no image is left.
        LesionlabError: `facts` belong to another table.
    """
    table = collection.table
    if list(facts["image_id"]) != list(table["image_id"]):
        raise LesionlabError(f"The decoded images are not those of {named(collection.data)}: decode this collection.")
    table = table.assign(sha256=facts["sha256"].to_numpy(), row=np.arange(len(table)))
    table["age"], findings = check_ages(table)
    findings += _unknown_values(table) + _set_aside_before(collection.set_aside)
    absent = [column for one in collection.findings if one.kind == "columns-absent" for column in one.items]
    told = {f"{column}-{what}" for column in absent for what in ("empty", "unknown")}
    findings = [one for one in findings if one.kind not in told]
    errors = facts["error"].fillna("").astype(str).to_numpy(dtype=object)
    reasons, found = _set_aside(table, errors)
    table["group"], joined = join_groups(table, errors == "", pairs, collection.same)
    joined += _common(table, folder_of_row(collection))
    is_kept = reasons == ""
    if not is_kept.any():
        raise UsageError(
            f"{named(collection.data)}: no image is left of {len(table):,} (first: {table['image_id'].iloc[0]}, {reasons[0]})."
        )
    here = pd.DataFrame({"image_id": table["image_id"], "reason": reasons, "group": table["group"]})[~is_kept]
    set_aside = pd.concat([collection.set_aside, here], ignore_index=True) if len(collection.set_aside) else here
    set_aside = set_aside.reset_index(drop=True)
    return Cleaned(table[is_kept].reset_index(drop=True), (*findings, *found, *joined), set_aside, tuple(pairs))


def check_ages(table: pd.DataFrame) -> tuple[pd.Series, list[Finding]]:
    """Ages in years (float64), NaN where unknown: empty, 0, or not from 0 to `OLDEST_YEARS`."""
    ages = table["age"].astype("float64")
    is_wrong = (ages < 0) | (ages > OLDEST_YEARS)
    wrong = [f"{name}: {age:g}" for name, age in zip(table["image_id"][is_wrong], ages[is_wrong], strict=True)]
    return ages.where((ages > 0) & ~is_wrong), [
        *finding("age-empty", "The age is empty", _AGE_UNKNOWN, table.loc[ages.isna(), "image_id"]),
        *finding("age-zero", "The age is 0", _AGE_ZERO, table.loc[ages == 0, "image_id"]),
        *finding("age-wrong", f"The age is not from 0 to {OLDEST_YEARS} years", _AGE_UNKNOWN, wrong),
    ]


def join_groups(
    table: pd.DataFrame,
    is_read: np.ndarray,
    pairs: Sequence[NearDuplicate | PointMatch],
    same: Sequence[tuple[str, str]] = (),
) -> tuple[np.ndarray, list[Finding]]:
    """Join lesions that share a file, a near-duplicate, a picture by the names of its copies, or a patient.

    Rows that are set aside count too: if an image of one lesion is a copy of another's, all images of both belong together.

    Args:
        table: n rows with image_id, lesion_id, dx, path, sha256, and patient_id where it is known.
        is_read: bool (n,), false where the image was not read.
        pairs: near-duplicates.
        same: pairs of image ids that belong together for another reason.

    Returns:
        Group names (n,), each the first of its lesion ids; the copies that names tell of, and the pairs of near-duplicates.

    Raises:
        LesionlabError: a pair names an image that is not in the table.
    """
    lesions, lesion_of_row = np.unique(table["lesion_id"].to_numpy(dtype=str), return_inverse=True)
    near = _rows_of_pairs(table, [(pair.image_id_a, pair.image_id_b) for pair in pairs])
    near = near[is_read[near].all(axis=1)]
    copies = _rows_of_named_copies(table)
    others = (_rows_of_copies(table, is_read), _rows_of_patients(table), _rows_of_pairs(table, same))
    edges = lesion_of_row[np.concatenate([near, copies, *others])]  # (k, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(lesions), len(lesions)))
    _, component = connected_components(graph, directed=False)
    first = np.full(len(lesions), len(lesions))
    np.minimum.at(first, component, np.arange(len(lesions)))
    return lesions[first[component]][lesion_of_row].astype(object), _name_copies(table, copies) + _name_pairs(
        table, near
    )


def _rows_of_pairs(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Rows (k, 2) of the pairs' images."""
    row_of = {image_id: row for row, image_id in enumerate(table["image_id"])}
    try:
        rows = [(row_of[first], row_of[second]) for first, second in pairs]
    except KeyError as error:
        raise LesionlabError(
            f"A near-duplicate names the image {error.args[0]!r}, which is not in the table."
        ) from error
    return np.array(rows, dtype=np.intp).reshape(-1, 2)


def _rows_of_copies(table: pd.DataFrame, is_read: np.ndarray) -> np.ndarray:
    """Rows (k, 2) of files with the same content: the first and another."""
    return _rows_that_share([(row, sha256) for row, sha256 in enumerate(table["sha256"]) if is_read[row]])


def _rows_of_named_copies(table: pd.DataFrame) -> np.ndarray:
    """Rows (k, 2) of files that are copies of one picture by their names: the first and another."""
    files = zip(table["path"], table["image_id"], strict=True)
    names = [Path(path).stem if path and not is_stored(path) else image_id for path, image_id in files]
    return _rows_that_share(list(enumerate(sources(names, table["dx"].tolist()))))


def _rows_of_patients(table: pd.DataFrame) -> np.ndarray:
    """Rows (k, 2) of one patient: the first and another; none where the table knows no patients."""
    if PATIENT not in table:
        return _rows_that_share([])
    return _rows_that_share([(row, patient) for row, patient in enumerate(table[PATIENT]) if patient != UNKNOWN])


def _rows_that_share(keys: list[tuple[int, str]]) -> np.ndarray:
    first: dict[str, int] = {}
    rows = [(first.setdefault(key, row), row) for row, key in keys]
    return np.array([pair for pair in rows if pair[0] != pair[1]], dtype=np.intp).reshape(-1, 2)


def _name_copies(table: pd.DataFrame, copies: np.ndarray) -> list[Finding]:
    names, dx = (table[column].to_numpy(dtype=object) for column in ("image_id", "dx"))
    same = [f"{names[b]} ~ {names[a]}" for a, b in copies if dx[a] == dx[b]]
    differing = [f"{names[b]} ({dx[b]}) ~ {names[a]} ({dx[a]})" for a, b in copies if dx[a] != dx[b]]
    what = "Images are copies of one picture by their names"
    joined = "kept; joined, so that a split leaves them on one side"
    return [
        *finding("copy-name", what, joined, same),
        *finding("copy-name-dx", f"{what}, under two diagnoses", f"{joined}; one label is likely wrong", differing),
    ]


def _name_pairs(table: pd.DataFrame, near: np.ndarray) -> list[Finding]:
    names, lesions, dx = (table[column].to_numpy(dtype=object) for column in ("image_id", "lesion_id", "dx"))
    same_lesion, same_dx, differing = [], [], []
    for a, b in near:
        if lesions[a] == lesions[b]:
            same_lesion.append(f"{names[a]} ~ {names[b]}")
        elif dx[a] == dx[b]:
            same_dx.append(f"{names[a]} ~ {names[b]}")
        else:
            differing.append(f"{names[a]} ({dx[a]}) ~ {names[b]} ({dx[b]})")
    what = "Two lesions show nearly the same picture"
    joined = "kept; the lesions are joined, so that a split leaves them on one side"
    return [
        *finding("near-duplicate", what, joined, same_dx),
        *finding("near-duplicate-dx", f"{what} under two diagnoses", f"{joined}; one label is likely wrong", differing),
        *finding("near-duplicate-lesion", "A lesion has two images that are nearly the same", "kept", same_lesion),
    ]


def _common(table: pd.DataFrame, folder: pd.Series) -> list[Finding]:
    """Name the lesions that several folders show: the first of each folder, of each group."""
    firsts = table.assign(folder=folder).drop_duplicates(["group", "folder"])
    common = firsts[firsts["group"].duplicated(keep=False)].groupby("group")["lesion_id"].agg(" ~ ".join)
    decision = "kept; a split leaves all its images on one side"
    return finding("lesion-common", "A lesion is in several folders", decision, common)


def _unknown_values(table: pd.DataFrame) -> list[Finding]:
    findings = []
    for column in ("sex", "localization"):
        unknown = table.loc[table[column] == UNKNOWN, "image_id"]
        findings += finding(f"{column}-unknown", f"The {column} is unknown", "kept; a stratum of its own", unknown)
        known = table[table[column] != UNKNOWN].groupby("lesion_id")[column].nunique()
        several = known.index[known > 1].astype(str)
        findings += finding(f"{column}-two", f"A lesion has two values of {column}", "kept as they are", several)
    return findings


def _set_aside_before(set_aside: pd.DataFrame) -> list[Finding]:
    """A finding for each reason for which rows were set aside as they were read."""
    return [
        one
        for reason, rows in set_aside.groupby("reason", sort=False)
        for one in finding("row-set-aside", f"A row is not of what is read: {reason}", "set aside", rows["image_id"])
    ]


def _set_aside(table: pd.DataFrame, errors: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
    """Give each row the reason (n,) for which it is set aside, "" where it stays."""
    reasons = errors.copy()
    is_copy, is_clash = np.zeros(len(table), bool), np.zeros(len(table), bool)
    read = table[errors == ""]
    for _, copies in read[read["sha256"].duplicated(keep=False)].groupby("sha256", sort=False):
        rows, names = copies["row"].to_numpy(), copies["image_id"].tolist()
        if copies["dx"].nunique() > 1:
            is_clash[rows], reasons[rows] = True, f"the same file under two diagnoses: {', '.join(names)}"
        else:
            is_copy[rows[1:]], reasons[rows[1:]] = True, f"the same file as {names[0]}"
    is_missing = errors == "missing"

    def named(chosen: np.ndarray) -> list[str]:
        return [f"{name}: {why}" for name, why in zip(table["image_id"][chosen], reasons[chosen], strict=True)]

    one_kept = "the first is kept, the others are set aside"
    unreadable = named((errors != "") & ~is_missing)
    return reasons, [
        *finding("image-missing", "A row has no image", "set aside", table.loc[is_missing, "image_id"]),
        *finding("image-unreadable", "An image cannot be read", "set aside", unreadable),
        *finding("image-copy", "Images are the same file", one_kept, named(is_copy)),
        *finding("image-copy-dx", "The same file has two diagnoses", "all are set aside", named(is_clash)),
    ]
