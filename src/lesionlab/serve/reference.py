"""Confirmed cases to compare with: the images of a labelled folder whose features lie nearest to those of a new one.

Nearest by the cosine of the network's features after its global average. Near is what the network finds alike, which need not
be what a dermatologist would.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lesionlab.data.images import ImageError, read_image
from lesionlab.errors import UsageError
from lesionlab.inference.model import Model
from lesionlab.inference.neighbours import NeighbourIndex, unit_rows

if TYPE_CHECKING:
    import pandas as pd

_SIDE = 224


@dataclass(frozen=True)
class Neighbour:
    """A labelled image near to a new one: its id, diagnosis, the cosine of the features, -1 to 1, and where its picture is."""

    image: str
    dx: str
    name: str
    similarity: float
    url: str


@dataclass(frozen=True)
class Reference:
    """Labelled images and their features.

    Attributes:
        table: image_id, lesion_id, dx, path of n images.
        index: their features, to search in.
        name_of: name of each diagnosis in the table.

    """

    table: "pd.DataFrame"
    index: NeighbourIndex
    name_of: Mapping[str, str]

    def nearest(self, features: np.ndarray, number: int) -> list[Neighbour]:
        """Find the nearest cases, at most one image a lesion, the nearest first.

        Args:
            features: float (channels,) of the new image.
            number: of cases.

        """
        places, cosines = self.index.nearest(features, len(self.table))
        found: list[Neighbour] = []
        lesions: set[str] = set()
        for index, cosine in zip(places.tolist(), cosines.tolist(), strict=True):
            if len(found) == number:
                break
            row = self.table.iloc[index]
            if row["lesion_id"] in lesions:
                continue
            lesions.add(row["lesion_id"])
            name, dx = self.name_of[row["dx"]], row["dx"]
            found.append(Neighbour(row["image_id"], dx, name, round(cosine, 4), f"/v1/reference/{index}"))
        return found

    def picture(self, number: int) -> bytes:
        """Give an image as JPEG of 224 px, without metadata."""
        pixels = read_image(Path(self.table.iloc[number]["path"]), _SIDE, _SIDE, "centre")
        file = BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=85)
        return file.getvalue()


def read_reference(folder: Path, model: Model) -> Reference:
    """Read a labelled folder, in any layout that lesionlab reads, and run the model on its images.

    Raises:
        UsageError: no labelled images there, or a model without features.

    """
    from lesionlab.data.layouts.recognise import read_collection
    from lesionlab.inference.outputs import see

    collection = read_collection(folder)
    table = collection.table
    table = table[table["path"] != ""].reset_index(drop=True)
    facts = model.facts

    def read(number: int) -> np.ndarray | None:
        try:
            return read_image(Path(table["path"][number]), facts.height, facts.width, facts.crop)
        except ImageError:
            return None

    seen = see(model.bundle, len(table), read)
    if seen.features is None:
        raise UsageError(f"The model {facts.name!r} gives no features to compare images by. Leave out --reference.")
    readable = ~np.isnan(seen.features).any(axis=1)
    if not readable.any():
        raise UsageError(f"No image of {folder} can be read.")
    index = NeighbourIndex(unit_rows(seen.features[readable]))  # without a shadow: all are asked for, in order
    return Reference(table[readable].reset_index(drop=True), index, collection.taxonomy.name_of)
