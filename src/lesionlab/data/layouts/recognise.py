"""Steps 2 and 3: recognise a folder, index its images, and read its metadata into one table.

In: a folder in any of the layouts that the field's data sets are published in, or a MedMNIST file. Out: a `Collection` whose
table has a row per image of the metadata and the columns `TABLE_COLUMNS`. What the columns hold is checked in `clean`; here only
what cannot be read as a table of images, lesions and diagnoses is an error.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lesionlab.data.image_formats import SUFFIXES
from lesionlab.data.layouts import archive, derm7pt, imagefolder, milk10k, published
from lesionlab.data.layouts.beside_tables import one_hot_tables, read_metadata, read_truths, require_images
from lesionlab.data.layouts.diagnosis_folders import read_diagnosis_folders
from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.medmnist import read_medmnist
from lesionlab.data.layouts.metadata import FURTHER, OPTIONAL, REQUIRED, UNKNOWN
from lesionlab.data.layouts.reading import NoDiagnoses, Options, Reading
from lesionlab.data.layouts.scan import Scan, absolute, one_of, report_twice, report_unused, scan_folder
from lesionlab.data.layouts.written_diagnoses import names_a_diagnosis, read_all_dx, taxonomy_of
from lesionlab.errors import UsageError
from lesionlab.files import refuse_what_is_not_unicode
from lesionlab.folders import Data
from lesionlab.taxonomy import HAM10000, Taxonomy, is_malignancy

TABLE_COLUMNS = (*REQUIRED, *OPTIONAL, "path")
_KNOWN = (
    "Read are: HAM10000 as Kaggle or Harvard Dataverse have it, ISIC 2016 to 2020 and 2024, downloads of the ISIC archive, "
    "MILK10k, BCN20000, PAD-UFES-20, derm7pt, Hugging Face image folders and Parquet files, images beside a metadata table "
    "(image_id, lesion_id, dx), a folder per diagnosis, and dermamnist*.npz."
)
_ADVICE_ARCHIVES = "Give one of them instead of the folder."
_WITHOUT_LESIONS = "each image counts as a lesion of its own; only near-duplicates keep a split from leaking"
_READERS: tuple[Callable[[Scan, Options], Reading | None], ...] = (
    milk10k.read_milk10k,
    derm7pt.read_derm7pt,
    archive.read_isic_2024,
    published.read_published,
    published.read_isic_2016,
    archive.read_archive,
    imagefolder.read_imagefolder,
    imagefolder.read_parquet,
)


def _nothing() -> pd.DataFrame:
    return pd.DataFrame({"image_id": [], "reason": []}, dtype=object)


@dataclass(frozen=True)
class Collection:
    """A folder as read.

    Attributes:
        folder: as asked for.
        layout: its name, as in a report.
        table: a row per image of the metadata, columns `TABLE_COLUMNS`, and `patient_id`, `official_part` and `image_type` where
            it has them: strings, unknown values "unknown"; but age is float64 in years, as given (NaN unknown); path is
            absolute, "" where there is no image.
        findings: what was found on the way.
        taxonomy: of the diagnoses in the column `dx`.
        set_aside: image_id and reason of the rows that are not in the table: other kinds of image, and none of its diagnoses.
        others: further folders, where several were read as one (`lesionlab.data.layouts.joined`).
        sizes: how many rows of the table each of several folders gave, in order.
        same: pairs of image ids that belong together, since several folders have one id for them.
    """

    folder: Path
    layout: str
    table: pd.DataFrame
    findings: tuple[Finding, ...]
    taxonomy: Taxonomy
    set_aside: pd.DataFrame = field(default_factory=_nothing)
    others: tuple[Path, ...] = ()
    sizes: tuple[int, ...] = ()
    same: tuple[tuple[str, str], ...] = ()

    @property
    def data(self) -> Data:
        """The folder, or all of several."""
        return (self.folder, *self.others) if self.others else self.folder


def read_collection(
    folder: Path | str, taxonomy: Taxonomy | None = None, image_types: tuple[str, ...] | None = None
) -> Collection:
    """Recognise the layout of a folder, or of a `dermamnist*.npz` file, and read it.

    Args:
        folder: to read.
        taxonomy: to read its diagnoses in; None for the one that its columns, words or folders are of. One of malignant and
            benign alone reads other diagnoses too, by what their own set counts as malignant.
        image_types: kinds of image to read, out of `lesionlab.data.layouts.image_types.KINDS`; None for dermoscopic ones, or, of
            a data set that has none, for the kind that it is of.

    Raises:
        NoDiagnoses: it holds images without diagnoses.
        UsageError: there is no such folder, it holds no images, or its table is at fault.
    """
    folder = Path(folder)
    try:
        return _read_collection(folder, Options(taxonomy, image_types))
    except UsageError:
        if taxonomy is None or not is_malignancy(taxonomy):
            raise
        with suppress(UsageError):
            return in_two_kinds(_read_collection(folder, Options(None, image_types)), taxonomy)
        raise


def _read_collection(folder: Path, options: Options) -> Collection:
    if folder.is_file() and folder.suffix.lower() == ".npz":
        return _read_medmnist(folder, folder, options)
    _check_folder(folder)
    scan = scan_folder(folder)
    truths, predictions = one_hot_tables(scan, options.taxonomy)
    reading = next((found for read in _READERS if (found := read(scan, options))), None)
    reading = reading or read_metadata(scan, truths, options) or read_truths(scan, truths, options)
    if reading:
        return _with_images(scan, reading, predictions)
    if scan.archives:
        return _read_medmnist(folder, one_of(folder, scan.archives, _ADVICE_ARCHIVES), options)
    return _read_diagnosis_folders(scan, predictions, options)


def in_two_kinds(collection: Collection, kinds: Taxonomy) -> Collection:
    """Give a collection as malignant and benign, by what its own set counts as malignant; `kinds` is the set of these two."""
    own = collection.taxonomy
    kind_of = {d.dx: "malignant" if d.is_malignant else "benign" for d in own.diagnoses}
    malignant = ", ".join(d.dx for d in own.diagnoses if d.is_malignant)
    what, decision = (
        f"The diagnoses are those of the set {own.name}",
        f"read as malignant: {malignant}; the others as benign",
    )
    found = finding("dx-in-two-kinds", what, decision, sorted(set(collection.table["dx"])))
    table = collection.table.assign(dx=collection.table["dx"].map(kind_of))
    return dataclasses.replace(collection, table=table, findings=(*collection.findings, *found), taxonomy=kinds)


def index_images(folder: Path | str) -> dict[str, Path]:
    """Step 2: find every image of a folder, by its id (the file's name without suffix), as `scan_folder` does.

    Raises:
        UsageError: there is no such folder, or it cannot be read.
    """
    folder = Path(folder)
    if not (folder.is_file() and folder.suffix.lower() == ".npz"):
        _check_folder(folder)
        scan = scan_folder(folder)
        if scan.images or not (scan.archives or scan.hdf5 or scan.parquet):
            return scan.images
        if not scan.archives:
            return imagefolder.stored_images(scan)
        folder = one_of(folder, scan.archives, _ADVICE_ARCHIVES)
    table = read_medmnist(folder)
    return {image_id: Path(path) for image_id, path in zip(table["image_id"], table["path"], strict=True)}


def _check_folder(folder: Path) -> None:
    refuse_what_is_not_unicode(folder)
    if not folder.exists():
        raise UsageError(f"There is no folder {folder}. {_KNOWN}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder. {_KNOWN}")


def _with_images(scan: Scan, reading: Reading, predictions: list[Path]) -> Collection:
    """Give each row its image; images without a row are a finding."""
    table, findings, set_aside = reading.rows
    named = reading.paths
    if not named:
        require_images(scan, reading.table)
    own = absolute(scan.folder, (scan.images.get(name) for name in table["image_id"]))
    paths = [named.get(name) or path for name, path in zip(table["image_id"], own, strict=True)]
    if not any(paths) and len(table):
        there: tuple[Path | str, ...] = (*scan.images.values(), *named.values())
        raise UsageError(
            f"{reading.table} lists {len(table):,} images (first: {table['image_id'].iloc[0]}), and none of them is among the "
            f"{len(there):,} images of the folder{_first(there)}. Name the images as the table does, or put them there."
        )
    if table.empty:
        raise UsageError(
            f"{reading.table}: all {len(set_aside):,} rows are set aside{_counted(set_aside)}. Choose diagnoses that it has with "
            "--taxonomy (isic2024: malignant and benign alone), or other kinds of image with --image-type."
        )
    listed = {*table["image_id"], *set_aside["image_id"]}
    by_path = set(named.values())
    root = scan.folder.resolve()
    unlisted = sorted(
        name
        for name, path in scan.images.items()
        if name not in listed and str(root / path.relative_to(scan.folder)) not in by_path
    )
    what, decision = "An image has no row in the metadata", "left out: no diagnosis"
    found = [
        *([] if named else report_twice(scan)),
        *findings,
        *finding("image-unlisted", what, decision, unlisted),
        *report_unused(scan, predictions),
    ]
    table = table.assign(path=paths)
    return _collection(scan.folder, reading.layout, table, found, reading.taxonomy, set_aside)


def _first(paths: tuple[Path | str, ...]) -> str:
    return f" (first: {Path(paths[0]).name})" if paths else ""


def _counted(set_aside: pd.DataFrame) -> str:
    """Count the reasons in words."""
    counts = Counter(set_aside["reason"])
    return f" ({', '.join(f'{count:,}: {reason}' for reason, count in counts.most_common(3))})" if counts else ""


def _read_medmnist(folder: Path, archive_file: Path, options: Options) -> Collection:
    table, taxonomy = read_medmnist(archive_file), options.taxonomy or HAM10000
    remedy = "Choose a set that has them with --taxonomy, or give a file of your own."
    table["dx"] = read_all_dx(table["dx"].tolist(), table["image_id"].tolist(), taxonomy, str(archive_file), remedy)
    what, decision = "MedMNIST gives no lesion ids", _WITHOUT_LESIONS
    findings = finding("lesion-unknown", what, decision, table["image_id"])
    return _collection(folder, "MedMNIST", table, findings, taxonomy, _nothing())


def _read_diagnosis_folders(scan: Scan, predictions: list[Path], options: Options) -> Collection:
    """A folder per diagnosis, where there are images and folders that name one."""
    folder, taxonomy = scan.folder, options.taxonomy
    if not scan.images:
        others = ", ".join(path.name for path in [*scan.hdf5, *scan.parquet])
        seen = f", only {others} without a table that is read" if others else ""
        raise UsageError(f"{folder} has no images ({', '.join(SUFFIXES)}){seen}. {_KNOWN}")
    pictures = [*scan.images.values(), *scan.twice]
    if not any(names_a_diagnosis(name, taxonomy) for name in {path.parent.name for path in pictures}):
        seen = f" ({predictions[0].name} holds predictions, not diagnoses)" if predictions else ""
        raise NoDiagnoses(
            f"{folder} has {len(pictures):,} images but no metadata{seen}. {_other_folders(folder, pictures)}{_KNOWN}"
            f"{_hint_at_parent(folder)}"
        )
    ordered = sorted(pictures)
    taxonomy = taxonomy or taxonomy_of({path.parent.name for path in pictures})
    table, findings = read_diagnosis_folders(folder, ordered, scan.twice, taxonomy)
    table["path"] = absolute(folder, ordered)
    findings += report_unused(scan, predictions)
    findings += finding("lesion-unknown", "Folders give no lesion ids", _WITHOUT_LESIONS, table["image_id"])
    return _collection(folder, "a folder per diagnosis", table, findings, taxonomy, _nothing())


def _other_folders(folder: Path, pictures: list[Path]) -> str:
    """List folders that may be diagnoses of the user's own, and say how they become a set."""
    counts = Counter(path.parent.name for path in pictures if path.parent != folder)
    if len(counts) < 2:
        return ""
    listed = ", ".join(f"{name} ({count:,})" for name, count in counts.most_common(20))
    more = f" and {len(counts) - 20:,} others" if len(counts) > 20 else ""
    return (
        f"Its folders are {listed}{more}. If these are diagnoses, 'lesionlab check {folder} --write-taxonomy FILE.toml' drafts a "
        "set of them, in which you say which are malignant; then give --taxonomy FILE.toml. "
    )


def _hint_at_parent(folder: Path) -> str:
    parent = folder.resolve().parent
    tables = sorted(path for path in parent.glob("*[mM]etadata*") if path.is_file())
    return f" {tables[0].name} lies in {parent}: did you mean that folder?" if tables else ""


def _collection(
    folder: Path, layout: str, table: pd.DataFrame, findings: list[Finding], taxonomy: Taxonomy, set_aside: pd.DataFrame
) -> Collection:
    absent = [column for column in OPTIONAL if column not in table.columns]
    findings = findings + finding("columns-absent", "The layout lacks columns", "filled with unknown", absent)
    table = table.assign(**{column: float("nan") if column == "age" else UNKNOWN for column in absent})
    columns = [*TABLE_COLUMNS, *(name for name in FURTHER if name in table)]
    return Collection(folder, layout, table[columns].reset_index(drop=True), tuple(findings), taxonomy, set_aside)
