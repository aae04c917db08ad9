"""Image files in, one memory-mapped array of their pixels out: every file is decoded once, then never again.

An entry of the cache is a folder with `pixels.npy` (uint8, (n, height, width, 3)) and `facts.csv` (a row per image). It is
named by a hash over the contents of the files in order, the size, the crop and `VERSION`: changed data give another
entry, the same data in another place the same one. An entry is built in a temporary folder and renamed when whole, so that
a process killed at any moment leaves nothing that loads.

Rows are written to the file, not through a memory map: the process stays small, and a full disk is an error, not the
signal that kills a process writing to a map.
"""

import errno
import hashlib
import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import IO, NamedTuple

import numpy as np
import pandas as pd

from lesionlab.data.images import ImageError, check_request, read_drafted, read_file
from lesionlab.environment import n_cores
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.progress import track

VERSION = 4  # to be raised when the same file comes to give other pixels
BLOCK = 16  # images a thread takes at a time: 2.4 MB at 224 px
STALE_SECONDS = 24 * 3600
_TEMPORARY = ".building-"


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


class _File(NamedTuple):
    path: str
    sha256: str
    error: str


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
    files: list[_File]
    height: int
    width: int
    crop: str

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.files), self.height, self.width, 3)

    @property
    def key(self) -> str:
        lines = [f"{VERSION} {self.height} {self.width} {self.crop}"]
        lines += [file.sha256 or f"- {file.error}" for file in self.files]
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
        LesionlabError: a file changed while it was being read.
        OSError: the disk is full.
    """
    check_request(height, width, crop)
    cache_dir, paths = Path(cache_dir), [str(path) for _, path in images]
    if not paths:
        raise UsageError("There are no images to decode: the list is empty.")
    threads = workers or n_cores()
    request = _Request(_hashed(paths, threads), height, width, crop)
    entry = cache_dir / request.key
    cached = _loaded(entry, request)
    if cached is None:
        with _building(cache_dir) as folder:
            _decode_into(folder, request, threads)
            cached = _moved(folder, entry, request)
    cached.facts.insert(0, "image_id", [image_id for image_id, _ in images])
    return cached


def _hashed(paths: list[str], threads: int) -> list[_File]:
    with ThreadPoolExecutor(threads) as pool:
        blocks = pool.map(lambda block: [_hash_file(path) for path in paths[block]], _blocks(len(paths)))
        return list(track(chain.from_iterable(blocks), "checking images", total=len(paths)))


def _hash_file(path: str) -> _File:
    if not path:
        return _File(path, "", "missing")
    try:
        return _File(path, hashlib.sha256(read_file(Path(path))).hexdigest(), "")
    except ImageError as error:
        return _File(path, "", error.reason)


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def _loaded(entry: Path, request: _Request) -> PixelCache | None:
    """Open an entry of the cache; None where it is absent or not whole."""
    try:
        pixels = np.load(entry / "pixels.npy", mmap_mode="r", allow_pickle=False)
        facts = _read_facts(entry / "facts.csv")
    except (OSError, EOFError, ValueError, KeyError):  # absent, empty, cut short, of another kind
        return None
    is_whole = pixels.shape == request.shape and pixels.dtype == np.uint8
    if is_whole and list(facts["sha256"]) == [file.sha256 for file in request.files]:
        return PixelCache(pixels, facts)
    return None


def _read_facts(path: Path) -> pd.DataFrame:
    kinds = _Row.__annotations__
    means = [name for name, kind in kinds.items() if kind is float]
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={name: [""] for name in means})[list(kinds)]


def _decode_into(folder: Path, request: _Request, threads: int) -> None:
    """Write `pixels.npy` and `facts.csv` into `folder`, to the disk itself."""
    path = folder / "pixels.npy"
    with path.open("w+b") as handle:
        header = {"descr": "|u1", "fortran_order": False, "shape": request.shape}
        np.lib.format.write_array_header_1_0(handle, header)
        offset = handle.tell()
        handle.truncate(offset + math.prod(request.shape))  # zeros, where an image is not read
        decode = partial(_decode_block, request, handle, offset, Lock())
        pool = ThreadPoolExecutor(threads)
        try:
            blocks = pool.map(decode, _blocks(len(request.files)))
            rows = list(track(chain.from_iterable(blocks), "decoding images", total=len(request.files)))
        finally:
            pool.shutdown(cancel_futures=True)
        handle.flush()
        os.fsync(handle.fileno())
    with (folder / "facts.csv").open("w", encoding="utf-8", newline="") as facts:
        pd.DataFrame(rows).to_csv(facts, index=False)
        facts.flush()
        os.fsync(facts.fileno())


def _decode_block(request: _Request, handle: IO[bytes], offset: int, lock: Lock, block: slice) -> list[_Row]:
    """Decode some files and write each one's pixels to its place; a file that is not read leaves its place as it is."""
    rows = []
    for number in range(block.start, block.stop):
        pixels, row = _decode_file(request.files[number], request)
        if pixels is not None:
            with lock:
                handle.seek(offset + number * pixels.nbytes)
                handle.write(pixels.data)
        rows.append(row)
    return rows


