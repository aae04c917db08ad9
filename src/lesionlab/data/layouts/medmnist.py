"""DermaMNIST's `.npz` files: HAM10000 as small arrays; they become PNG files in the cache, read like any other.

The arrays are read image by image out of the archive: at 224 px they are 1.5 GB. Only the header of an array is believed
as to its type, which must be plain bytes or integers, so that nothing is unpickled.
"""

import hashlib
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from lesionlab.environment import default_cache_dir
from lesionlab.errors import UsageError
from lesionlab.progress import track

# MedMNIST's order of labels (Yang et al., Sci. Data 10, 41, 2023).
MEDMNIST_DX = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
PARTS = ("train", "val", "test")
_RESULTS = re.compile(r"^dermamnist(?:_\d+)?_(train|val|test)", re.IGNORECASE)
_PARTS = {"train": "train", "val": "validation", "test": "test"}
MAX_IMAGES = 100_000
MAX_SIDE_PX = 1024
_STALE_SECONDS = 24 * 3600


class _Header(NamedTuple):
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype


def read_medmnist(path: Path) -> pd.DataFrame:
    """Read a DermaMNIST file; its images are written as PNG files into a folder of the cache, once.

    Returns:
        A row per image: `image_id`, `lesion_id` (the same, since MedMNIST drops the lesions), `dx`, `dataset`
        (`dermamnist_train`, `_val` or `_test`), `official_part`, `path`.

    Raises:
        UsageError: not such a file.
        OSError: the cache cannot be written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            labels = {part: _read_labels(archive, part, path) for part in PARTS}
            folder = _unpacked(archive, path, {part: len(of_part) for part, of_part in labels.items()})
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is not a DermaMNIST file ({error}): download it again.") from error
    rows = []
    for part, of_part in labels.items():
        for number, label in enumerate(of_part):
            name = _name(part, number)
            file = str((folder / f"{name}.png").resolve())
            rows.append((name, name, MEDMNIST_DX[label], f"dermamnist_{part}", _PARTS[part], file))
    return pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx", "dataset", "official_part", "path"])


def image_ids_of_results(path: Path, numbers: Sequence[str]) -> list[str]:
    """Name the rows of a file of results as MedMNIST's own evaluator writes it: without header, each row by its number.

    Args:
        path: `dermamnist_test_[AUC]…@run.csv`, `dermamnist_224_test_…`: its name says the part.
        numbers: the first cell of each row, from 0.

    Raises:
        UsageError: the name says no part, or a number is none.

    """
    part = _RESULTS.search(path.name)
    if not part:
        raise UsageError(
            f"{path} has no header. If these are results as MedMNIST writes them, its name should begin with the part: "
            "dermamnist_train, dermamnist_val or dermamnist_test. Else put a header in: image,MEL,NV,BCC,AKIEC,BKL,DF,VASC."
        )
    wrong = next((number for number in numbers if not number.isdecimal()), None)
    if wrong is not None:
        raise UsageError(
            f"{path}: {wrong!r} is no number of an image, which MedMNIST's results have in the first column."
        )
    return [_name(part[1].lower(), int(number)) for number in numbers]


def _read_labels(archive: zipfile.ZipFile, part: str, path: Path) -> list[int]:
    with archive.open(f"{part}_labels.npy") as file:
        shape, _, dtype = _read_header(file)
        number = int(np.prod(shape))
        if dtype.kind not in "ui" or number > MAX_IMAGES or shape not in ((number,), (number, 1)):
            raise UsageError(
                f"{path}: {part}_labels is {dtype} {shape}; expected integers (n, 1), at most {MAX_IMAGES}."
            )
        labels = np.frombuffer(_exactly(file, number * dtype.itemsize), dtype)
    wrong = labels[(labels < 0) | (labels >= len(MEDMNIST_DX))]
    if len(wrong):
        raise UsageError(f"{path}: {part}_labels holds {wrong[0]}; DermaMNIST's labels are 0 to 6.")
    return labels.tolist()


def _unpacked(archive: zipfile.ZipFile, path: Path, numbers: dict[str, int]) -> Path:
    """Give the folder of PNG files; it appears whole or not at all, and is named by the archive's contents."""
    with path.open("rb") as file:
        folder = default_cache_dir() / f"medmnist-{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{folder.name}.*"):  # by a process that was killed
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        for part, number in numbers.items():
            images = _read_images(archive, part, number, path)
            for index, pixels in enumerate(track(images, f"unpacking {part}", total=number)):
                Image.fromarray(pixels).save(temporary / f"{_name(part, index)}.png", compress_level=1)
        if not folder.is_dir():  # another process may have been faster
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _read_images(archive: zipfile.ZipFile, part: str, number: int, path: Path) -> Iterator[np.ndarray]:
    """Yield RGB uint8 images (height, width, 3)."""
    with archive.open(f"{part}_images.npy") as file:
        shape, is_fortran, dtype = _read_header(file)
        is_good = dtype == np.uint8 and not is_fortran and len(shape) == 4 and shape[0] == number and shape[3] == 3
        if not is_good or not 1 <= min(shape[1:3], default=0) <= max(shape[1:3], default=0) <= MAX_SIDE_PX:
            raise UsageError(
                f"{path}: {part}_images is {dtype} {shape}; expected uint8 ({number}, height, width, 3), RGB, one image "
                "a label."
            )
        height, width = shape[1:3]
        for _ in range(number):
            yield np.frombuffer(_exactly(file, height * width * 3), np.uint8).reshape(height, width, 3)


def _read_header(file: IO[bytes]) -> _Header:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in read:
        raise ValueError(f"array format {version}")
    return _Header(*read[version](file))


def _exactly(file: IO[bytes], number: int) -> bytes:
    data = file.read(number)
    if len(data) != number:
        raise EOFError("an array is cut short")
    return data


def _name(part: str, number: int) -> str:
    return f"dermamnist_{part}_{number:05}"
