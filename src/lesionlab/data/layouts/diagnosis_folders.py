"""A folder per diagnosis, at any depth: the name of the folder that an image lies in says what the image shows."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesionlab.data.copy_names import extended, sources
from lesionlab.data.image_formats import without_suffix
from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.metadata import PART, UNKNOWN, check_image_id
from lesionlab.data.layouts.written_diagnoses import read_all_dx
from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy

_PART = re.compile(r"^(train|val|valid|validate|validation|test)(ing)?([_-]?set)?$", re.IGNORECASE)
_PARTS = {"train": "train", "test": "test"}  # all others are of validation


def read_diagnosis_folders(
    folder: Path, pictures: Sequence[Path], twice: Sequence[Path], taxonomy: Taxonomy
) -> tuple[pd.DataFrame, list[Finding]]:
    """Give each image its folder's diagnosis; an id that stands in several folders is told apart by theirs.

    Args:
        folder: which all lie in.
        pictures: every image, sorted.
        twice: those whose id another image of the folder has too.
        taxonomy: of the folders' names.

    Returns:
        image_id, lesion_id and dx, a row per image in the order of `pictures`; and what was found.

    Raises:
        UsageError: folders that name no diagnosis, or two images of one folder that differ by their suffix alone.
    """
    inner = [path.relative_to(folder) for path in pictures]
    dx = read_all_dx(
        [path.parent.name for path in pictures],
        [str(path) for path in inner],
        taxonomy,
        f"{folder} has no metadata table, so that each image's folder should be named by a diagnosis",
        f"Name each folder by its diagnosis, or make a set of your own: lesionlab check {folder} --write-taxonomy "
        f"FILE.toml. To leave a folder of others out, move it out of {folder}.",
    )
    shared = {without_suffix(path.name) for path in twice}
    is_shared = [without_suffix(path.name) in shared for path in pictures]
    names = [
        "-".join([*path.parts[:-1], path.stem]) if made else path.stem
        for path, made in zip(inner, is_shared, strict=True)
    ]
    ids = [check_image_id(name, str(path.parent)) for name, path in zip(names, pictures, strict=True)]
    keys = sources([path.stem for path in inner], dx)
    table = pd.DataFrame({"image_id": ids, "lesion_id": _lesion_ids(keys, ids, dx), "dx": dx})
    parts = [next((_part(name) for name in path.parts[:-2] if _PART.match(name)), UNKNOWN) for path in inner]
    if set(parts) >= {"train", "test"}:
        table[PART] = parts
    clashing = table.index[table["image_id"].duplicated()]
    if len(clashing):
        path = pictures[clashing[0]]
        raise UsageError(f"{path} has the name of another image of its folder but for the suffix: rename one.")
    made_ids = [str(path) for path, made in zip(inner, is_shared, strict=True) if made]
    what = "A file name stands in several folders"
    findings = finding("image-id-made", what, "the folder's name is put before it", made_ids)
    findings += _joined_found(inner, dx) + _parts_found(inner)
    return table, findings + _additions_found([path.stem for path in inner], keys, ids)


def _part(name: str) -> str:
    return _PARTS.get((_PART.match(name) or [""] * 2)[1].lower(), "validation")


def _joined_found(inner: Sequence[Path], dx: Sequence[str]) -> list[Finding]:
    """Say which folders of different names are read as one diagnosis."""
    names: dict[str, set[str]] = {}
    for path, code in zip(inner, dx, strict=True):
        names.setdefault(code, set()).add(path.parent.name.lower())
    items = [f"{', '.join(sorted(several))}: {code}" for code, several in names.items() if len(several) > 1]
    return finding("folders-joined", "Folders of several names are one diagnosis", "read as one", items)


def _lesion_ids(keys: Sequence[str], ids: Sequence[str], dx: Sequence[str]) -> list[str]:
    """A lesion of its own for each image, but one for the copies of a picture that have its diagnosis: the first one's id."""
    first: dict[tuple[str, str], str] = {}
    return [first.setdefault(key, image_id) for key, image_id in zip(zip(keys, dx, strict=True), ids, strict=True)]


def _additions_found(names: Sequence[str], keys: Sequence[str], ids: Sequence[str]) -> list[Finding]:
    """Say which images have another one's name and an addition, and are joined with none."""
    count = Counter(keys)
    alone = [image_id for image_id, key, has in zip(ids, keys, extended(names), strict=True) if has and count[key] == 1]
    decision = (
        "each counts as a lesion of its own, since a name without digits tells no picture: if they are copies, take them out, "
        "or give a table whose lesion_id joins them"
    )
    return finding("image-derived", "An image has another one's name and an addition", decision, alone)


def _parts_found(inner: Sequence[Path]) -> list[Finding]:
    """Say that folders named train or test are no parts of a split."""
    parts = sorted({name for path in inner for name in path.parts[:-2] if _PART.match(name)})
    decision = (
        "not taken for parts: their images are put together; to keep them apart, give --split official, or --split FILE.csv "
        "(image_id, part)"
    )
    return finding("folders-parts", "A folder is named as a part of a split", decision, parts)
