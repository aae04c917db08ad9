"""Image files in, one memory-mapped array of their pixels out: every file is decoded once, then never again.

An entry of the cache is a folder with `pixels.npy` (uint8, (n, height, width, 3)) and `facts.csv` (a row per image). It is
named by a hash over the contents of the files in order, the size, the crop and `VERSION`: changed data give another
entry, the same data in another place the same one. An entry is built in a temporary folder and renamed when whole, so that
a process killed at any moment leaves nothing that loads.

Where no entry has the size of the one that is asked for, files are read once, hashed and decoded from the same bytes; else
they are hashed first. Rows are written to the file, not through a memory map: the process stays small, and a full disk is an
error, not the signal that kills a process writing to a map. The disk is at work meanwhile: at 224 px it is as slow as decoding.
"""

import csv
import hashlib
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path
from threading import Event
from typing import IO, NamedTuple

import numpy as np
import pandas as pd

from lesionlab.data.building import building
from lesionlab.data.images import ImageError, check_request, read_briefly, read_file
from lesionlab.data.stored_images import MARK
from lesionlab.environment import n_cores
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.progress import track

VERSION = 4  # to be raised when the same file comes to give other pixels
BLOCK = 16  # images a thread takes at a time: 2.4 MB at 224 px
FLUSH_SECONDS = 0.1  # between two calls that have the disk write what it was given

_State = (
    tuple[int, int] | None
)  # of a file: when it was changed, in ns, and its bytes; None where it cannot be looked at


@dataclass(frozen=True)
class PixelCache:
    """The decoded images of a data set, in the order in which they were asked for.

    Attributes:
        pixels: read-only memory map, uint8 (n, height, width, 3), RGB; all zero where an image could not be read.
        facts: a row per image with image_id, sha256 (of the file), width, height (of the file, in pixels; 0 where not
            read), format, mode, error ("" or the reason), mean_r, mean_g, mean_b (0 to 255, NaN where not read).
    """

    pixels: np.ndarray
    facts: pd.DataFrame


class _Row(NamedTuple):
    sha256: str
    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    error: str = ""
    mean_r: float = np.nan
    mean_g: float = np.nan
    mean_b: float = np.nan


@dataclass(frozen=True)
class _Request:
    paths: list[str]
    height: int
    width: int
    crop: str

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.paths), self.height, self.width, 3)

    @property
    def header(self) -> bytes:
        """What stands before the pixels in a file of NumPy's."""
        written = BytesIO()
        np.lib.format.write_array_header_1_0(written, {"descr": "|u1", "fortran_order": False, "shape": self.shape})
        return written.getvalue()

    def key(self, rows: Sequence[_Row]) -> str:
        """Name the entry of files with the hashes of these rows, or with their reasons for being unread."""
        lines = [f"{VERSION} {self.height} {self.width} {self.crop}"]
        lines += [row.sha256 or f"- {row.error}" for row in rows]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def decode_images(
    images: Sequence[tuple[str, str | Path]],
    *,
    height: int,
    width: int,
    crop: str,
    cache_dir: Path | str,
    workers: int | None = None,
) -> PixelCache:
    """Decode images, or find them decoded in the cache.

    Args:
        images: image_id and path of each; the path "" stands for a missing image.
        height: of the pixels, see `read_image`.
        width: of the pixels, see `read_image`.
        crop: "centre" or "stretch", see `read_image`.
        cache_dir: folder of the cache; made where it is absent.
        workers: threads; as many as there are cores when None.

    Returns:
        The pixels and facts, a row per item of `images` in its order. An image that cannot be read has a row too.

    Raises:
        UsageError: no images, a size or crop that is not possible, a folder that cannot be written.
        LesionlabError: a file changed while images were being read.
        OSError: the disk is full.
    """
    check_request(height, width, crop)
    cache_dir, request = Path(cache_dir), _Request([str(path) for _, path in images], height, width, crop)
    if not request.paths:
        raise UsageError("There are no images to decode: the list is empty.")
    threads, cached = workers or n_cores(), None
    if _has_one_like_it(cache_dir, request):
        cached = _loaded(cache_dir, request, _hashed(request.paths, threads))
    if cached is None:
        with building(cache_dir) as folder:
            rows = _decode_into(folder, request, threads)
            cached = _moved(folder, cache_dir, request, rows)
    cached.facts.insert(0, "image_id", [image_id for image_id, _ in images])
    return cached


def _has_one_like_it(cache_dir: Path, request: _Request) -> bool:
    """Say whether an entry is as large as that of the request: if none is, nothing needs to be hashed to look for it."""
    try:
        sizes = [path.stat().st_size for path in cache_dir.glob("[!.]*/pixels.npy")]
    except OSError:  # another process removes one
        return True
    return len(request.header) + math.prod(request.shape) in sizes


def _hashed(paths: list[str], threads: int) -> list[_Row]:
    with ThreadPoolExecutor(threads) as pool:
        blocks = pool.map(lambda block: [_read_and_hash(path)[1] for path in paths[block]], _blocks(len(paths)))
        return list(track(chain.from_iterable(blocks), "checking images", total=len(paths)))