def _decode_file(file: _File, request: _Request) -> tuple[np.ndarray | None, _Row]:
    """Decode a file: its pixels, (height, width, 3), and its facts."""
    if file.error:
        return None, _Row(file.sha256, error=file.error)
    try:
        data = read_file(Path(file.path))
    except ImageError as error:
        raise LesionlabError(f"{error} although it was there a moment ago: run the command again.") from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise LesionlabError(f"{file.path} changed while it was being read: run the command again.")
    try:
        pixels, facts = read_drafted(data, request.height, request.width, request.crop)
    except ImageError as error:
        return None, _Row(file.sha256, error=error.reason)
    return pixels, _Row(file.sha256, facts.width, facts.height, facts.format, facts.mode, "", *_means(pixels))


def _means(pixels: np.ndarray) -> list[float]:
    """Mean red, green and blue of (height, width, 3), 0 to 255."""
    height, width, _ = pixels.shape
    # Row by row first: sums over long contiguous runs are several times faster than over the channel axis.
    narrow = np.uint16 if 255 * height < 2**16 else np.uint32
    sums = pixels.reshape(height, -1).sum(axis=0, dtype=narrow).reshape(-1, 3).sum(axis=0, dtype=np.uint64)
    return (sums / (height * width)).tolist()


@contextmanager
def _building(cache_dir: Path) -> Iterator[Path]:
    """Give a temporary folder inside the cache, which is gone afterwards."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        _remove_stale(cache_dir)
        folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{_hostname()}-{os.getpid()}-", dir=cache_dir))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(
            f"The folder for decoded images, {cache_dir}, cannot be written ({error.strerror}): "
            "name another in the environment variable LESIONLAB_CACHE."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hostname() -> str:
    return socket.gethostname().replace("-", "_").replace("/", "_")[:64]


def _remove_stale(cache_dir: Path) -> None:
    """Remove what killed processes left: of this machine at once, of others (a shared folder) after a day."""
    for folder in cache_dir.glob(f"{_TEMPORARY}*"):
        host, pid, _ = (folder.name.removeprefix(_TEMPORARY).split("-") + ["", ""])[:3]
        with suppress(OSError):  # another process may be removing it as well
            is_old = time.time() - folder.stat().st_mtime > STALE_SECONDS
            if is_old or (host == _hostname() and not _is_running(pid)):
                shutil.rmtree(folder)


def _is_running(pid: str) -> bool:
    if os.name != "posix" or not pid.isdigit():  # on Windows os.kill(pid, 0) is no question but a kill
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _moved(folder: Path, entry: Path, request: _Request) -> PixelCache:
    """Move what was built to its place; where another process was faster, take what it built."""
    try:
        folder.rename(entry)
    except OSError:
        if (theirs := _loaded(entry, request)) is not None:
            return theirs
        shutil.rmtree(entry)  # a damaged entry
        folder.rename(entry)
    cached = _loaded(entry, request)
    if cached is None:
        raise LesionlabError(f"The decoded images in {entry} do not read back: delete that folder and run again.")
    return cached
