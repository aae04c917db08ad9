"""`lesionlab check` and `lesionlab explore`: steps 2 to 5 by themselves, without a recipe and without Keras."""

import dataclasses
import errno
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesionlab import folders
from lesionlab.data import local_features
from lesionlab.data.clean import Cleaned, Finding
from lesionlab.data.duplicates import NearDuplicate
from lesionlab.data.layouts.joined import read_data
from lesionlab.data.layouts.recognise import Collection, read_collection
from lesionlab.data.phantom import write
from lesionlab.data.point_matches import PointMatch
from lesionlab.errors import UsageError
from lesionlab.files import write_csv
from lesionlab.folders import Data
from lesionlab.lifecycle.explore import write_exploration_page
from lesionlab.lifecycle.prepare import inspect, look_at
from lesionlab.taxonomy import Taxonomy


@dataclass(frozen=True)
class Checked:
    """What a folder holds, and what of it is kept."""

    collection: Collection
    cleaned: Cleaned

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was found wrong, in the order in which it was looked for."""
        return (*self.collection.findings, *self.cleaned.findings)


def check(data: Data, taxonomy: Taxonomy | None = None, image_types: tuple[str, ...] | None = None) -> Checked:
    """Read a folder, or several as one, and find what is in it, what is wrong with it, and what several have in common.

    Args:
        data: a folder of images, or several.
        taxonomy: the diagnoses to read it in; None for the folder's own.
        image_types: kinds of image to read, see `read_collection`.

    Raises:
        UsageError: it holds no images with diagnoses in a layout that is known.

    """
    collection = read_data(data, taxonomy, image_types)
    return Checked(collection, inspect(collection))


def write_pairs(checked: Checked, path: Path) -> None:
    """Write all pairs of images that show one lesion, as they were found, into a .csv file.

    Raises:
        UsageError: it cannot be written.

    """
    kind = PointMatch if local_features.is_available() else NearDuplicate
    columns = [field.name for field in dataclasses.fields(kind)]
    try:
        write_csv(pd.DataFrame([dataclasses.asdict(pair) for pair in checked.cleaned.pairs], columns=columns), path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(f"{path} cannot be written ({error.strerror}). Name another file with --pairs.") from error


def explore_folder(
    folder: Path, out: Path, taxonomy: Taxonomy | None = None, image_types: tuple[str, ...] | None = None
) -> Path:
    """Write tables and figures of a folder into `out`; returns the page to open; the others as of `check`.

    Raises:
        UsageError: `out` cannot be written, is the data folder, or holds other things than an earlier exploration.
    """
    _refuse_other_things(folder, out)
    collection = read_collection(folder, taxonomy, image_types)
    look = look_at(collection)
    cleaned = inspect(collection, look)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}). Choose another folder with --out.") from error
    is_generated = write.is_generated(collection.table["image_id"])
    return write_exploration_page(cleaned.table, collection.taxonomy, look.pixels, out, is_generated)


def _refuse_other_things(folder: Path, out: Path) -> None:
    """Refuse a folder that the exploration would be lost among."""
    folders.refuse_among_images(out, folder)
    if out.is_dir() and not (out / "explore.html").exists():
        folders.refuse_foreign(out, "exploration")
