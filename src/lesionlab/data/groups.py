"""Groups of lesions, which a split keeps whole: lesions that share a near-duplicate, a copy or a patient."""

import hashlib

import numpy as np
import pandas as pd

from lesionlab.data.layouts.metadata import PATIENT
from lesionlab.taxonomy import Taxonomy


def take_lesions(table: pd.DataFrame, limit: int, taxonomy: Taxonomy, *, seed: int) -> pd.DataFrame:
    """Keep whole groups, about `limit` images in all, each diagnosis in proportion and with at least six groups."""
    if limit >= len(table):
        return table
    share = limit / len(table)
    kept: list[str] = []
    for groups in groups_by_dx(table, taxonomy).values():
        number = min(len(groups), max(6, round(share * len(groups))))
        kept += shuffled(groups, seed + 1)[:number].tolist()
    return table[table["group"].isin(kept)].reset_index(drop=True)


def groups_with(table: pd.DataFrame, dx: str, groups: np.ndarray) -> int:
    """Count the groups that can show a diagnosis: those that count for it, or, where groups are patients, all that have it."""
    return int(table.loc[table["dx"] == dx, "group"].nunique()) if PATIENT in table else len(groups)


def groups_by_dx(table: pd.DataFrame, taxonomy: Taxonomy) -> dict[str, np.ndarray]:
    """Groups of each diagnosis of the taxonomy, in its order, sorted; a group with two diagnoses counts for its commonest.

    Where groups are patients, it counts for the rarest in the data instead: a melanoma among a patient's nevi is not lost.
    """
    counts = table.groupby(["group", "dx"], as_index=False, observed=True).size()
    if PATIENT in table:
        counts["size"] = -counts["dx"].map(table["dx"].value_counts())
    commonest = counts.sort_values(["group", "size", "dx"], ascending=[True, False, True]).drop_duplicates("group")
    dx = commonest.set_index("group")["dx"]
    return {code: np.sort(dx.index[dx == code].to_numpy(dtype=str)) for code in taxonomy.dx}


def shuffled(groups: np.ndarray, seed: int) -> np.ndarray:
    """Order groups by a hash of seed and name: a lesion that is added or taken away moves few others."""
    keys = [hashlib.sha256(f"{seed}:{group}".encode()).digest() for group in groups]
    return groups[sorted(range(len(groups)), key=keys.__getitem__)]


def part_size(share: float, number: int, *, most: int) -> int:
    """Give how many groups of a diagnosis a part takes: a share of `number`, one at least, no more than `most`, 0 of none."""
    return min(max(1, round(share * number)), most) if number else 0
