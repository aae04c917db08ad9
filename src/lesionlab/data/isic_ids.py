"""Ids of the ISIC Archive in image names: by them an image is known again wherever it lies, cropped or saved anew.

HAM10000, BCN20000, MILK10k and every ISIC challenge name their images by the archive's ids, `ISIC_0024306`; a copy keeps its
picture's (`ISIC_0024306_rot90`). A model file holds those that it was trained on as ranges of numbers, so that an evaluation
can say whether it saw the images. Other names are not kept: `1` may be any clinic's, and a name may be a patient's.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

_ISIC_ID = re.compile(r"(?<![a-z0-9])isic_(\d{7,9})(?!\d)", re.IGNORECASE)
_WRITTEN = re.compile(r"(?:\d{1,9}(?:-\d{1,9})?(?:,\d{1,9}(?:-\d{1,9})?)*(?:,others)?)?")
_OTHERS = "others"


def isic_numbers(names: Iterable[str]) -> np.ndarray:
    """Give the number in each name's ISIC id, int64 (n,); -1 where it has none."""
    found = (_ISIC_ID.search(name) for name in names)
    return np.array([int(match[1]) if match else -1 for match in found], np.int64)


def written_ids(names: Iterable[str]) -> str:
    """Write the ids of images as ranges of numbers, `24306-24310,24312`, with `others` at the end where a name has none.

    Empty where no name has one.
    """
    found = isic_numbers(names)
    numbers = np.unique(found[found >= 0])
    if not len(numbers):
        return ""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    ranges = [f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ",".join([*ranges, *([_OTHERS] if (found < 0).any() else [])])


def is_written(ids: str) -> bool:
    """Whether a text is what `written_ids` gives."""
    return bool(_WRITTEN.fullmatch(ids)) and all(first <= last for first, last in _ranges(ids))


def names_all(ids: str) -> bool:
    """Whether written ids are those of all images that they stand for."""
    return bool(ids) and not ids.endswith(_OTHERS)


def joined_ids(*ids: str) -> str:
    """Give the ids of several lists as one text of ranges, which may overlap; an empty list is one of others."""
    ranges = [run for one in ids for run in one.split(",") if run not in ("", _OTHERS)]
    return ",".join([*ranges, *([] if all(map(names_all, ids)) else [_OTHERS])]) if ranges else ""


def are_among(names: Sequence[str], ids: str) -> np.ndarray:
    """Whether each image is one of those that `written_ids` wrote, bool (n,)."""
    numbers, order = isic_numbers(names), sorted(_ranges(ids))
    if not order:
        return np.zeros(len(numbers), bool)
    starts = np.array([first for first, _ in order])
    ends = np.maximum.accumulate([last for _, last in order])  # ranges of two lists may overlap
    place = np.searchsorted(starts, numbers, side="right") - 1
    return (numbers >= 0) & (place >= 0) & (numbers <= ends[np.maximum(place, 0)])


def _ranges(ids: str) -> list[tuple[int, int]]:
    bounds = [run.split("-") for run in ids.split(",") if run not in ("", _OTHERS)]
    return [(int(run[0]), int(run[-1])) for run in bounds]
