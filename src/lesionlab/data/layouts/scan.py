"""The files of a folder by what they are for: images, each id once; tables with their headers; files that hold many images."""

import filecmp
import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lesionlab.data.image_formats import SUFFIXES
from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.tables import read_start
from lesionlab.errors import UsageError
from lesionlab.files import refuse_unread, walk

_PREFERRED = re.compile(r"^ham10000_images|_input$", re.IGNORECASE)
_SKIPPED_FOLDER = re.compile(r"^\.|^__MACOSX$|segmentation|^masks?$|_masks?$|task[12]_.*groundtruth", re.IGNORECASE)
_SKIPPED_FILE = re.compile(r"^\.|_(segmentation|superpixels|mask)\.[a-z]+$", re.IGNORECASE)
_TABLE = re.compile(r"\.(csv|tsv|tab|txt|jsonl)$|^[^.]*metadata$", re.IGNORECASE)
_PART = re.compile(r"(?:^|[^a-z])(train|val|test)(?:ing|id|idation|idate)?(?:[^a-z]|set|$)", re.IGNORECASE)
_PARTS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Scan:
    """A folder's files.

    Attributes:
        folder: which all lie in.
        images: the file of each image id; files left out because another has their id are in `twice`.
        twice: those.
        tables: files that look like tables, with their header (lower case) and first row.
        archives: `dermamnist*.npz`.
        hdf5: files of images by name.
        parquet: files of rows with images.
        read: tables that a layout has taken; the others are reported.
    """

    folder: Path
    images: dict[str, Path]
    twice: list[Path]
    tables: dict[Path, tuple[list[str], list[str]]]
    archives: list[Path]
    hdf5: list[Path]
    parquet: list[Path]
    read: list[Path] = field(default_factory=list)

    def tables_with(self, columns: Iterable[str]) -> list[Path]:
        """Tables whose header has all of these columns."""
        needed = set(columns)
        return [path for path, (header, _) in self.tables.items() if needed <= set(header)]

    def take(self, paths: Iterable[Path]) -> list[Path]:
        """Note that these tables are read; of equal copies one is."""
        taken: list[Path] = []
        for path in paths:
            self.read.append(path)
            if not any(same_file(path, other) for other in taken):
                taken.append(path)
        return taken

    def in_words(self, path: Path) -> str:
        """Name a file by its path in the folder."""
        return str(path.relative_to(self.folder))


def scan_folder(folder: Path) -> Scan:
    """List a folder's files; where an id stands twice, the file in a folder named as HAM10000 or ISIC name theirs is taken.

    Hidden files, `__MACOSX` and masks of segmentation are passed over.
    """
    files = _walk(folder)
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    pictures.sort(key=lambda path: not any(_PREFERRED.search(part) for part in path.relative_to(folder).parts[:-1]))
    images: dict[str, Path] = {}
    twice = [path for path in pictures if images.setdefault(id_of(path), path) is not path]

    def named(ending: Callable[[str], object]) -> list[Path]:
        return [path for path in files if ending(path.name.lower())]

    tables = {path: read_start(path) for path in files if _TABLE.search(path.name)}
    return Scan(
        folder,
        images,
        twice,
        tables,
        named(re.compile(r"^dermamnist.*\.npz$").search),
        named(re.compile(r"\.(hdf5|h5)$").search),
        named(re.compile(r"\.parquet$").search),
    )


def part_of(text: str) -> str:
    """Give the part of a split that a name speaks of (`train`, `validation`, `test`), "" for none."""
    found = _PART.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text))
    return _PARTS[found[1].lower()] if found else ""


def id_of(path: Path) -> str:
    """Give a file's image id; composed (NFC), as `check_image_id` gives those of the metadata."""
    return unicodedata.normalize("NFC", path.stem)


def absolute(folder: Path, paths: Iterable[Path | None]) -> list[str]:
    """Resolve the folder alone: a link inside it keeps the image's name. "" stands for no path."""
    resolved = folder.resolve()
    return [str(resolved / path.relative_to(folder)) if path else "" for path in paths]


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two files have the same content."""
    return filecmp.cmp(one, other, shallow=False)


def one_of(folder: Path, candidates: list[Path], advice: str) -> Path:
    """Give the file nearest to the top; equal copies count as one.

    Raises:
        UsageError: several that differ.
    """
    depth = min(len(path.parts) for path in candidates)
    top = [path for path in candidates if len(path.parts) == depth]
    if all(same_file(top[0], path) for path in top[1:]):
        return top[0]
    names = ", ".join(str(path.relative_to(folder)) for path in top)
    raise UsageError(f"{folder} has several tables or archives to choose from: {names}. {advice}")


def report_twice(scan: Scan) -> list[Finding]:
    """Say which files are not read because another has their id."""
    taken = sorted({scan.in_words(scan.images[id_of(path)].parent) for path in scan.twice})
    items = [scan.in_words(path) for path in scan.twice]
    decision = f"these files are not read; taken are those in {', '.join(taken[:5])}"
    return finding("image-twice", "An image id stands twice in the folder", decision, items)


def report_unused(scan: Scan, predictions: list[Path]) -> list[Finding]:
    """Say which tables are passed over; a README is no table."""

    def said(decision: str, paths: list[Path]) -> list[Finding]:
        items = [scan.in_words(path) for path in paths if path.suffix.lower() != ".txt"]
        return finding("table-unused", "A table is not read", decision, items)

    others = [path for path in scan.tables if path not in scan.read and path not in predictions]
    return said("ignored", others) + said("ignored: it holds predictions, not diagnoses", predictions)


def _walk(folder: Path) -> list[Path]:
    """List files in sorted order, a folder's own before its subfolders'; links are followed, once."""
    return [
        Path(entry.path)
        for _, entries in walk(folder, _SKIPPED_FOLDER.search, refuse_unread)
        for entry in entries
        if os.path.isfile(entry.path) and not _SKIPPED_FILE.search(entry.name)
    ]
