"""Ids of the ISIC Archive in image names: by them an image is known again wherever it lies, cropped or saved anew.

HAM10000, BCN20000, MILK10k and every ISIC challenge name their images by the archive's ids, `ISIC_0024306`; a copy keeps its
picture's (`ISIC_0024306_rot90`). A model file holds those that it was trained on as ranges of numbers, so that an evaluation
can say whether it saw the images. Other names are not kept: `1` may be any clinic's, and a name may be a patient's.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

_ISIC_ID = re.compile(r"(?<![a-z0-9])isic_(\d{7,9})(?!\d)", re.IGNORECASE)
_WRITTEN = re.compile(r"(?:\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)?")


def isic_numbers(names: Iterable[str]) -> np.ndarray:
    """Give the number in each name's ISIC id, int64 (n,); -1 where it has none."""
    found = (_ISIC_ID.search(name) for name in names)
    return np.array([int(match[1]) if match else -1 for match in found], np.int64)


def written_ids(names: Iterable[str]) -> str:
    """Write the ids of images as ranges of numbers, `24306-24310,24312`; empty where no name has one."""
    numbers = np.unique(isic_numbers(names))
    numbers = numbers[numbers >= 0]
    if not len(numbers):
        return ""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def is_written(ids: str) -> bool:
    """Whether a text is what `written_ids` gives."""
    return bool(_WRITTEN.fullmatch(ids))


def joined_ids(*ids: str) -> str:
    """Give the ids of several lists as one text of ranges, which may overlap."""
    return ",".join(filter(None, ids))


def are_among(names: Sequence[str], ids: str) -> np.ndarray:
    """Whether each image is one of those that `written_ids` wrote, bool (n,)."""
    numbers = isic_numbers(names)
    bounds = [[int(end) for end in run.split("-")] for run in ids.split(",") if run]
    if not bounds:
        return np.zeros(len(numbers), bool)
    order = sorted((run[0], run[-1]) for run in bounds)
    starts = np.array([start for start, _ in order])
    ends = np.maximum.accumulate([end for _, end in order])  # ranges of two lists may overlap
    place = np.searchsorted(starts, numbers, side="right") - 1
    return (numbers >= 0) & (place >= 0) & (numbers <= ends[np.maximum(place, 0)])


def show_known_lesion(table: pd.DataFrame, ids: str) -> np.ndarray:
    """Whether each image's lesion is one of which an image is among `ids`, bool (n,).

    Args:
        table: columns `image_id` and `lesion_id`.
        ids: as `written_ids` gives them.

    """
    is_known = pd.Series(are_among(list(table["image_id"]), ids), index=table.index)
    return is_known.groupby(table["lesion_id"]).transform("any").to_numpy(bool)
