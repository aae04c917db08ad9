"""What a user points at, as image files: files, folders, patterns; and the names that images get in a table."""

import fnmatch
import glob
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from lesionlab.data.image_formats import SUFFIXES, without_suffix
from lesionlab.data.patient import Patient
from lesionlab.errors import UsageError, why_missing
from lesionlab.files import refuse_unread, walk

_ADDRESS = re.compile(r"(https?|ftps?|s3|gs)://?[^/]", re.IGNORECASE)  # a Path takes one slash away

_MOST_SUFFIXES = 8
_LISTS = (".txt", ".parquet")
_SLASHES = os.sep + (os.altsep or "")
_NO_IMAGES = frozenset(".csv .tsv .xlsx .parquet .json .jsonl .txt .md .html .pdf .log .ini .db .py .onnx".split())


@dataclass(frozen=True)
class Source:
    """One image to predict: its name, where it was given, what was given (path, bytes, pixels), what is known of the patient."""

    image: str
    where: str
    given: Any
    patient: Patient = Patient()

    @property
    def ids(self) -> Iterator[str]:
        """The image ids that a table may know it by: its path, ever shorter, down to the bare name of its file."""
        parts = self.given.parts if isinstance(self.given, Path) else (self.image,)
        return (without_suffix(Path(*parts[start:]).as_posix()) for start in range(len(parts)))

    @staticmethod
    def of_file(path: str | Path) -> "Source":
        """Name a file's image by its stem."""
        path = Path(path)
        return Source(printable(path.stem), printable(str(path)), path)


class SkippedFiles:
    """Counts files of folders that are passed over for their suffix; tables, texts and hidden files are not counted."""

    def __init__(self) -> None:
        self.n, self._suffixes = 0, set[str]()

    def add(self, name: str) -> None:
        """Count a file, if an image may have been expected in it."""
        suffix = os.path.splitext(name)[1].lower()
        if name.startswith(".") or suffix in _NO_IMAGES:
            return
        self.n += 1
        if len(self._suffixes) < _MOST_SUFFIXES:
            self._suffixes.add(printable(suffix) or "none")

    def __str__(self) -> str:
        """Word it as one line."""
        more = ", …" if len(self._suffixes) == _MOST_SUFFIXES else ""
        files = "1 file" if self.n == 1 else f"{self.n:,} files"
        return f"{files} left out for their suffix: {', '.join(sorted(self._suffixes))}{more}"


def find_images(given: Iterable[str | Path], left_out: SkippedFiles | None = None) -> Iterator[Path]:
    """Find the image files that paths stand for, lazily.

    A folder stands for all files in it and below whose suffix is an image's, in the order of their names; hidden ones are
    left out. A path that does not exist but has `*`, `?` or `[` is a pattern (`**` for any depth): it gives each file once,
    and folders that it begins with are taken as they are named, where they exist. A `.txt` file is a list of paths, one
    a line, and a `.parquet` file, or a folder so called, one of those in its column `path`; a pattern that ends so stands for
    such lists. Any other path stands for itself, whatever its suffix:
    whether it can be read is seen on reading. A leading `~` is the home folder, where no such file is.
    What folders hold besides images is counted in `left_out`, as far as they were gone through.

    Raises:
        UsageError: a folder without images, a pattern that nothing matches, no such list, or a web address; before the first
            file is given.

    """
    left_out = left_out or SkippedFiles()
    return chain.from_iterable([_find(_local(str(item)), left_out) for item in given])


def is_read_from(given: str, folder: Path) -> bool:
    """Whether a folder is among those that a path is looked for in; what a list names is not looked at."""
    name, own = _local(given), folder.resolve()
    if os.path.isdir(name):
        return any(own.is_relative_to(real) for real in _real_folders(name))
    start, pattern = _split_pattern(name)
    if not pattern:
        return not name.lower().endswith(_LISTS) and own == Path(name).parent.resolve()
    if not own.is_relative_to(Path(start).resolve()):
        return False
    parts, wanted = own.relative_to(Path(start).resolve()).parts, Path(pattern.lstrip(_SLASHES)).parts
    if "**" in wanted:
        return True
    is_as_deep = len(parts) >= len(wanted) - 1  # a folder that matches is read whole
    return is_as_deep and all(map(fnmatch.fnmatch, parts, wanted))


def unique_names(sources: Iterable[Source]) -> Iterator[Source]:
    """Make names unique, as a table needs them: a stem that was seen gives way to the path, a path seen gets a number."""
    seen: set[int] = set()  # hashes: a million names take 60 MB, not 120
    for source in sources:
        name, number = source.image, 1
        while hash(name) in seen:
            name = source.where if number == 1 else f"{source.where}#{number}"
            number += 1
        seen.add(hash(name))
        yield replace(source, image=name)


