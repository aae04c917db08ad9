"""Steps 2 and 3: recognise a folder, index its images, and read its metadata into one table.

In: a folder in any of the layouts that HAM10000 is published in, or a MedMNIST file. Out: a `Collection` whose table
has a row per image of the metadata and the columns `TABLE_COLUMNS`. What the columns hold is judged in `clean`; here
only what cannot be read as a table of images, lesions and diagnoses is an error.
"""

import filecmp
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesionlab.data.images import SUFFIXES
from lesionlab.data.layouts.diagnosis_folders import read_diagnosis_folders
from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.isic import holds_predictions, is_one_hot, read_isic, taxonomy_of_columns
from lesionlab.data.layouts.medmnist import TAXONOMY as MEDMNIST_TAXONOMY
from lesionlab.data.layouts.medmnist import read_medmnist
from lesionlab.data.layouts.metadata import ALIASES, OPTIONAL, PATIENT, REQUIRED, UNKNOWN, read_rows, with_own_names
from lesionlab.data.layouts.tables import read_start, read_table
from lesionlab.data.layouts.written_diagnoses import names_a_diagnosis, taxonomy_of
from lesionlab.errors import UsageError
from lesionlab.files import refuse_unread, refuse_what_is_not_unicode, walk
from lesionlab.taxonomy import Taxonomy

TABLE_COLUMNS = (*REQUIRED, *OPTIONAL, "path")
_KNOWN = (
    "Read are: HAM10000 as Kaggle or Harvard Dataverse have it, ISIC 2018 Task 3, images beside a metadata table "
    "(image_id, lesion_id, dx), a folder per diagnosis, and dermamnist*.npz."
)
_PREFERRED = re.compile(r"^ham10000_images|_input$", re.IGNORECASE)
_SKIPPED_FOLDER = re.compile(r"^\.|^__MACOSX$|segmentation|^masks?$|_masks?$|task[12]_.*groundtruth", re.IGNORECASE)
_SKIPPED_FILE = re.compile(r"^\.|_(segmentation|superpixels|mask)\.[a-z]+$", re.IGNORECASE)
_TABLE = re.compile(r"\.(csv|tsv|tab|txt)$|^[^.]*metadata$", re.IGNORECASE)
_GROUPINGS = re.compile(r"lesiongroupings", re.IGNORECASE)
_ADVICE_ARCHIVES = "Give one of them instead of the folder."
_WITHOUT_LESIONS = "each image counts as a lesion of its own; only near-duplicates keep a split from leaking"


@dataclass(frozen=True)
class Collection:
    """A folder as read.

    Attributes:
        folder: as asked for.
        layout: its name, as in a report.
        table: a row per image of the metadata, columns `TABLE_COLUMNS`, and `patient_id` where it has one: strings,
            unknown values "unknown"; but age is float64 in years, as given (NaN unknown); path is absolute, "" where
            there is no image.
        findings: what was found on the way.
        taxonomy: of the diagnoses in the column `dx`.
    """

    folder: Path
    layout: str
    table: pd.DataFrame
    findings: tuple[Finding, ...]
    taxonomy: Taxonomy


@dataclass(frozen=True)
class _Scan:
    """The files of a folder by what they are for: each image id once, the files left out for it, and the tables."""

    images: dict[str, Path]
    twice: list[Path]
    tables: list[Path]
    archives: list[Path]


