"""Step 4: judge a collection. Each fault is found, counted, decided and listed; nothing is dropped in silence.

In: the table as read, what decoding found in each file, and the pairs of near-duplicates. Out: the rows that stay, with
the columns `sha256`, `row` (into the pixel cache) and `group` (lesions joined by near-duplicates, the unit of a split);
the rows set aside, each with its reason; and the findings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lesionlab.data.duplicates import NearDuplicate
from lesionlab.data.findings import Finding, finding
from lesionlab.data.layouts import Collection
from lesionlab.errors import UsageError

__all__ = ["Cleaned", "Finding", "clean"]

OLDEST_YEARS = 120


@dataclass(frozen=True)
class Cleaned:
    """What stays (`table`), what was found, and what was set aside (`image_id`, `reason`)."""

    table: pd.DataFrame
    findings: tuple[Finding, ...]
    set_aside: pd.DataFrame


def clean(collection: Collection, facts: pd.DataFrame, pairs: Sequence[NearDuplicate]) -> Cleaned:
    """Judge a collection.

    Args:
        collection: from `read_collection`.
        facts: a row per row of its table, in order: `sha256`, `error` ("" where the image was read).
        pairs: near-duplicates among its images.

    Raises:
        UsageError: no image is left.
    """
    table = collection.table.assign(sha256=facts["sha256"].to_numpy(), row=np.arange(len(collection.table)))
    table["age"], findings = read_ages(table)
    for column in ("sex", "localization"):
        unknown = table.loc[table[column] == "unknown", "image_id"].tolist()
        findings += finding(f"{column}-unknown", f"{column} is unknown", "kept: a group of its own", unknown)
    findings += _two_sites(table)
    reasons = _reasons(table, facts["error"].fillna("").to_numpy())
    findings += _set_aside_findings(table, reasons)
    kept = table[reasons == ""].reset_index(drop=True)
    if kept.empty:
        raise UsageError(f"{collection.folder}: no image is left of {len(table):,} ({reasons.iloc[0]} …).")
    kept["group"], joined = join_groups(kept, pairs)
    findings += joined
    set_aside = pd.DataFrame({"image_id": table["image_id"], "reason": reasons})[reasons != ""].reset_index(drop=True)
    return Cleaned(kept, tuple(findings), set_aside)


def read_ages(table: pd.DataFrame) -> tuple[pd.Series, list[Finding]]:
    """Ages in years, NaN where unknown: empty, 0, or not an age.

    HAM10000 rounds ages to five years and holds 39 zeros on lesions of adults and children alike; they mean unknown.
    """
    text = table["age"].astype(str).str.strip().str.lower()
    is_empty = text.isin(["", "unknown", "nan", "none", "na", "n/a"])
    ages = pd.to_numeric(text.mask(is_empty), errors="coerce")
    is_zero = ages == 0
    is_wrong = ~is_empty & (ages.isna() | (ages < 0) | (ages > OLDEST_YEARS))
    wrong = [f"{name}: {value}" for name, value in zip(table["image_id"][is_wrong], text[is_wrong], strict=True)]
    findings = finding("age-empty", "age is empty", "kept: age unknown", table.loc[is_empty, "image_id"].tolist())
    findings += finding("age-zero", "age is 0", "kept: age unknown", table.loc[is_zero, "image_id"].tolist())
    findings += finding("age-wrong", f"age is not a number from 1 to {OLDEST_YEARS}", "kept: age unknown", wrong)
    return ages.where(~(is_empty | is_zero | is_wrong)).astype(float), findings


def join_groups(table: pd.DataFrame, pairs: Sequence[NearDuplicate]) -> tuple[np.ndarray, list[Finding]]:
    """Join lesions that share a near-duplicate: group names (n,), each the first lesion id of its group."""
    index = {image_id: position for position, image_id in enumerate(table["image_id"])}
    present = [pair for pair in pairs if pair.image_id_a in index and pair.image_id_b in index]
    lesions, lesion_of_image = np.unique(table["lesion_id"].to_numpy(dtype=str), return_inverse=True)
    edges = np.array(
        [(lesion_of_image[index[p.image_id_a]], lesion_of_image[index[p.image_id_b]]) for p in present], dtype=int
    ).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(lesions), len(lesions)))
    _, component = connected_components(graph, directed=False)
    first = np.full(component.max() + 1, len(lesions))
    np.minimum.at(first, component, np.arange(len(lesions)))
    dx, lesion = table["dx"].to_numpy(), table["lesion_id"].to_numpy()
    named: dict[bool, list[str]] = {True: [], False: []}
    for pair in present:
        a, b = index[pair.image_id_a], index[pair.image_id_b]
        if lesion[a] != lesion[b]:
            named[bool(dx[a] == dx[b])].append(f"{pair.image_id_a} ({dx[a]}) ~ {pair.image_id_b} ({dx[b]})")
    what = "Two lesions show nearly the same picture"
    findings = finding("near-duplicate", what, "kept: their lesions stay on one side of a split", named[True])
    what += " under two diagnoses"
    findings += finding("near-duplicate-dx", what, "kept and joined: one label is likely wrong", named[False])
    return lesions[first[component]][lesion_of_image], findings


def _two_sites(table: pd.DataFrame) -> list[Finding]:
    sites = table[table["localization"] != "unknown"].groupby("lesion_id")["localization"].nunique()
    lesions = [str(name) for name in sites.index[sites > 1]]
    return finding("localization-two", "A lesion has two localizations", "kept as they are", lesions)


def _reasons(table: pd.DataFrame, errors: np.ndarray) -> pd.Series:
    """Why a row is set aside; "" where it stays."""
    reasons = pd.Series(errors, index=table.index, dtype=object)
    read = table[reasons == ""]
    for _, same in read.groupby("sha256", sort=False):
        if len(same) > 1 and same["dx"].nunique() > 1:
            others = ", ".join(same["image_id"])
            reasons[same.index] = f"the same file under two diagnoses: {others}"
        elif len(same) > 1:
            reasons[same.index[1:]] = f"the same file as {same['image_id'].iloc[0]}"
    return reasons


def _set_aside_findings(table: pd.DataFrame, reasons: pd.Series) -> list[Finding]:
    is_missing = reasons == "missing"
    is_clash = reasons.str.startswith("the same file under")
    is_copy = reasons.str.startswith("the same file as")
    is_unreadable = (reasons != "") & ~is_missing & ~is_clash & ~is_copy

    def named(chosen: pd.Series) -> list[str]:
        return [f"{name}: {why}" for name, why in zip(table["image_id"][chosen], reasons[chosen], strict=True)]

    missing = table.loc[is_missing, "image_id"].tolist()
    return [
        *finding("image-missing", "A row has no image", "set aside", missing),
        *finding("image-unreadable", "An image cannot be read", "set aside", named(is_unreadable)),
        *finding(
            "image-copy", "Two images are the same file", "the first is kept, the others set aside", named(is_copy)
        ),
        *finding("image-copy-dx", "The same file has two diagnoses", "all set aside", named(is_clash)),
    ]
