"""Files that are either whole or absent: written beside their place, then moved into it; and mapped files, let go."""

import json
import mmap
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlab.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_MARK = ".lesionlab-"
_UMASK = os.umask(0o077)  # can be read by setting it alone: done once, before there are threads
os.umask(_UMASK)
_MOST_NAME = 40  # characters of a name that its temporary file repeats: a name may take 255 bytes, and no more


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in `path`'s folder; on success it takes `path`'s place, on failure it is removed.

    Raises:
        OSError: the folder is read-only, the disk is full.
    """
    prefix = f"{_MARK}{path.stem[:_MOST_NAME]}-"
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`; on success it takes its place, on failure it is removed.

    Raises:
        OSError: the folder around it is read-only, the disk is full.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f"{_MARK}{folder.name[:_MOST_NAME]}-", dir=folder.parent))
    try:
        yield temporary
        open_folder(temporary)
        old = temporary.with_name(f"{temporary.name}-old")
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(temporary, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_folder(temporary: Path) -> None:
    """Give a folder of `tempfile.mkdtemp`, which is its owner's alone, the permissions that a new folder gets by the umask."""
    temporary.chmod(0o777 & ~_UMASK)


def walk(
    folder: str | Path, is_skipped: Callable[[str], object], onerror: Callable[[OSError], object]
) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """Give a folder and those below, depth first, each with what is in it and no folder, in the order of the names.

    Links to folders are followed, and a folder is read once, under the name that it is met by first.

    Args:
        folder: to begin with.
        is_skipped: whether a folder of this name is left out, with all below it.
        onerror: called where a folder cannot be read.

    """
    waiting, read = [str(folder)], set[str]()
    while waiting:
        place = waiting.pop()
        if (real := os.path.realpath(place)) in read:
            continue
        read.add(real)
        try:
            with os.scandir(place) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            onerror(error)
            continue
        folders = {entry.name: entry.path for entry in ordered if _is_folder(entry)}
        yield place, [entry for entry in ordered if entry.name not in folders]
        waiting += [path for name, path in reversed(folders.items()) if not is_skipped(name)]


def refuse_unread(error: OSError) -> None:
    """As `onerror` of `walk`: a folder that cannot be read ends it."""
    raise UsageError(f"{error.filename} cannot be read ({error.strerror}).") from error


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """As `entry.is_dir()`, which raises an error at a link that leads to itself or to where none may look."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def locked(descriptor: int) -> bool:
    """Hold an open file for this process until it is closed; False where another one holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system without locks
    return True


def refuse_what_is_not_unicode(path: Path) -> None:
    """Refuse a path with a name in another encoding than this system's: tables and reports could not hold it."""
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = str(path.absolute()).encode("utf-8", "backslashreplace").decode()
        raise UsageError(
            f"{shown} is not valid in this system's file-name encoding (common with old archives). Rename the folder."
        ) from error


def is_temporary(name: str) -> bool:
    """Whether a name is one that `replacing` or `replacing_folder` gives until the file or folder is whole."""
    return name.startswith(_MARK)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write a table atomically, with the fewest digits that read back to the same numbers."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def read_csv(path: Path, numbers: Sequence[str] = ()) -> "pd.DataFrame":
    """Read a table of `write_csv`: `numbers` as float, empty ones as NaN; all else as text, as an image may be called NA."""
    import pandas as pd

    kinds: dict[str, Any] = defaultdict(lambda: str, dict.fromkeys(numbers, float))
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={name: [""] for name in numbers})


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN and infinity, which JSON lacks, become null."""
    write_text(path, json.dumps(without_nan(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def as_toml(value: Any) -> str:
    """Word a text, number, boolean or list as JSON does where TOML reads the same: no pairs of surrogates, no bare DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_names(room: str) -> list[str]:
    """Names of the TOML files that come with lesionlab in one of its rooms, `recipes` or `taxonomies`."""
    return sorted(path.stem for path in (Path(__file__).parent / room).glob("*.toml"))


def read_toml(name: str, room: str) -> dict[str, Any] | None:
    """Read a TOML file of a room by its name, or any other by its path; None where there is no such file.

    Raises:
        UsageError: it is no UTF-8 text, or not TOML; says where.

    """
    import tomllib

    own = name in toml_names(room)
    path = Path(__file__).parent / room / f"{name}.toml" if own else Path(name)
    if path.suffix != ".toml" or not path.is_file():
        return None
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is not valid TOML: {error}.") from error


def release_pages(array: "np.ndarray") -> None:
    """Let go of the memory that reading a memory-mapped array took; it stays as it is, and other arrays do too.

    The pages of a map that have been read count as the process's memory until the system wants them back.
    """
    mapped = array.base
    if isinstance(mapped, mmap.mmap) and not array.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def without_nan(value: Any) -> Any:
    """Give the value with None for each NaN or infinity in it, as JSON lacks them."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