def read_collection(folder: Path | str, taxonomy: Taxonomy | None = None) -> Collection:
    """Recognise the layout of a folder, or of a `dermamnist*.npz` file, and read it.

    Args:
        folder: to read.
        taxonomy: to read its diagnoses in; None for the one that its columns, words or folders are of.

    Raises:
        UsageError: there is no such folder, it holds no images or no metadata, or its table is at fault.
    """
    folder = Path(folder)
    if folder.is_file() and folder.suffix.lower() == ".npz":
        return _read_medmnist(folder, folder, taxonomy)
    _check_folder(folder)
    scan = _scan(folder)
    truths, predictions, metadata = _sort_tables(folder, scan, taxonomy)
    if metadata or truths:
        _require_images(folder, scan, metadata or truths[0])
        if metadata:
            table, findings, taxonomy = _read_metadata(metadata, taxonomy)
        else:
            taxonomy = taxonomy or _taxonomy_of_truth(truths[0])
            table, findings = read_isic(truths, _groupings(scan), taxonomy)
        table, found = _with_paths(table, folder, scan, metadata or truths[0])
        layout = _name_layout(scan, metadata) if metadata else "ISIC 2018 Task 3"
        taken = [metadata] if metadata else [*truths, *_groupings(scan)]
        found += _report_unused(
            folder, [path for path in scan.tables if path not in [*taken, *predictions]], predictions
        )
        return _collection(folder, layout, table, [*_report_twice(folder, scan), *findings, *found], taxonomy)
    if scan.archives:
        return _read_medmnist(folder, _one(folder, scan.archives, _ADVICE_ARCHIVES), taxonomy)
    return _read_diagnosis_folders(folder, scan, predictions, taxonomy)


def index_images(folder: Path | str) -> dict[str, Path]:
    """Step 2: find every image of a folder, by its id (the file's name without suffix).

    Hidden files, `__MACOSX` and masks of segmentation are passed over. Where an id stands twice, the file in a folder
    named as HAM10000 or ISIC name theirs is taken, else the first by name.

    Raises:
        UsageError: there is no such folder, or it cannot be read.
    """
    folder = Path(folder)
    archive = folder if folder.is_file() and folder.suffix.lower() == ".npz" else None
    if archive is None:
        _check_folder(folder)
        scan = _scan(folder)
        if scan.images or not scan.archives:
            return scan.images
        archive = _one(folder, scan.archives, _ADVICE_ARCHIVES)
    table = read_medmnist(archive)
    return {image_id: Path(path) for image_id, path in zip(table["image_id"], table["path"], strict=True)}


def _check_folder(folder: Path) -> None:
    refuse_what_is_not_unicode(folder)
    if not folder.exists():
        raise UsageError(f"There is no folder {folder}. {_KNOWN}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder. {_KNOWN}")


def _scan(folder: Path) -> _Scan:
    files = _walk(folder)
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    pictures.sort(key=lambda path: not any(_PREFERRED.search(part) for part in path.relative_to(folder).parts[:-1]))
    images: dict[str, Path] = {}
    twice = [path for path in pictures if images.setdefault(_id_of(path), path) is not path]
    tables = [path for path in files if _TABLE.search(path.name)]
    archives = [path for path in files if re.fullmatch(r"dermamnist.*\.npz", path.name, re.IGNORECASE)]
    return _Scan(images, twice, tables, archives)


def _walk(folder: Path) -> list[Path]:
    """List files in sorted order, a folder's own before its subfolders'; links are followed, once."""
    return [
        Path(entry.path)
        for _, entries in walk(folder, _SKIPPED_FOLDER.search, refuse_unread)
        for entry in entries
        if os.path.isfile(entry.path) and not _SKIPPED_FILE.search(entry.name)
    ]


def _id_of(path: Path) -> str:
    """Give a file's image id; composed (NFC), as `check_image_id` gives those of the metadata."""
    return unicodedata.normalize("NFC", path.stem)


def _report_unused(folder: Path, others: list[Path], predictions: list[Path]) -> list[Finding]:
    """Say which tables are passed over; a README is no table."""

    def said(decision: str, paths: list[Path]) -> list[Finding]:
        items = [str(path.relative_to(folder)) for path in paths if path.suffix.lower() != ".txt"]
        return finding("table-unused", "A table is not read", decision, items)

    return said("ignored", others) + said("ignored: it holds predictions, not diagnoses", predictions)


