"""Hugging Face's layouts: `imagefolder` (a metadata.csv or .jsonl with `file_name`, one a split) and Parquet with image bytes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lesionlab.data.image_formats import without_suffix
from lesionlab.data.layouts.metadata import ALIASES, PART
from lesionlab.data.layouts.reading import Options, Reading, joined
from lesionlab.data.layouts.rows import Rules, read_rows
from lesionlab.data.layouts.scan import Scan, part_of
from lesionlab.data.layouts.tables import ROW, read_table
from lesionlab.data.layouts.written_diagnoses import taxonomy_of
from lesionlab.data.stored_images import entry_path, hdf5_names, parquet_columns, parquet_row_path
from lesionlab.errors import UsageError

NEEDS = frozenset(("file_name",))
_LABELS = ("dx", "diagnosis", "label", "labels", "class")


def read_imagefolder(scan: Scan, options: Options) -> Reading | None:
    """Read the tables of a Hugging Face image folder; None where no table names files."""
    labelled = [path for path in scan.tables_with(NEEDS) if set(_LABELS) & set(scan.tables[path][0])]
    paths = [path for path in scan.tables if path.name.lower() == "metadata.jsonl"] + labelled
    if not paths:
        return None
    paths = scan.take(paths)
    tables = [_read(path) for path in paths]
    return _reading(scan, "Hugging Face imagefolder", tables, paths, options, _named_files(tables, paths))


def read_parquet(scan: Scan, options: Options) -> Reading | None:
    """Read Parquet files with a column of images (bytes and path) and columns of a table; None where there is none."""
    tables, paths = [], []
    for path in scan.parquet:
        columns, image_column = parquet_columns(path)
        if not image_column:
            continue
        rows = len(columns[image_column])
        table = pd.DataFrame(
            {
                name.lower(): [_text(value) for value in values]
                for name, values in columns.items()
                if name != image_column
            }
        )
        names = columns[image_column]
        table["file_name"] = [name or f"{path.stem}-{row}" for row, name in enumerate(names)]
        table[ROW] = range(1, rows + 1)
        table["stored"] = [str(parquet_row_path(path, image_column, row)) for row in range(rows)]
        tables.append(table)
        paths.append(path)
    if not tables:
        return None
    return _reading(scan, "Parquet with images", tables, paths, options, [list(table["stored"]) for table in tables])


def stored_images(scan: Scan) -> dict[str, Path]:
    """Images inside the folder's HDF5 and Parquet files, by a name of their own."""
    images = {name: entry_path(file, name) for file in scan.hdf5 for name in hdf5_names(file)}
    for file in scan.parquet:
        columns, column = parquet_columns(file)
        images |= {
            f"{file.stem}-{row}": parquet_row_path(file, column, row) for row in range(len(columns.get(column, ())))
        }
    return images


def _reading(
    scan: Scan,
    layout: str,
    tables: Sequence[pd.DataFrame],
    paths: Sequence[Path],
    options: Options,
    files: Sequence[Sequence[str]],
) -> Reading:
    prepared = [_prepared(table, path, scan) for table, path in zip(tables, paths, strict=True)]
    taxonomy = options.taxonomy or taxonomy_of({word for table in prepared for word in table["dx"]})
    stored: dict[str, str] = {}
    root, parts = scan.folder.resolve(), []
    for table, path, of_rows in zip(prepared, paths, files, strict=True):
        for image_id, file in zip(table["image_id"], of_rows, strict=True):
            if file:
                stored[without_suffix(image_id)] = str(root / Path(file).relative_to(scan.folder))
        parts.append(read_rows(table, path, taxonomy, Rules(options.image_types, needs_lesions=False)))
    return Reading(layout, joined(parts, paths), taxonomy, paths[0], stored)


def _prepared(table: pd.DataFrame, path: Path, scan: Scan) -> pd.DataFrame:
    """Name the columns of diagnoses and ids; the part is what the file's name or its folder says, else the image's folder."""
    label = next((name for name in _LABELS if name in table), None)
    if label is None:
        there = ", ".join(name for name in table.columns if name not in (ROW, "stored"))
        raise UsageError(f"{path} has no column of diagnoses ({', '.join(_LABELS)}); it has {there}. Name it dx.")
    table = table.rename(columns={label: "dx"})
    if not {"image_id", *(name for name, column in ALIASES.items() if column == "image_id")} & set(table.columns):
        table["image_id"] = [Path(name).stem for name in table["file_name"]]
        clashing = table["image_id"].duplicated(keep=False)
        table.loc[clashing, "image_id"] = [
            "-".join(Path(name).with_suffix("").parts) for name in table.loc[clashing, "file_name"]
        ]
    inside = path.relative_to(scan.folder)
    own = next((part for name in (inside.stem, *reversed(inside.parts[:-1])) if (part := part_of(name))), "")
    if PART not in table:
        split = table["split"] if "split" in table else table["file_name"].map(lambda name: str(Path(name).parent))
        table[PART] = [own or part_of(name) for name in split]
    return table.drop(columns=["file_name", "stored", "split"], errors="ignore")


def _named_files(tables: Sequence[pd.DataFrame], paths: Sequence[Path]) -> list[list[str]]:
    """The file that each row names, by its path from the table's folder; "" where it is not there."""
    return [
        [
            str(file) if _is_inside(name) and (file := path.parent / name).is_file() else ""
            for name in table["file_name"]
        ]
        for table, path in zip(tables, paths, strict=True)
    ]


def _is_inside(name: str) -> bool:
    return ".." not in Path(name).parts and not Path(name).is_absolute()


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() != ".jsonl":
        return read_table(path)
    rows: list[dict[str, Any]] = []
    for line, text in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{path}, row {line}: no JSON ({error}). Each line is one object.") from error
        if not isinstance(values, dict) or "file_name" not in values:
            raise UsageError(f'{path}, row {line}: no object with "file_name".')
        rows.append({name.lower(): _text(value) for name, value in values.items()} | {ROW: line})
    if not rows:
        raise UsageError(f"{path} is empty: it should hold an object for each image.")
    return pd.DataFrame(rows).fillna("")


def _text(value: Any) -> str:
    """A value as a table has it; None is empty."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
