"""Images that lie in other files: entries of HDF5 files (ISIC 2024) and rows of Parquet files, named by a path like any other.

`train-image.hdf5::ISIC_0015670` is an entry, `train-00000-of-00001.parquet::image/17` the 18th row of a column. Such a path goes
wherever a file's path goes; `read_file` in `lesionlab.data.images`, through which all images are read, asks here for its bytes.
One image is read at a time (of Parquet, one row group), so that memory does not grow with the file.
"""

import json
import os
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from lesionlab.data.image_limits import MAX_BYTES, ImageError, too_large
from lesionlab.errors import LesionlabError, UsageError, why_missing

MARK = "::"  # between a file and the image in it
_BYTES = (0, 3, 5)  # HDF5's classes of types that are bytes as they lie: integer, string, opaque
_LOCK = Lock()  # a row group is decoded once, not by two threads at the same time


class EntryError(LesionlabError):
    """An entry cannot be had: it is not there, is no bytes, or its file is damaged."""


def is_stored(path: str | Path) -> bool:
    """Whether a path names an image inside another file: a file or folder may have the mark in its own name."""
    return MARK in str(path) and not os.path.exists(path)


def parted(path: str | Path) -> tuple[str, str]:
    """Part the path of an image inside another file into that file's and the image's name in it."""
    file, _, name = str(path).partition(MARK)
    while MARK in name and not os.path.isfile(file):
        more, _, name = name.partition(MARK)
        file = f"{file}{MARK}{more}"
    return file, name


def entry_path(file: Path, name: str) -> Path:
    """Give the path of an entry of an HDF5 file."""
    return file.with_name(f"{file.name}{MARK}{name}")


def parquet_row_path(file: Path, column: str, row: int) -> Path:
    """Give the path of a row (from 0) of a Parquet file's column of images."""
    return Path(f"{file}{MARK}{column}/{row}")


def read_stored(path: str | Path) -> bytes:
    """Return the bytes of an image inside another file.

    Raises:
        ImageError: the entry is not there, is no bytes, has more than `MAX_BYTES`, or its file is damaged.
        UsageError: the library that reads the file is not installed.

    """
    try:
        data = _bytes_of(path)
    except EntryError as error:
        raise ImageError(str(error), str(path), code="missing") from error
    if len(data) > MAX_BYTES:
        raise too_large(f"{len(data) / 1e6:.0f} MB", f"{MAX_BYTES / 1e6:.0f} MB", str(path))
    return data


def _bytes_of(path: str | Path) -> bytes:
    """Return the bytes of an image inside another file.

    Raises:
        EntryError: see there.
        UsageError: the library that reads the file is not installed.
    """
    file, name = parted(path)
    try:
        status = os.stat(file)
    except OSError as error:
        raise EntryError(f"the file {Path(file).name} cannot be opened ({error.strerror})") from error
    key = (file, status.st_mtime_ns, os.getpid())
    if file.lower().endswith(".parquet"):
        column, _, row = name.rpartition("/")
        return _parquet_bytes(key, column, int(row))
    return _hdf5_bytes(key, name)


def hdf5_names(file: Path) -> list[str]:
    """Names of an HDF5 file's entries.

    Raises:
        UsageError: no such library, or no such file.
    """
    try:
        return list(_opened(_key(file)).file)
    except OSError as error:
        raise UsageError(f"{file} is no HDF5 file, or cut short ({_words(error)}): download it again.") from error


def parquet_columns(file: Path) -> tuple[dict[str, list[Any]], str]:
    """Read a Parquet file's columns without the image bytes: the images' own names stand in their place.

    Returns:
        Values by column; labels that are numbers with names in the file's own description (Hugging Face's ClassLabel) are those
        names. And the column of images, "" where there is none.

    Raises:
        UsageError: no such library, or no such file.
    """
    pyarrow = _library("pyarrow", "A Parquet file")
    try:
        parquet = _parquet(_key(file))
        schema = parquet.schema_arrow
        images = [field.name for field in schema if _is_image(field.type)]
        plain = [field.name for field in schema if field.name not in images and not _is_nested(pyarrow, field.type)]
        image = images[0] if images else ""
        has_path = bool(image) and any(field.name == "path" for field in schema.field(image).type)
        wanted = [*plain, *([f"{image}.path"] if has_path else [])]
        table = parquet.read(columns=wanted)
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{file} is no Parquet file, or cut short ({_words(error)}): download it again.") from error
    values = {name: table.column(name).to_pylist() for name in plain}
    for name, names in _class_labels(schema.metadata).items():
        if name in values:
            values[name] = [
                names[value] if isinstance(value, int) and 0 <= value < len(names) else value for value in values[name]
            ]
    if image:
        rows = parquet.metadata.num_rows
        values[image] = [one["path"] for one in table.column(image).to_pylist()] if has_path else [None] * rows
    return values, image


