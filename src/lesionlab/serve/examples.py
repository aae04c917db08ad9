"""The lesions of `lesionlab demo`: generated, and clicked on the page in place of photographs that a newcomer has not got."""

import csv
from dataclasses import dataclass
from pathlib import Path

from lesionlab.data.phantom.write import IMAGES, METADATA, write_phantoms
from lesionlab.taxonomy import HAM10000

_SEED = 1  # by which the packaged model gives every kind of decision, "not dermatoscopic" too


@dataclass(frozen=True)
class Example:
    """A generated picture, and the name of the diagnosis that it was drawn as."""

    path: Path
    drawn_as: str


def draw_examples(folder: Path, *, lesions: int) -> tuple[Example, ...]:
    """Draw generated lesions into a folder, and give one picture of each, in the order of the diagnoses.

    Args:
        folder: absent or empty.
        lesions: at least 1; of seven or more each diagnosis has one.

    Raises:
        UsageError: the number is out of range, or the folder holds something.
        OSError: it cannot be written.

    """
    write_phantoms(folder, lesions=lesions, seed=_SEED)
    with (folder / METADATA).open(encoding="utf-8", newline="") as table:
        first = {row["lesion_id"]: row for row in reversed(list(csv.DictReader(table)))}
    rows = sorted(first.values(), key=lambda row: (HAM10000.dx.index(row["dx"]), row["image_id"]))
    return tuple(Example(folder / IMAGES / f"{row['image_id']}.jpg", HAM10000.name_of[row["dx"]]) for row in rows)
