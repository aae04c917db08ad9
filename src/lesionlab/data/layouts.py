"""Steps 2 and 3: recognise a folder, index its images, and read its metadata into one table.

In: a folder in any of the layouts that HAM10000 is published in, or a MedMNIST file. Out: a `Collection` whose table
has a row per image of the metadata and the columns `TABLE_COLUMNS`. What the columns hold is judged in `clean`; here only
what cannot be read as a table of images, lesions and diagnoses is an error.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesionlab.data.findings import Finding, finding
from lesionlab.data.images import SUFFIXES
from lesionlab.data.medmnist import read_medmnist
from lesionlab.data.tables import ROW, check_image_id, read_dx, read_table, require
from lesionlab.diagnosis import DX, ISIC_COLUMNS
from lesionlab.errors import UsageError

TABLE_COLUMNS = ("image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization", "dataset", "path")
_OPTIONAL = ("dx_type", "age", "sex", "localization", "dataset")
_KNOWN = (
    "Read are: HAM10000 as Kaggle or Harvard Dataverse have it, ISIC 2018 Task 3, images beside a metadata table, "
    "a folder per diagnosis, and dermamnist*.npz."
)
_PREFERRED = re.compile(r"ham10000_images|_input$", re.IGNORECASE)
_SKIPPED = re.compile(r"^(\.|__MACOSX$)|segmentation", re.IGNORECASE)


@dataclass(frozen=True)
class Collection:
    """A folder as read: `table` has `TABLE_COLUMNS` (age in years, NaN unknown; path "" where there is no image)."""

    folder: Path
    layout: str
    table: pd.DataFrame
    findings: tuple[Finding, ...]


def read_collection(folder: Path) -> Collection:
    """Recognise the layout of a folder and read it.

    Raises:
        UsageError: there is no such folder, it holds no images or no metadata, or its table is at fault.
    """
    if folder.is_file() and folder.suffix == ".npz":
        return _collection(folder, "MedMNIST", read_medmnist(folder), [], has_lesions=False)
    _check_folder(folder)
    archives = sorted(folder.glob("dermamnist*.npz"))
    if archives:
        return _collection(folder, "MedMNIST", read_medmnist(archives[-1]), [], has_lesions=False)
    found, images = _index(folder)
    if not images:
        raise UsageError(f"{folder} holds no images ({', '.join(SUFFIXES)}). {_KNOWN}")
    truth = _find(folder, r"groundtruth.*\.csv$")
    metadata = _find_metadata(folder)
    if truth and not metadata:
        table, more = _read_isic(folder, truth, images)
        return _collection(folder, "ISIC 2018 Task 3", table, [*found, *more])
    if metadata:
        layout = _name_layout(folder, metadata)
        table = read_table(metadata)
        require(table, ["image_id", "lesion_id", "dx"], metadata)
        table, more = _read_rows(table, metadata, images)
        return _collection(folder, layout, table, [*found, *more])
    table = _read_diagnosis_folders(images)
    return _collection(folder, "a folder per diagnosis", table, found, has_lesions=False)


def index_images(folder: Path) -> dict[str, Path]:
    """Step 2: find every image of a folder, by its id (the file's name without suffix).

    Where an id stands twice, the file in a folder named as HAM10000 or ISIC name theirs is taken, else the first.
    """
    return _index(folder)[1] if folder.is_dir() else {}


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise UsageError(f"There is no folder {folder}. {_KNOWN}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder. {_KNOWN}")
    if not any(folder.iterdir()):
        raise UsageError(f"{folder} is empty. {_KNOWN}")


def _index(folder: Path) -> tuple[list[Finding], dict[str, Path]]:
    files = [path for path in _walk(folder) if path.suffix.lower() in SUFFIXES]
    files.sort(key=lambda path: (not any(_PREFERRED.search(part) for part in path.parts), str(path)))
    images: dict[str, Path] = {}
    twice = []
    for path in files:
        if path.stem in images:
            twice.append(str(path.relative_to(folder)))
        else:
            images[path.stem] = path
    decision = f"taken from {images[Path(twice[0]).stem].parent.name}; these files are not read" if twice else ""
    return finding("image-twice", "An image id stands twice in the folder", decision, twice), images


def _walk(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.iterdir()):
        if _SKIPPED.search(path.name):
            continue
        if path.is_dir():
            found += _walk(path)
        elif path.is_file():
            found.append(path)
    return found


def _find(folder: Path, pattern: str) -> Path | None:
    matches = [path for path in _walk(folder) if re.search(pattern, path.name, re.IGNORECASE)]
    return matches[0] if matches else None


def _find_metadata(folder: Path) -> Path | None:
    """The metadata table: by its name, or else the one table that has the columns."""
    named = _find(folder, r"^ham10000_metadata(\.(csv|tab|tsv|txt))?$")
    if named:
        return named
    tables = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".csv", ".tsv", ".tab")]
    tables = [path for path in tables if not re.search("groundtruth|lesiongroupings", path.name, re.IGNORECASE)]
    by_name = [path for path in tables if "metadata" in path.name.lower()]
    candidates = by_name or tables
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise UsageError(f"{folder} has several tables ({names}). Name the one with the diagnoses metadata.csv.")
    return candidates[0] if candidates else None


def _name_layout(folder: Path, metadata: Path) -> str:
    if (folder / "HAM10000_images_part_1").is_dir():
        return "Kaggle"
    if metadata.suffix.lower() in ("", ".tab"):
        return "Harvard Dataverse"
    return "images and metadata"


def _read_rows(table: pd.DataFrame, path: Path, images: dict[str, Path]) -> tuple[pd.DataFrame, list[Finding]]:
    findings = finding(
        "columns-extra",
        "The metadata has columns that are not used",
        "ignored",
        [name for name in table.columns if name not in (*TABLE_COLUMNS, ROW)],
    )
    absent = [name for name in _OPTIONAL if name not in table.columns]
    findings += finding("columns-absent", "The metadata lacks columns", "filled with unknown", absent)
    table = table.assign(**dict.fromkeys(absent, "unknown"))
    where = [f"{path}, row {row}" for row in table[ROW]]
    table["image_id"] = [check_image_id(v, w) for v, w in zip(table["image_id"], where, strict=True)]
    table["dx"] = [read_dx(v, w) for v, w in zip(table["dx"], where, strict=True)]
    for value, place in zip(table["lesion_id"], where, strict=True):
        if not value:
            raise UsageError(f"{place}: lesion_id is empty. Give each lesion a name of its own.")
    table, more = _without_repeats(table, path)
    _check_one_diagnosis(table, path)
    table["path"] = [str(images[name].resolve()) if name in images else "" for name in table["image_id"]]
    if not (table["path"] != "").any():
        first = table["image_id"].iloc[0]
        raise UsageError(f"{path} lists {len(table):,} images, and none of them is in the folder (first: {first}).")
    unlisted = sorted(set(images) - set(table["image_id"]))
    findings += more + finding(
        "image-unlisted", "An image has no row in the metadata", "left out: no diagnosis", unlisted
    )
    return table, findings


def _without_repeats(table: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[Finding]]:
    values = table.drop(columns=ROW)
    is_repeat = values.duplicated()
    repeats = [f"row {row}: {name}" for row, name in zip(table[ROW], table["image_id"], strict=True)]
    listed = [text for text, repeated in zip(repeats, is_repeat, strict=True) if repeated]
    kept = table[~is_repeat].reset_index(drop=True)
    clash = kept[kept["image_id"].duplicated(keep=False)]
    if len(clash):
        rows = clash[clash["image_id"] == clash["image_id"].iloc[0]][ROW].tolist()
        raise UsageError(
            f"{path}: image_id {clash['image_id'].iloc[0]!r} stands in rows {rows[0]} and {rows[1]} with different "
            "values. Keep one."
        )
    return kept, finding("row-twice", "A row of the metadata is repeated", "read once", listed)


def _check_one_diagnosis(table: pd.DataFrame, path: Path) -> None:
    many = table.groupby("lesion_id")["dx"].nunique()
    for lesion in many.index[many > 1][:1]:
        rows = table[table["lesion_id"] == lesion].drop_duplicates("dx")
        said = " and ".join(f"{dx} (row {row})" for dx, row in zip(rows["dx"], rows[ROW], strict=True))
        raise UsageError(f"{path}: lesion {lesion!r} has two diagnoses, {said}. A lesion has one: mend the metadata.")


def _read_isic(folder: Path, truth: Path, images: dict[str, Path]) -> tuple[pd.DataFrame, list[Finding]]:
    """ISIC's one-hot table, with lesions from the table of groupings."""
    table = read_table(truth)
    columns = [name.lower() for name in ISIC_COLUMNS]
    require(table, ["image", *columns], truth)
    groupings = _find(folder, r"lesiongroupings.*\.csv$")
    if not groupings:
        raise UsageError(
            f"{folder} has {truth.name} but no ISIC2018_Task3_*_LesionGroupings.csv: without it, images of one lesion "
            "would fall on two sides of a split. It is published beside the images."
        )
    lesions = read_table(groupings)
    require(lesions, ["image", "lesion_id"], groupings)
    table = table.merge(lesions.drop(columns=ROW), on="image", how="left")
    without = table[table["lesion_id"].isna()]
    if len(without):
        raise UsageError(
            f"{groupings} has no row for {len(without)} images of {truth.name}: {without['image'].iloc[0]} …"
        )
    table["dx"] = [_from_one_hot(row, truth) for row in table[[*columns, ROW]].itertuples(index=False)]
    table = table.rename(columns={"image": "image_id", "diagnosis_confirm_type": "dx_type"}).drop(columns=columns)
    return _read_rows(table, truth, images)


def _from_one_hot(row: tuple, path: Path) -> str:
    *values, number = row
    hot = []
    for value, dx in zip(values, DX, strict=True):
        try:
            hot += [dx] if float(value) >= 0.5 else []
        except ValueError as error:
            raise UsageError(f"{path}, row {number}: {value!r} in the column {dx.upper()} is no number.") from error
    if len(hot) != 1:
        raise UsageError(f"{path}, row {number}: {len(hot)} diagnoses are marked; exactly one must be 1.")
    return hot[0]


def _read_diagnosis_folders(images: dict[str, Path]) -> pd.DataFrame:
    rows = []
    for image_id, path in sorted(images.items()):
        where = f"No metadata table was found, so folders should be named by diagnosis; {path.parent}"
        rows.append({"image_id": image_id, "lesion_id": image_id, "dx": read_dx(path.parent.name, where)})
    table = pd.DataFrame(rows)
    table["path"] = [str(images[name].resolve()) for name in table["image_id"]]
    return table.assign(**dict.fromkeys(_OPTIONAL, "unknown"))


def _collection(
    folder: Path, layout: str, table: pd.DataFrame, findings: list[Finding], *, has_lesions: bool = True
) -> Collection:
    if not has_lesions:
        decision = "each image counts as a lesion of its own; only near-duplicates keep a split from leaking"
        findings = findings + finding("lesion-unknown", "No lesion ids are known", decision, list(table["image_id"]))
    for column in ("dx_type", "sex", "localization", "dataset"):
        values = table[column].str.strip().str.lower()
        table[column] = values.where(values != "", "unknown")
    return Collection(folder, layout, table[list(TABLE_COLUMNS)].reset_index(drop=True), tuple(findings))
