"""The table that `lesionlab predict --by-lesion` writes: a row a lesion, its images joined."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lesionlab.data.image_formats import without_suffix
from lesionlab.data.layouts.tables import IMAGE_COLUMNS, read_rows, read_start, tidy
from lesionlab.errors import UsageError
from lesionlab.evaluation.by_lesion import join_by_lesion
from lesionlab.inference.csv_table import no_table
from lesionlab.inference.predictions import Prediction, short


def names_lesions(header: Sequence[str]) -> bool:
    """Tell whether a table with these columns says which lesion each image shows."""
    return "lesion_id" in header and any(name in header for name in IMAGE_COLUMNS)


def read_lesions(path: Path) -> dict[str, str]:
    """Read which lesion each image shows: a table with `lesion_id` and `image_id`, `isic_id` or `image`.

    Raises:
        UsageError: the table cannot be read, lacks a column, or gives an image two lesions.

    """
    header, rows = read_rows(path, tidy)
    image_column = next((name for name in IMAGE_COLUMNS if name in header), None)
    if image_column is None or "lesion_id" not in header:
        raise UsageError(
            f"{path} has the columns {', '.join(header)}; needed are lesion_id, and one of {', '.join(IMAGE_COLUMNS)}."
        )
    image_at, lesion_at = header.index(image_column), header.index("lesion_id")
    lesion_of: dict[str, str] = {}
    for line, cells in rows:
        image, lesion = without_suffix(cells[image_at]), cells[lesion_at]
        if not image or not lesion:
            continue
        if lesion_of.setdefault(image, lesion) != lesion:
            raise UsageError(
                f"{path}, row {line}: image {image!r} is of lesion {lesion!r}, and of {lesion_of[image]!r} above. Keep one."
            )
    return lesion_of


def refuse_other_table(path: Path, header: list[str]) -> None:
    """Leave alone a file that is no such table.

    Raises:
        UsageError: it is another file, or its folder is not there.

    """
    if not path.parent.is_dir():
        raise UsageError(f"The folder {path.parent} does not exist. Choose another file with --out.")
    if path.exists() and read_start(path)[0] != [tidy(name) for name in header]:
        raise no_table(path, header)


class LesionTable:
    """Collects predictions, and joins those of each lesion; an image without a lesion counts as a lesion of its own."""

    def __init__(self, lesion_of: dict[str, str]) -> None:
        self._lesion_of = lesion_of
        self._known = set(lesion_of.values())
        self._lesions: list[str] = []
        self._probabilities: list[list[float]] = []
        self.without_lesion: list[str] = []

    def add(self, prediction: Prediction) -> None:
        """Take the prediction of one image.

        Raises:
            UsageError: an image without a lesion is named as a lesion of the table, which it may not show.

        """
        lesion = self._lesion_of.get(without_suffix(prediction.image))
        if lesion is None:
            if prediction.image in self._known:
                raise UsageError(
                    f"The table gives the image {prediction.image} no lesion, and a lesion of other images has that name: add a "
                    "row for the image, or rename one of them."
                )
            self.without_lesion.append(prediction.image)
        self._lesions.append(lesion or prediction.image)
        self._probabilities.append(list(prediction.probabilities.values()))

    def rows(self) -> list[list[str]]:
        """Give a row a lesion, as of a CSV file: its id, then its probabilities in the order of the model's taxonomy."""
        if not self._lesions:
            return []
        lesions, joined, _ = join_by_lesion(np.array(self._probabilities), self._lesions)
        return [
            [lesion, *(repr(short(value)) for value in row)]
            for lesion, row in zip(lesions, joined.tolist(), strict=True)
        ]
