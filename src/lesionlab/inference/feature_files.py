"""Features on disk: `.npz` or `.parquet`, one file or the shards of a folder; each says which model they are of.

A file has `image_id`, `path` and `features` (float32) of each image, and facts of the model as JSON: in the array `facts` of an
`.npz` file, under the key `lesionlab` of a Parquet schema. Both are written row by row: a file takes no more memory for a
million images than for a thousand. Features of another model are refused by those who read two files (`refuse_other_model`).
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lesionlab._version import __version__
from lesionlab.errors import LesionlabError, UsageError, why_missing
from lesionlab.files import replacing
from lesionlab.inference.features import Embedded, Embedder, Embeddings

SUFFIXES = (".npz", ".parquet")
_ROWS = 1000  # of a row group
_KEY = b"lesionlab"


class FeatureFacts(msgspec.Struct, frozen=True):
    """What a file of features says of the model that made them: its name, and the SHA-256 by which it is known again."""

    model: str
    model_sha256: str
    lesionlab: str = __version__


def facts_of(embedder: Embedder) -> FeatureFacts:
    """Say which model features are of."""
    return FeatureFacts(embedder.name, embedder.sha256)


Write = Callable[[Sequence[Embedded], Path], None]
Add = Callable[[Embedded], None]


def features_writer(format: str, facts: FeatureFacts) -> Write:
    """Give a function that writes what was made of images as a whole file of features, for shards.

    Args:
        format: `npz` or `parquet`.
        facts: of the model.

    Raises:
        UsageError: PyArrow, which Parquet needs, is not installed.

    """
    if format == "parquet":
        _pyarrow()

    def write(made: Sequence[Embedded], path: Path) -> None:
        with _open(path, format, facts) as add:
            for item in made:
                add(item)

    return write


@contextmanager
def new_feature_file(path: Path, facts: FeatureFacts) -> Iterator[Add]:
    """Give a function that adds a row to a file of features; the file is there when this ends, and not before.

    Raises:
        UsageError: a suffix that is none of `SUFFIXES`, a folder that is absent, or PyArrow is not installed.

    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} is no file of features by its name: give --out FILE.npz or FILE.parquet.")
    if not path.parent.is_dir():
        raise UsageError(f"The folder {path.parent} does not exist: make it, or choose another --out.")
    with replacing(path) as temporary, _open(temporary, path.suffix[1:], facts) as add:
        yield add


def _open(path: Path, format: str, facts: FeatureFacts) -> Any:
    return {"npz": _npz, "parquet": _parquet}[format](path, facts)


@contextmanager
def _npz(path: Path, facts: FeatureFacts) -> Iterator[Add]:
    """Collect the rows in a file of their own: their number, which comes first, is known at the end."""
    names: list[tuple[str, str]] = []
    widths: list[int] = []
    with tempfile.TemporaryFile(dir=path.parent) as rows:

        def add(item: Embedded) -> None:
            names.append((item.image, item.source))
            widths[:] = [len(item.features)]
            rows.write(item.features.astype("<f4").tobytes())

        yield add
        rows.seek(0)
        with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
            with archive.open("features.npy", "w", force_zip64=True) as entry:
                shape = (len(names), *(widths or [0]))
                np.lib.format.write_array_header_1_0(entry, {"descr": "<f4", "fortran_order": False, "shape": shape})
                shutil.copyfileobj(rows, entry)
            columns = {"image_id": [image for image, _ in names], "path": [source for _, source in names]}
            for name, value in (columns | {"facts": msgspec.json.encode(facts).decode()}).items():
                buffer = BytesIO()
                np.save(buffer, np.array(value, dtype=np.str_), allow_pickle=False)
                archive.writestr(f"{name}.npy", buffer.getvalue())


