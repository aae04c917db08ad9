"""Pairs of images of one lesion, found once: a run, its folds, a check and an evaluation of the same files share them.

In: a table of files, what is known of their contents, and the cache's folder. Out: what `point_matches` finds. An entry is
named by the contents in their order and by `VERSION`; one that cannot be read, or written, is found anew.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from lesionlab.data.point_matches import PointMatch, point_matches
from lesionlab.files import replacing

VERSION = 1  # to be raised when the same files come to give other pairs


class _Row(msgspec.Struct, frozen=True, array_like=True):
    a: int
    b: int
    points: int
    scale: float
    is_mirrored: bool


def known_matches(
    paths: Sequence[str], image_ids: Sequence[str], contents: Sequence[str], cache_dir: Path
) -> list[PointMatch]:
    """Find the pairs of images that show the same lesion, or read what an earlier command found in the same files.

    Args:
        paths: of the n files; "" stands for an image to be left out.
        image_ids: of the n images, in order.
        contents: SHA-256 of each file.
        cache_dir: where found pairs are kept.
    """
    file = _file(paths, contents, cache_dir)
    if (kept := _kept(file, image_ids)) is not None:
        return kept
    pairs = point_matches(paths, image_ids)
    place = {image_id: number for number, image_id in enumerate(image_ids)}
    rows = [_Row(place[p.image_id_a], place[p.image_id_b], p.points, float(p.scale), p.is_mirrored) for p in pairs]
    with suppress(OSError):  # found anew next time
        cache_dir.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_bytes(msgspec.json.encode(rows))
    return pairs


def kept_matches(
    paths: Sequence[str], image_ids: Sequence[str], contents: Sequence[str], cache_dir: Path
) -> list[PointMatch] | None:
    """Read what an earlier command found in the same files, as `known_matches`; None where none has looked."""
    return _kept(_file(paths, contents, cache_dir), image_ids)


def _file(paths: Sequence[str], contents: Sequence[str], cache_dir: Path) -> Path:
    lines = [digest if path else "-" for path, digest in zip(paths, contents, strict=True)]
    name = hashlib.sha256("\n".join([str(VERSION), *lines]).encode()).hexdigest()[:32]
    return cache_dir / f"{name}.pairs.json"


def _kept(file: Path, image_ids: Sequence[str]) -> list[PointMatch] | None:
    try:
        rows = msgspec.json.decode(file.read_bytes(), type=list[_Row])
    except (OSError, msgspec.DecodeError):
        return None
    if not all(0 <= row.a < len(image_ids) and 0 <= row.b < len(image_ids) for row in rows):
        return None
    return [PointMatch(image_ids[row.a], image_ids[row.b], row.points, row.scale, row.is_mirrored) for row in rows]
