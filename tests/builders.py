"""What several test files build: pictures, tables of ground truth, labelled pixels, and changes of a run's files."""

import json
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lesionlab.taxonomy import HAM10000


def patches(n: int, side: int, *, grain: int = 4, below: int = 256) -> np.ndarray:
    """Random pictures of squares of `grain` pixels in one colour each: uint8 (n, side, side, 3)."""
    coarse = np.random.default_rng(0).integers(0, below, (n, side // grain, side // grain, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((1, grain, grain, 1), np.uint8))


def pixels_and_labels(n: int = 84, side: int = 16, *, grain: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Pictures that grow lighter with their label, which can be learnt: uint8 (n, side, side, 3), and integers 0 to 6 (n,)."""
    labels = np.arange(n) % 7
    return patches(n, side, grain=grain, below=120) + (labels * 19).astype(np.uint8)[:, None, None, None], labels


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """A picture as a file's bytes."""
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int = 64, height: int = 48, *, seed: int = 0) -> bytes:
    """A PNG file of noise."""
    return saved(Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)))


def draw(folder: Path, *names: str, suffix: str = ".png") -> None:
    """Small pictures of these names in a folder, each in a colour of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (20, 16), (200, 10 * number, 90)).save(folder / f"{name}{suffix}")


def photographs(folder: Path, names: Iterable[str], *, seed: int) -> None:
    """Pictures of 80 x 60 px of these names, noise between two random shades, so that their predictions differ."""
    random = np.random.default_rng(seed)
    for name in names:
        low, high = sorted(random.integers(0, 256, 2))
        pixels = random.integers(low, high + 1, (60, 80, 3)).astype(np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """A text file, its line breaks as they stand, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def one_hot(*rows: tuple[str, str]) -> str:
    """Ground truth in ISIC's columns, from image ids and their diagnoses."""
    lines = [",".join(["image", *HAM10000.columns])]
    lines += [",".join([name, *("1.0" if dx == marked else "0.0" for dx in HAM10000.dx)]) for name, marked in rows]
    return "\n".join(lines) + "\n"


def change_json(path: Path, edit: Callable[[Any], object]) -> None:
    """Edit what a JSON file holds, in place."""
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    path.write_text(json.dumps(value), encoding="utf-8")