def _report_twice(folder: Path, scan: _Scan) -> list[Finding]:
    taken = sorted({str(scan.images[_id_of(path)].parent.relative_to(folder)) for path in scan.twice})
    items = [str(path.relative_to(folder)) for path in scan.twice]
    decision = f"these files are not read; taken are those in {', '.join(taken[:5])}"
    return finding("image-twice", "An image id stands twice in the folder", decision, items)


def _sort_tables(folder: Path, scan: _Scan, taxonomy: Taxonomy | None) -> tuple[list[Path], list[Path], Path | None]:
    """Pick the tables: ISIC's of ground truth, those of predictions, which look like them, and the one of metadata."""
    starts = {path: read_start(path) for path in scan.tables if not _GROUPINGS.search(path.name)}
    predictions = [path for path, start in starts.items() if is_one_hot(start[0]) and holds_predictions(*start)]
    headers = {path: header for path, (header, _) in starts.items() if path not in predictions}
    truths = [path for path, header in headers.items() if is_one_hot(header)]
    return truths, predictions, _pick_metadata(folder, scan, headers, truths, taxonomy)


def _pick_metadata(
    folder: Path, scan: _Scan, headers: dict[Path, list[str]], truths: list[Path], taxonomy: Taxonomy | None
) -> Path | None:
    """Pick the one table of metadata by its name and columns; None where other files say the diagnoses."""
    others = [path for path in headers if path not in truths]
    complete = [path for path in others if {"image_id", "dx"} <= {ALIASES.get(name, name) for name in headers[path]}]
    named = [path for path in others if "metadata" in path.name.lower()]
    published = [path for path in named if path.stem.lower() == "ham10000_metadata"]
    advice = "Keep the one with the columns image_id, lesion_id, dx."
    for candidates in (published, [path for path in named if path in complete], [] if truths else named, complete):
        if candidates:
            return _one(folder, candidates, advice)
    in_diagnosis_folders = any(names_a_diagnosis(path.parent.name, taxonomy) for path in scan.images.values())
    if truths or in_diagnosis_folders or scan.archives or not others:
        return None
    plain = [path for path in others if path.suffix.lower() != ".txt"]  # a README is no table
    return _one(folder, plain, advice) if plain else None


def _one(folder: Path, candidates: list[Path], advice: str) -> Path:
    """Give the file nearest to the top; equal copies count as one."""
    depth = min(len(path.parts) for path in candidates)
    top = [path for path in candidates if len(path.parts) == depth]
    if all(filecmp.cmp(top[0], path, shallow=False) for path in top[1:]):
        return top[0]
    names = ", ".join(str(path.relative_to(folder)) for path in top)
    raise UsageError(f"{folder} has several tables or archives to choose from: {names}. {advice}")


def _require_images(folder: Path, scan: _Scan, table: Path) -> None:
    if not scan.images:
        archives = sorted(path.name for path in folder.glob("*.zip"))
        advice = f"unpack {', '.join(archives)}" if archives else "put the images beside it"
        raise UsageError(f"{folder} has no images ({', '.join(SUFFIXES)}) for {table.name}: {advice}.")


def _name_layout(scan: _Scan, metadata: Path) -> str:
    if any(part.lower() == "ham10000_images_part_1" for path in scan.images.values() for part in path.parts):
        return "Harvard Dataverse" if metadata.suffix.lower() in ("", ".tab") else "Kaggle"
    return "Harvard Dataverse" if metadata.suffix.lower() in ("", ".tab") else "images and metadata"


def _read_metadata(metadata: Path, taxonomy: Taxonomy | None) -> tuple[pd.DataFrame, list[Finding], Taxonomy]:
    table = with_own_names(read_table(metadata), REQUIRED, metadata)
    taxonomy = taxonomy or taxonomy_of(set(table["dx"]))
    return *read_rows(table, metadata, taxonomy), taxonomy


def _taxonomy_of_truth(truth: Path) -> Taxonomy:
    taxonomy = taxonomy_of_columns(read_start(truth)[0])
    if taxonomy is None:
        raise UsageError(f"{truth} is no table of ground truth: it changed while it was read.")
    return taxonomy