def _hdf5_bytes(key: tuple[str, int, int], name: str) -> bytes:
    """Bytes of an entry; where they lie in one piece, which is usual, they are read past HDF5: faster, and in threads."""
    try:
        opened = _opened(key)  # held until its bytes are read, though others take its place in the cache
        start, size = _place(key, name)
        if start is None or opened.descriptor is None:
            return bytes(opened.file[name][()].tobytes())
        return os.pread(opened.descriptor, size, start)
    except KeyError as error:
        raise EntryError(f"{Path(key[0]).name} has no entry {name}") from error
    except (AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise EntryError(f"the entry {name} of {Path(key[0]).name} is damaged ({_words(error)})") from error


@lru_cache(maxsize=1 << 17)  # an image is read twice, to know it and to decode it; 20 MB at most
def _place(key: tuple[str, int, int], name: str) -> tuple[int | None, int]:
    """Where an entry's bytes begin in the file, None where they are not in one piece, and how many they are."""
    entry = _entry_opener()(_opened(key).file.id, name.encode())
    if entry.get_type().get_class() not in _BYTES:
        raise EntryError(f"the entry {name} of {Path(key[0]).name} holds no bytes of an image")
    return entry.get_offset(), entry.get_storage_size()


class _Opened(NamedTuple):
    """An HDF5 file, and its descriptor, which is closed with it; None where its entries' places cannot be read from."""

    file: Any
    descriptor: int | None


@lru_cache(maxsize=4)
def _opened(key: tuple[str, int, int]) -> _Opened:
    file = _library("h5py", "An HDF5 file").File(key[0], "r", rdcc_nbytes=0)
    can_read = hasattr(os, "pread") and file.driver == "sec2" and not file.userblock_size
    return _Opened(file, file.id.get_vfd_handle() if can_read else None)


@lru_cache(maxsize=1)
def _entry_opener() -> Any:
    return _library("h5py", "An HDF5 file").h5d.open


@lru_cache(maxsize=4)
def _parquet(key: tuple[str, int, int]) -> Any:
    _library("pyarrow", "A Parquet file")
    from pyarrow import parquet

    return parquet.ParquetFile(key[0])


def _parquet_bytes(key: tuple[str, int, int], column: str, row: int) -> bytes:
    pyarrow = _library("pyarrow", "A Parquet file")
    try:
        with _LOCK:
            start, values = _row_group(key, column, row)
    except (pyarrow.ArrowException, OSError) as error:
        raise EntryError(f"row {row + 1} of {Path(key[0]).name} is damaged ({_words(error)})") from error
    value = values[row - start].as_py()
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise EntryError(f"row {row + 1} of {Path(key[0]).name} has no bytes of an image in the column {column}")
    return data


def _row_group(key: tuple[str, int, int], column: str, row: int) -> tuple[int, Any]:
    """The first row of the row group that a row is in, and the group's values."""
    metadata, start = _parquet(key).metadata, 0
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        if row < start + size:
            return start, _group_values(key, column, group)
        start += size
    raise EntryError(f"{Path(key[0]).name} has {start} rows, and no row {row + 1}")


@lru_cache(maxsize=2)
def _group_values(key: tuple[str, int, int], column: str, group: int) -> Any:
    return _parquet(key).read_row_group(group, columns=[column], use_threads=False).column(column)


def _is_image(kind: Any) -> bool:
    """Bytes, or a struct that has some: what Hugging Face's datasets write for an image."""
    names = [field.name for field in kind] if str(kind).startswith("struct") else []
    return str(kind) in ("binary", "large_binary") or (
        "bytes" in names and str(kind.field("bytes").type).endswith("binary")
    )


def _is_nested(pyarrow: Any, kind: Any) -> bool:
    return bool(pyarrow.types.is_nested(kind))


def _class_labels(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of labels by column, from the description that Hugging Face's datasets write into a Parquet file."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _key(file: Path) -> tuple[str, int, int]:
    return str(file), file.stat().st_mtime_ns, os.getpid()


def _library(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"{why_missing(what, name, 'stored')}.") from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
