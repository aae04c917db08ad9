"""Folders of data, one or several; and a folder for results: held by one process, never mixed with what is not lesionlab's."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lesionlab.errors import UsageError
from lesionlab.files import is_temporary, locked, refuse_what_is_not_unicode

LOCK = ".lock"
Data = Path | tuple[Path, ...]  # one folder of images, or several that are taken together


def as_data(given: Path | str | Sequence[Path | str]) -> Data:
    """Give the folder, or the folders, that a caller names; one of a list is that folder."""
    if isinstance(given, (str, Path)):
        return Path(given)
    return Path(given[0]) if len(given) == 1 else tuple(map(Path, given))


def each(data: Data) -> tuple[Path, ...]:
    """Give the folders of data."""
    return data if isinstance(data, tuple) else (data,)


def named(data: Data) -> str:
    """Name the folders of data, for messages."""
    return " and ".join(str(folder) for folder in each(data))


def short_names(folders: Sequence[Path], separator: str = "/") -> list[str]:
    """Name folders by as much of the ends of their paths as tells them apart, a file without suffix; by all if it is one folder.

    Args:
        folders: at least one.
        separator: between the parts of a path.

    """
    paths = [folder.resolve().with_suffix("") if folder.is_file() else folder.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = [separator.join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def resolved(data: Data) -> Data:
    """Name the folders of data in full."""
    return tuple(folder.resolve() for folder in data) if isinstance(data, tuple) else data.resolve()


def as_written(data: Data) -> str | tuple[str, ...]:
    """Give what a manifest holds of folders of data; `as_read` reads it."""
    return tuple(str(folder) for folder in data) if isinstance(data, tuple) else str(data)


def as_read(written: str | tuple[str, ...]) -> Data:
    """Give the folders of data that a manifest holds."""
    return Path(written) if isinstance(written, str) else tuple(map(Path, written))


@contextmanager
def claimed(folder: Path, mark: str, kind: str = "run", option: str = "--out") -> Iterator[None]:
    """Create the folder and hold it for this process alone; the claim ends with the process, however that ends.

    Args:
        folder: absent, empty, or one that `mark` lies in; any other is left as it is.
        mark: the file that tells a folder of this kind.
        kind: what the folder should hold, for the message.
        option: the folder was given with, for the message.

    Raises:
        UsageError: the folder cannot be written, holds other things, or another run is at work in it.

    """
    refuse_what_is_not_unicode(folder)
    if folder.is_dir() and not (folder / mark).exists():
        refuse_foreign(folder, kind, option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "a")  # noqa: SIM115  held until the run ends
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error.strerror}). Choose another folder with {option}."
        ) from error
    with lock:
        if not locked(lock.fileno()):
            raise UsageError(
                f"Another run is at work in {folder}. Wait for it, or choose another folder with {option}."
            )
        yield


def contents(folder: Path) -> list[str]:
    """Names of what lies in a folder, hidden files apart; in order."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def refuse_foreign(folder: Path, kind: str = "run", option: str = "--out") -> None:
    """Refuse a folder that holds anything, hidden files apart."""
    held = contents(folder)
    if held:
        raise UsageError(
            f"{folder} is not empty and holds no {kind} ({held[0]} …). Choose another folder with {option}."
        )


def lies_in(path: Path, data: Data) -> bool:
    """Whether a path lies in a folder of data, or is one."""
    return any(path.resolve().is_relative_to(one.resolve()) for one in each(data))


def refuse_among_images(folder: Path, data: Data) -> None:
    """Refuse a folder for results that lies in a data folder: its pictures would be taken for images."""
    if any(folder.resolve() == one.resolve() for one in each(data)):
        raise UsageError(f"{folder} is the data folder itself. Choose another folder with --out.")
    if lies_in(folder, data):
        raise UsageError(
            f"{folder} lies in the data folder, and its pictures would be taken for images. Choose another with --out."
        )


def sweep(folder: Path) -> None:
    """Remove what a killed command left half-written; other hidden files and folders are the user's."""
    for parent, folders, names in os.walk(folder):
        for name in filter(is_temporary, folders):
            shutil.rmtree(Path(parent, name))
        for name in filter(is_temporary, names):
            Path(parent, name).unlink()
        folders[:] = [name for name in folders if not name.startswith(".")]
