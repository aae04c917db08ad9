"""How much faster `decode_images` is than a plain Pillow loop, on 2 threads: `python benchmarks/decoding.py [--data DIR]`.

The plain loop is `np.asarray(Image.open(path).convert("RGB").resize((224, 224)))`. Both are timed in turns in this process
and the best turn of each counts. `decode_images` also hashes every file, takes the means and writes the pixels to the disk.
What the machine itself gains by a second thread (SHA-256 over memory, which needs no Python) is printed beside it: no ratio
for 224-px files can exceed it, and where others use the cores it may be near 1.
"""

import argparse
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from lesionlab.data.pixels import decode_images

SIDE = 224
WORKERS = 2


def write_generated(folder: Path, n: int, width: int, height: int) -> list[Path]:
    """Write n JPEGs of a blob on noisy skin, as large in bytes as a dermatoscopic image of that size."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width]
    blob = np.hypot(rows - height / 2, columns - width / 2) < height / 4
    paths = []
    for number in range(n):
        skin = np.array([220, 160, 150]) - 90 * blob[..., None] + rng.normal(0, 6, (height, width, 1))
        paths.append(folder / f"{width}x{height}_{number:05d}.jpg")
        Image.fromarray(np.clip(skin, 0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def plain(paths: list[Path]) -> None:
    """Decode as a notebook does."""
    for path in paths:
        np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE)))


def ours(paths: list[Path], cache_dir: Path) -> None:
    """Decode through an empty cache."""
    shutil.rmtree(cache_dir, ignore_errors=True)
    images = [(path.stem, str(path)) for path in paths]
    decode_images(images, height=SIDE, width=SIDE, crop="centre", cache_dir=cache_dir, workers=WORKERS)


def machine_gain() -> float:
    """Return how many times faster two threads hash memory than one: 2 on free cores."""
    data = bytes(50_000_000)

    def hashes(threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            return seconds(lambda: list(pool.map(lambda _: hashlib.sha256(data).digest(), range(8))))

    return min(hashes(1) for _ in range(3)) / min(hashes(WORKERS) for _ in range(3))


def compare(name: str, paths: list[Path], folder: Path, turns: int) -> None:
    """Print one line."""
    times = [(seconds(lambda: plain(paths)), seconds(lambda: ours(paths, folder / "cache"))) for _ in range(turns)]
    loop, cache = (min(column) / len(paths) * 1000 for column in zip(*times, strict=True))
    print(
        f"{name:24} {len(paths):5} files  plain {loop:5.2f} ms  decode_images {cache:5.2f} ms  ratio {loop / cache:.2f}"
    )


def main() -> None:
    """Compare on generated files, or on the first files of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder of images, searched for *.jpg; generated when left out")
    parser.add_argument("--n", type=int, default=1000, help="files of each size")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"a second thread gains {machine_gain():.2f} on this machine now")
        if options.data:
            compare(options.data.name, sorted(options.data.rglob("*.jpg"))[: options.n], folder, options.turns)
        else:
            compare("generated 224 x 224", write_generated(folder, options.n, 224, 224), folder, options.turns)
        compare("generated 600 x 450", write_generated(folder, options.n // 2, 600, 450), folder, options.turns)


if __name__ == "__main__":
    main()