def _read_and_hash(path: str) -> tuple[bytes, _Row]:
    """Give a file's bytes and their hash, or the reason why it cannot be read."""
    if not path:
        return b"", _Row("", error="missing")
    try:
        data = read_file(Path(path))
    except ImageError as error:
        return b"", _Row("", error=error.reason)
    return data, _Row(hashlib.sha256(data).hexdigest())


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def _loaded(cache_dir: Path, request: _Request, rows: Sequence[_Row]) -> PixelCache | None:
    """Open an entry of the cache; None where it is absent or not whole."""
    entry = cache_dir / request.key(rows)
    try:
        pixels = np.load(entry / "pixels.npy", mmap_mode="r", allow_pickle=False)
        facts = _read_facts(entry / "facts.csv")
    except (OSError, EOFError, ValueError, KeyError):  # absent, empty, cut short, of another kind
        return None
    is_whole = pixels.shape == request.shape and pixels.dtype == np.uint8
    return PixelCache(pixels, facts) if is_whole and list(facts["sha256"]) == [row.sha256 for row in rows] else None


def _read_facts(path: Path) -> pd.DataFrame:
    kinds = _Row.__annotations__
    means = [name for name, kind in kinds.items() if kind is float]
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={name: ["", "nan"] for name in means})[
        list(kinds)
    ]


def _decode_into(folder: Path, request: _Request, threads: int) -> list[_Row]:
    """Write `pixels.npy` and `facts.csv` into `folder`, to the disk itself."""
    path = folder / "pixels.npy"
    path.write_bytes(request.header)
    os.truncate(path, len(request.header) + math.prod(request.shape))  # zeros, where an image is not read
    pool = ThreadPoolExecutor(threads)
    with _flushed(path):
        try:
            blocks = pool.map(partial(_decode_block, request, path), _blocks(len(request.paths)))
            done = list(track(chain.from_iterable(blocks), "decoding images", total=len(request.paths)))
        finally:
            pool.shutdown(cancel_futures=True)
    rows = [row for row, _ in done]
    _refuse_changed(request.paths, [state for _, state in done])
    with (folder / "facts.csv").open("w", encoding="utf-8", newline="") as facts:
        writer = csv.writer(facts, lineterminator="\n")
        writer.writerows([_Row._fields, *rows])
        facts.flush()
        os.fsync(facts.fileno())
    return rows


@contextmanager
def _flushed(path: Path) -> Iterator[None]:
    """Have the disk write what the file is given meanwhile, and at the end wait until all of it is there."""
    is_done = Event()
    with path.open("r+b") as handle, ThreadPoolExecutor(1) as pool:

        def flush() -> None:
            while not is_done.wait(FLUSH_SECONDS):
                os.fsync(handle.fileno())

        flushing = pool.submit(flush)
        try:
            yield
        finally:
            is_done.set()
        flushing.result()  # an error is told once, to whoever asks first
        os.fsync(handle.fileno())


def _decode_block(request: _Request, path: Path, block: slice) -> list[tuple[_Row, _State]]:
    """Decode some files and write each one's pixels to its place; a file that is not read leaves its place as it is."""
    rows, start = [], len(request.header)
    with path.open("r+b", buffering=0) as handle:
        for number in range(block.start, block.stop):
            state = _state(request.paths[number])
            pixels, row = _decode_file(request.paths[number], request)
            if pixels is not None:
                handle.seek(start + number * pixels.nbytes)
                _write(handle, pixels.data.cast("B"))
            rows.append((row, state))
    return rows


def _write(handle: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[handle.write(data) :]


def _decode_file(path: str, request: _Request) -> tuple[np.ndarray | None, _Row]:
    """Decode a file: its pixels, (height, width, 3), and its facts."""
    data, row = _read_and_hash(path)
    if row.error:
        return None, row
    try:
        pixels, facts = read_briefly(data, request.height, request.width, request.crop)
    except ImageError as error:
        return None, row._replace(error=error.reason)
    return pixels, _Row(row.sha256, facts.width, facts.height, facts.format, facts.mode, "", *_means(pixels))


def _state(path: str) -> _State:
    try:
        status = os.stat(path.partition(MARK)[0])
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return status.st_mtime_ns, status.st_size


def _refuse_changed(paths: list[str], states: list[_State]) -> None:
    """Refuse files that are other than when they were read: one may have been read half written.

    Raises:
        LesionlabError: a file was changed, has come or is gone.
    """
    for path, state in zip(paths, states, strict=True):
        if _state(path) != state:
            raise LesionlabError(f"{path} changed or went while images were being read: run the command again.")


def _means(pixels: np.ndarray) -> list[float]:
    """Mean red, green and blue of (height, width, 3), 0 to 255."""
    height, width, _ = pixels.shape
    # Row by row first: sums over long contiguous runs are several times faster than over the channel axis.
    narrow = np.uint16 if 255 * height < 2**16 else np.uint32
    sums = pixels.reshape(height, -1).sum(axis=0, dtype=narrow).reshape(-1, 3).sum(axis=0, dtype=np.uint64)
    return (sums / (height * width)).tolist()


def _moved(folder: Path, cache_dir: Path, request: _Request, rows: Sequence[_Row]) -> PixelCache:
    """Move what was built to its place; where another process was faster, take what it built."""
    entry = cache_dir / request.key(rows)
    try:
        folder.rename(entry)
    except OSError:
        if (theirs := _loaded(cache_dir, request, rows)) is not None:
            return theirs
        shutil.rmtree(entry)  # a damaged entry
        folder.rename(entry)
    cached = _loaded(cache_dir, request, rows)
    if cached is None:
        raise LesionlabError(f"The decoded images in {entry} do not read back: delete that folder and run again.")
    return cached
