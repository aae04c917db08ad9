"""The lesions of `lesionlab demo`: generated, and clicked on the page in place of photographs that a newcomer has not got."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionlab.data.phantom.write import IMAGES, METADATA, write_phantoms
from lesionlab.taxonomy import HAM10000

_SEED = 5  # by which the packaged model gives every kind of decision, "not dermatoscopic" too, but not of the first


@dataclass(frozen=True)
class Example:
    """A generated picture, and the name of the diagnosis that it was drawn as."""

    path: Path
    drawn_as: str


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


def describe_examples(examples: Sequence[Example]) -> list[dict[str, str]]:
    """Give what the page must know of each: its name, what it was drawn as, and its address."""
    return [
        {"name": example.path.name, "drawn_as": example.drawn_as, "url": f"v1/examples/{number}"}
        for number, example in enumerate(examples)
    ]


def add_examples(api: Any, examples: Sequence[Example]) -> None:
    """Serve the pictures, at the addresses that `describe_examples` gives."""
    from fastapi import HTTPException
    from fastapi.responses import FileResponse

    @api.get("/v1/examples/{number}", response_class=FileResponse)
    async def example(number: int) -> FileResponse:
        """Give a generated lesion, as JPEG."""
        if not 0 <= number < len(examples):
            raise HTTPException(404, "There is no such generated lesion.")
        return FileResponse(examples[number].path)