@contextmanager
def _parquet(path: Path, facts: FeatureFacts) -> Iterator[Add]:
    pa, parquet = _pyarrow()
    waiting: list[Embedded] = []
    writers: list[Any] = []

    def write() -> None:
        width = len(waiting[0].features) if waiting else 0
        values = pa.array(np.concatenate([item.features for item in waiting] or [np.zeros(0, np.float32)]))
        features = pa.FixedSizeListArray.from_arrays(values, width) if width else pa.array([], pa.list_(pa.float32()))
        ids, paths = [item.image for item in waiting], [item.source for item in waiting]
        table = pa.table(
            {"image_id": pa.array(ids, pa.string()), "path": pa.array(paths, pa.string()), "features": features}
        )
        table = table.replace_schema_metadata({_KEY: msgspec.json.encode(facts)})
        if not writers:
            writers.append(parquet.ParquetWriter(path, table.schema))
        writers[0].write_table(table)
        waiting.clear()

    def add(item: Embedded) -> None:
        waiting.append(item)
        if len(waiting) == _ROWS:
            write()

    try:
        yield add
        if waiting or not writers:
            write()
    finally:
        for writer in writers:
            writer.close()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(f"{why_missing('Parquet', 'PyArrow', 'stored')}. Or write FILE.npz.") from error
    return pa, parquet


@dataclass(frozen=True)
class _Part:
    """What one file holds."""

    image_id: list[str]
    path: list[str]
    features: np.ndarray
    facts: FeatureFacts


def read_features(path: str | Path) -> Embeddings:
    """Read a file of features, or a folder of shards of them.

    Raises:
        UsageError: no such file, none of features, damaged, or files of several models in one folder.

    """
    path = Path(path)
    files = sorted(file for suffix in SUFFIXES for file in path.glob(f"part-*{suffix}")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} holds no shards of features: make them with 'lesionlab embed … --shards {path}'.")
    parts = [_read(file) for file in files]
    for file, part in zip(files, parts, strict=True):
        refuse_other_model(parts[0].facts, part.facts, f"{files[0]}", f"{file}")
    made = [part.features for part in parts if len(part.features)]
    return Embeddings(
        tuple(name for part in parts for name in part.image_id),
        tuple(name for part in parts for name in part.path),
        np.concatenate(made) if made else parts[0].features,
        parts[0].facts.model,
        parts[0].facts.model_sha256,
    )


def refuse_other_model(first: FeatureFacts, second: FeatureFacts, name: str, other: str) -> None:
    """Raise a UsageError where features are of two models; `name` and `other` say whose they are, for the message."""
    if first.model_sha256 != second.model_sha256:
        raise UsageError(
            f"{other} holds features of another model ({second.model}, {second.model_sha256[:12]}) than {name} "
            f"({first.model}, {first.model_sha256[:12]}): they cannot be compared. Embed both with the same --model."
        )


def _read(file: Path) -> _Part:
    if file.suffix not in SUFFIXES or not file.is_file():
        raise UsageError(f"There is no file of features {file}: give a .npz or .parquet that 'lesionlab embed' wrote.")
    read = _read_npz if file.suffix == ".npz" else partial(_read_parquet, _pyarrow())
    try:
        part = read(file)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f"{file} is no file of features: give one that 'lesionlab embed' wrote.") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, LesionlabError) as error:
        raise UsageError(f"{file} is damaged, or no file of features ({str(error).splitlines()[0]}).") from error
    if part.features.ndim != 2 or not len(part.features) == len(part.image_id) == len(part.path):
        raise UsageError(f"{file} is damaged: it has {len(part.image_id)} images and features {part.features.shape}.")
    return part


def _read_npz(file: Path) -> _Part:
    with file.open("rb") as data, np.load(data, allow_pickle=False) as held:
        facts = msgspec.convert(json.loads(str(held["facts"])), FeatureFacts)
        return _Part(held["image_id"].tolist(), held["path"].tolist(), held["features"].astype(np.float32), facts)


def _read_parquet(arrow: tuple[Any, Any], file: Path) -> _Part:
    pa, parquet = arrow
    try:
        table = parquet.read_table(file)
    except pa.ArrowException as error:
        raise LesionlabError(str(error)) from error
    facts = msgspec.convert(json.loads(table.schema.metadata[_KEY]), FeatureFacts)
    column = table["features"].combine_chunks()
    width = column.type.list_size if len(table) else 0
    features = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(table), width)
    return _Part(table["image_id"].to_pylist(), table["path"].to_pylist(), features, facts)