def printable(name: str) -> str:
    """Write what a terminal or a table would stumble over (control characters, bytes that are no UTF-8) as escapes."""
    if name.isprintable():
        return name
    return "".join(c if _is_shown(c) else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # spaces such as macOS puts into names


def _local(name: str) -> str:
    if os.path.exists(name):
        return name
    if _ADDRESS.match(name):
        raise UsageError(
            f"{name} is an address, and addresses are not read: download the file first, and give its path."
        )
    return os.path.expanduser(name)


def _find(name: str, left_out: SkippedFiles) -> Iterator[Path]:
    if os.path.isdir(name) and name.rstrip(_SLASHES).lower().endswith(".parquet"):
        return _listed(name, _parts_of(name))
    if os.path.isdir(name):
        files = _walk(name, left_out)
        first = next(files, None)
        if first is None:
            raise UsageError(f"The folder {name} holds no images. Read are files that end in {', '.join(SUFFIXES)}.")
        return chain([first], files)
    start, pattern = _split_pattern(name)
    if pattern:
        found = sorted(glob.glob(glob.escape(start) + pattern, recursive=True))
        if not found:
            raise UsageError(f"No file matches {name}.")
        if pattern.lower().endswith(_LISTS):
            return _listed(name, _each_list(found))
        return _each_once(found, left_out)
    if name.lower().endswith(_LISTS):
        return _listed(name, [name])
    return iter([Path(name)])


def _split_pattern(name: str) -> tuple[str, str]:
    """Split a pattern into the folder that it begins with, brackets and all, and what is to match; '' where it is none."""
    start = "" if os.path.exists(name) else os.path.dirname(name)
    while start and not os.path.isdir(start):
        above = os.path.dirname(start)
        start = above if above != start else ""
    pattern = name[len(start) :]
    return (start, pattern) if not os.path.exists(name) and glob.has_magic(pattern) else (name, "")


def _each_once(found: Iterable[str], left_out: SkippedFiles) -> Iterator[Path]:
    """Give the files that a pattern matches and those of the folders that it matches, `**` both: each only once.

    Files are told apart by real folder and name: one that is a link is another image than the one that it leads to.
    """
    real = lru_cache(maxsize=16)(os.path.realpath)
    walked, given = set[Path](), set[int]()  # hashes, as in `unique_names`
    for item in found:
        place = Path(real(item) if os.path.isdir(item) else os.path.join(real(os.path.dirname(item)), Path(item).name))
        if place.is_dir() and not walked.isdisjoint((place, *place.parents)):
            continue
        if place.is_dir():
            walked.add(place)
        for path in _walk(item, left_out) if os.path.isdir(item) else [Path(item)]:
            key = hash((real(path.parent), path.name))
            if key not in given:
                given.add(key)
                yield path


def _listed(name: str, files: list[str]) -> Iterator[Path]:
    """Read the files of a list of paths, lazily; its first line shows whether it is one."""
    paths = chain.from_iterable(
        _parquet_paths(file) if file.lower().endswith(".parquet") else _text_paths(file) for file in files
    )
    first = next(paths, None)
    if first is None:
        raise UsageError(f"The list {name} names no images.")
    return map(Path, chain([first], paths))


def _each_list(found: list[str]) -> list[str]:
    """The files of the lists that a pattern matches, folders of parts among them; each once."""
    lists = [part for item in found for part in (_parts_of(item) if os.path.isdir(item) else [item])]
    return list(dict.fromkeys(part for part in lists if not _is_apart(os.path.basename(part))))


def _parts_of(folder: str) -> list[str]:
    """The files of a list in parts, a folder `….parquet` as Spark, Dask and Ray write it; those of `_` and `.` apart."""
    parts = [
        entry.path
        for _, entries in walk(folder, _is_apart, refuse_unread)
        for entry in entries
        if entry.name.lower().endswith(".parquet") and not _is_apart(entry.name)
    ]
    if not parts:
        raise UsageError(f"The folder {folder} holds no .parquet files.")
    return parts


def _is_apart(name: str) -> bool:
    return name.startswith((".", "_"))


def _text_paths(name: str) -> Iterator[str]:
    try:
        with open(name, encoding="utf-8-sig") as file:
            yield from (line for line in map(str.strip, file) if line)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"The list {name} cannot be read ({reason}).") from error


def _parquet_paths(name: str) -> Iterator[str]:
    try:
        from pyarrow import ArrowException, parquet, types
    except ImportError as error:
        raise UsageError(f"{why_missing(f'The list {name}', 'PyArrow', 'stored')}.") from error
    try:
        with parquet.ParquetFile(name) as file:
            if "path" not in file.schema_arrow.names:
                raise UsageError(f"{name} has no column 'path'; it has {', '.join(file.schema_arrow.names)}.")
            kind = file.schema_arrow.field("path").type
            held = kind.value_type if types.is_dictionary(kind) else kind
            if not (types.is_string(held) or types.is_large_string(held) or types.is_string_view(held)):
                raise UsageError(f"{name}: its column 'path' holds {kind}, not text. Write the paths as strings.")
            row = 0
            for batch in file.iter_batches(columns=["path"], batch_size=4096):
                for path in batch.column("path").to_pylist():
                    row += 1
                    yield path or f"{name}, row {row}: no path"  # no such file: listed as unreadable, not passed over
    except (OSError, ArrowException) as error:
        raise UsageError(f"The list {name} cannot be read ({str(error).splitlines()[0]}).") from error


def _real_folders(folder: str) -> Iterator[str]:
    """Give the real paths of a folder and of those that links in it lead to."""
    yield os.path.realpath(folder)
    yield from (
        os.path.realpath(place) for place, _ in walk(folder, _is_hidden, lambda error: None) if os.path.islink(place)
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _walk(folder: str, left_out: SkippedFiles) -> Iterator[Path]:
    closed: list[OSError] = []
    for _, entries in walk(folder, _is_hidden, closed.append):
        for entry in entries:
            if not entry.name.lower().endswith(SUFFIXES):
                left_out.add(entry.name)
            elif not _is_hidden(entry.name):
                yield Path(entry.path)
    yield from (Path(error.filename) for error in closed)  # listed as unreadable, not passed over
