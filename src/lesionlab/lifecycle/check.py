"""`lesionlab check` and `lesionlab explore`: steps 2 to 5 by themselves, without a recipe and without Keras."""

from dataclasses import dataclass
from pathlib import Path

from lesionlab import folders
from lesionlab.data.clean import Cleaned, Finding
from lesionlab.data.layouts.recognise import Collection, read_collection
from lesionlab.data.phantom import write
from lesionlab.errors import UsageError
from lesionlab.lifecycle.explore import write_exploration_page
from lesionlab.lifecycle.prepare import LOOK_PX, decode, inspect
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


def check(folder: Path, taxonomy: Taxonomy | None = None) -> Checked:
    """Read a folder and find what is in it and what is wrong with it.

    Args:
        folder: of images.
        taxonomy: the diagnoses to read it in; None for the folder's own.

    Raises:
        UsageError: it holds no images with diagnoses in a layout that is known.

    """
    collection = read_collection(folder, taxonomy)
    return Checked(collection, inspect(collection))


def explore_folder(folder: Path, out: Path, taxonomy: Taxonomy | None = None) -> Path:
    """Write tables and figures of a folder into `out`; returns the page to open; `taxonomy` as of `check`.

    Raises:
        UsageError: `out` cannot be written, is the data folder, or holds other things than an earlier exploration.
    """
    _refuse_other_things(folder, out)
    collection = read_collection(folder, taxonomy)
    cleaned = inspect(collection)
    pixels = decode(collection, LOOK_PX, LOOK_PX, "centre").pixels
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}). Choose another folder with --out.") from error
    is_generated = write.is_generated(collection.table["image_id"])
    return write_exploration_page(cleaned.table, collection.taxonomy, pixels, out, is_generated)


def _refuse_other_things(folder: Path, out: Path) -> None:
    """Refuse a folder that the exploration would be lost among."""
    folders.refuse_among_images(out, folder)
    if out.is_dir() and not (out / "explore.html").exists():
        folders.refuse_foreign(out, "exploration")
