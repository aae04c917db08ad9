"""How much faster `decode_images` is than a plain Pillow loop, on 2 threads: `python benchmarks/decoding.py [--data DIR]`.

The plain loop is `np.asarray(Image.open(path).convert("RGB").resize((224, 224)))`. Both are timed in turns in this process
and the best turn of each counts. `decode_images` also hashes every file, takes the means and writes the pixels to the disk.
What the machine itself gains by a second thread (SHA-256 over memory, which needs no Python) is printed beside it: no ratio
for 224-px files can exceed it, and where others use the cores it may be near 1.

Beside it, in turns too: the decoding of whole JPEGs alone by Pillow (`np.asarray(Image.open(...).convert("RGB"))`) and as
lesionlab does it (`lesionlab.data.jpeg`), both on 2 threads, pixels compared; and with `--before SRC`, the `src` folder of
another checkout, its `decode_images`, each in a process of its own.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
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


def by_pillow(data: bytes) -> np.ndarray:
    """Decode a JPEG in full, RGB, as notebooks do."""
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def by_turbo(data: bytes) -> np.ndarray:
    """Decode a JPEG in full, RGB, as lesionlab does."""
    from lesionlab.data import jpeg  # absent from the checkout that `--before` names

    pixels = jpeg.pixels_of(data, "RGB")
    assert pixels is not None
    return pixels


def compare_decoders(name: str, paths: list[Path], turns: int) -> None:
    """Print one line on the decoding alone, out of memory."""
    files = [path.read_bytes() for path in paths]
    assert all(np.array_equal(by_pillow(data), by_turbo(data)) for data in files), "other pixels than Pillow's"

    def every(decode: Callable[[bytes], object]) -> float:
        blocks = [files[start : start + 16] for start in range(0, len(files), 16)]
        with ThreadPoolExecutor(WORKERS) as pool:
            return seconds(lambda: list(pool.map(lambda block: [decode(data) for data in block].clear(), blocks)))

    times = [(every(by_pillow), every(by_turbo)) for _ in range(turns)]
    pillow, turbo = (min(column) / len(paths) * 1000 for column in zip(*times, strict=True))
    print(
        f"{name:24} {len(paths):5} files  Pillow {pillow:5.2f} ms  libjpeg-turbo {turbo:5.2f} ms  ratio {pillow / turbo:.2f}"
    )


def compare_checkouts(name: str, paths: list[Path], before: Path, folder: Path, turns: int) -> None:
    """Print one line on `decode_images` of two checkouts, in turns."""
    listed = folder / "files.txt"
    listed.write_text("\n".join(map(str, paths)), encoding="utf-8")
    sources = (before, Path(__file__).parents[1] / "src")
    times = [[time_of(source, listed) for source in sources] for _ in range(turns)]
    then, now = (min(column) / len(paths) * 1000 for column in zip(*times, strict=True))
    print(f"{name:24} {len(paths):5} files  before {then:5.2f} ms  now {now:5.2f} ms  ratio {then / now:.2f}")


def time_of(source: Path, listed: Path) -> float:
    """Seconds of `decode_images` of a checkout over the files of a list: the second of two calls in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(source)}
    command = [sys.executable, __file__, "--listed", str(listed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


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
    parser.add_argument(
        "--before", type=Path, metavar="SRC", help="the src folder of another checkout, to compare with"
    )
    parser.add_argument("--listed", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listed:
        paths = [Path(line) for line in options.listed.read_text(encoding="utf-8").splitlines()]
        with tempfile.TemporaryDirectory() as name:
            print([seconds(lambda: ours(paths, Path(name) / "cache")) for _ in range(2)][1])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"a second thread gains {machine_gain():.2f} on this machine now")
        kinds = [("generated 224 x 224", write_generated(folder, options.n, 224, 224))]
        if options.data:
            kinds = [(options.data.name, sorted(options.data.rglob("*.jpg"))[: options.n])]
        kinds.append(("generated 600 x 450", write_generated(folder, options.n // 2, 600, 450)))
        for kind, paths in kinds:
            compare(kind, paths, folder, options.turns)
            compare_decoders(kind, paths, options.turns)
            if options.before:
                compare_checkouts(kind, paths, options.before, folder, options.turns)


if __name__ == "__main__":
    main()