def _groupings(scan: _Scan) -> list[Path]:
    return [path for path in scan.tables if _GROUPINGS.search(path.name)]


def _absolute(folder: Path, paths: Iterable[Path | None]) -> list[str]:
    """Resolve the folder alone: a link inside it keeps the image's name. "" stands for no path."""
    resolved = folder.resolve()
    return [str(resolved / path.relative_to(folder)) if path else "" for path in paths]


def _with_paths(table: pd.DataFrame, folder: Path, scan: _Scan, metadata: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """Give each row its image; images without a row are a finding."""
    images = scan.images
    paths = _absolute(folder, (images.get(name) for name in table["image_id"]))
    if not any(paths):
        raise UsageError(
            f"{metadata} lists {len(table):,} images (first: {table['image_id'].iloc[0]}), and none of them is among the "
            f"{len(images):,} images of the folder (first: {next(iter(images.values())).name}). Name the images as the table "
            "does, or put them there."
        )
    unlisted = sorted(set(images) - set(table["image_id"]))
    what, decision = "An image has no row in the metadata", "left out: no diagnosis"
    return table.assign(path=paths), finding("image-unlisted", what, decision, unlisted)


def _read_medmnist(folder: Path, archive: Path, taxonomy: Taxonomy | None) -> Collection:
    taxonomy = taxonomy or MEDMNIST_TAXONOMY
    table = read_medmnist(archive)
    what, decision = "MedMNIST gives no lesion ids", _WITHOUT_LESIONS
    findings = finding("lesion-unknown", what, decision, table["image_id"])
    return _collection(folder, "MedMNIST", table, findings, taxonomy)


def _read_diagnosis_folders(
    folder: Path, scan: _Scan, predictions: list[Path], taxonomy: Taxonomy | None
) -> Collection:
    """A folder per diagnosis, where there are images and folders that name one."""
    if not scan.images:
        raise UsageError(f"{folder} has no images ({', '.join(SUFFIXES)}). {_KNOWN}")
    pictures = [*scan.images.values(), *scan.twice]
    if not any(names_a_diagnosis(path.parent.name, taxonomy) for path in pictures):
        seen = f" ({predictions[0].name} holds predictions, not diagnoses)" if predictions else ""
        raise UsageError(
            f"{folder} has {len(pictures):,} images but no metadata{seen}. {_KNOWN}{_hint_at_parent(folder)}"
        )
    ordered = sorted(pictures)
    taxonomy = taxonomy or taxonomy_of({path.parent.name for path in pictures})
    table, findings = read_diagnosis_folders(folder, ordered, scan.twice, taxonomy)
    table["path"] = _absolute(folder, ordered)
    findings += _report_unused(folder, [path for path in scan.tables if path not in predictions], predictions)
    findings += finding("lesion-unknown", "Folders give no lesion ids", _WITHOUT_LESIONS, table["image_id"])
    return _collection(folder, "a folder per diagnosis", table, findings, taxonomy)


def _hint_at_parent(folder: Path) -> str:
    parent = folder.resolve().parent
    tables = sorted(path for path in parent.glob("*[mM]etadata*") if path.is_file())
    return f" {tables[0].name} lies in {parent}: did you mean that folder?" if tables else ""


def _collection(
    folder: Path, layout: str, table: pd.DataFrame, findings: list[Finding], taxonomy: Taxonomy
) -> Collection:
    absent = [column for column in OPTIONAL if column not in table.columns]
    findings = findings + finding("columns-absent", "The layout lacks columns", "filled with unknown", absent)
    table = table.assign(**{column: float("nan") if column == "age" else UNKNOWN for column in absent})
    columns = [*TABLE_COLUMNS, *([PATIENT] if PATIENT in table else [])]
    return Collection(folder, layout, table[columns].reset_index(drop=True), tuple(findings), taxonomy)
