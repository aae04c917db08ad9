"""Names that `predict` gives images, found again among the files of a data folder.

Of files of one name (`mel/1.jpg`, `nv/1.jpg`) `predict` names the first `1` and the others by their paths as given; in data
without a table an image is named by its folder too (`mel-1`). A path says which file is meant; the bare name then means the
one file of that name that no path names. Where more than one is left it means none of them: it could be either.
"""

import posixpath
from collections.abc import Iterable
from pathlib import Path

import pandas as pd


def as_in_data(names: Iterable[str], table: pd.DataFrame, folder: Path) -> dict[str, str]:
    """Give the image id of each name that is not one of the data's but means one of their files.

    Args:
        names: of a table of predictions, without suffixes.
        table: of the data: `image_id`, `path` ("" where there is none).
        folder: of the data.

    """
    given, known = list(names), set(table["image_id"])
    foreign = [name for name in given if name not in known]
    if not foreign:
        return {}
    files = _files_by_stem(table, folder)
    taken = known & set(given)
    found: dict[str, str] = {}
    for name in foreign:
        meant = _meant(name, files) if "/" in _plain(name) else []
        if len(meant) == 1 and meant[0] not in taken:
            found[name] = meant[0]
            taken.add(meant[0])
    for name in foreign:
        left = [image for _, image in files.get(name, []) if image not in taken]
        if name not in found and len(left) == 1:
            found[name] = left[0]
            taken.add(left[0])
    return found


def _files_by_stem(table: pd.DataFrame, folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Path inside the folder, without suffix, and image id of the files of each name."""
    files: dict[str, list[tuple[str, str]]] = {}
    root = folder.resolve()
    for image, path in zip(table["image_id"], table["path"], strict=True):
        if path and Path(path).is_relative_to(root):
            inner = Path(path).relative_to(root).with_suffix("")
            files.setdefault(inner.name, []).append((inner.as_posix(), image))
    return files


def _meant(name: str, files: dict[str, list[tuple[str, str]]]) -> list[str]:
    """Give the ids of the files that a path may mean: those of the longest end in common with it."""
    path = "/" + _plain(name)
    candidates = [
        (min(len(inner), len(path)), image)
        for inner, image in files.get(posixpath.basename(path), [])
        if path.endswith("/" + inner) or ("/" + inner).endswith(path)
    ]
    longest = max((length for length, _ in candidates), default=0)
    return [image for length, image in candidates if length == longest]


def _plain(name: str) -> str:
    """Write a path with slashes, from behind its last `..`."""
    return posixpath.normpath(name.replace("\\", "/")).rpartition("../")[2].lstrip("/")
