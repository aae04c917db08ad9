"""The lesions of `lesionlab demo`, drawn: apart from `examples`, so that a service without them does not load what draws."""

import csv
from pathlib import Path

from lesionlab.data.phantom.write import IMAGES, METADATA, write_phantoms
from lesionlab.serve.examples import Example
from lesionlab.taxonomy import HAM10000

_SEED = 5  # by which the packaged model gives every kind of decision, "not dermatoscopic" too, but not of the first


def draw_examples(folder: Path, *, lesions: int) -> tuple[Example, ...]:
    """Draw generated lesions into a folder, and give one picture of each; the diagnoses are mixed.

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
    rows = sorted(first.values(), key=lambda row: row["image_id"])
    return tuple(Example(folder / IMAGES / f"{row['image_id']}.jpg", HAM10000.name_of[row["dx"]]) for row in rows)
