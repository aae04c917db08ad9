"""The lesions of `lesionlab demo`: generated, and clicked on the page in place of photographs that a newcomer has not got."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse


@dataclass(frozen=True)
class Example:
    """A generated picture, and the name of the diagnosis that it was drawn as."""

    path: Path
    drawn_as: str


def describe_examples(examples: Sequence[Example]) -> list[dict[str, str]]:
    """Give what the page must know of each: its name, what it was drawn as, and its address."""
    return [
        {"name": example.path.name, "drawn_as": example.drawn_as, "url": f"v1/examples/{number}"}
        for number, example in enumerate(examples)
    ]


def add_examples(api: APIRouter, examples: Sequence[Example]) -> None:
    """Serve the pictures, at the addresses that `describe_examples` gives."""

    @api.get("/v1/examples/{number}", response_class=FileResponse)
    async def example(number: int) -> FileResponse:
        """Give a generated lesion, as JPEG."""
        if not 0 <= number < len(examples):
            raise HTTPException(404, "There is no such generated lesion.")
        return FileResponse(examples[number].path)
