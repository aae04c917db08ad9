"""Thousands of mutated files over every decoder: pixels or a named error, in a process that lives.

    python benchmarks/fuzz_images.py [--files 10000] [--seed 0]

The files of `tests/pictures.py` (JPEG, PNG, GIF, TIFF, WebP, AVIF, HEIC, DICOM) and BMP, mutated as `fuzz_serve.py` does, are
read in a process of its own. Printed are how many were read and refused by format, the slowest and the memory that was added.
Exits with 1 if the process ended, anything but `ImageError` was raised, or a file took over 2 s.
"""

import argparse
import random
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzz_serve import MOST_SECONDS, mutate
from lesionlab.data.images import ImageError, read_image
from lesionlab.progress import track
from pictures import SIZE, cases
from test_images import picture, saved


def main() -> None:
    """Read in a process of its own, and say how that ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--here", action="store_true", help="read in this process")
    options = parser.parse_args()
    if options.here:
        sys.exit(read_all(options.files, options.seed))
    command = [sys.executable, __file__, "--here", "--files", str(options.files), "--seed", str(options.seed)]
    code = subprocess.run(command, check=False).returncode
    print(f"the process {'ended by itself' if code >= 0 else f'was killed by signal {-code}'}, with {code}")
    sys.exit(code != 0)


def read_all(n: int, seed: int) -> int:
    """Read n mutated files; 1 where one took too long."""
    warnings.simplefilter("ignore")
    rng = random.Random(seed)
    originals = {name: case.data for name, case in cases().items()} | {"plain.bmp": saved(picture(*SIZE), "BMP")}
    by_suffix: dict[str, list[bytes]] = {}
    for name, data in originals.items():
        by_suffix.setdefault(name.rpartition(".")[2], []).append(data)
    found: Counter[tuple[str, str]] = Counter()
    slowest, before = (0.0, ""), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in track(range(n), "mutated files", n):
        kind = sorted(by_suffix)[number % len(by_suffix)]
        data = mutate(rng, rng.choice(by_suffix[kind]), list(originals.values()))
        start = time.perf_counter()
        try:
            read_image(data, 64, 64, "centre")
            found[kind, "read"] += 1
        except ImageError:
            found[kind, "refused"] += 1
        slowest = max(slowest, (time.perf_counter() - start, kind))
    for kind in sorted(by_suffix):
        print(f"{kind:5} read {found[kind, 'read']:5}  refused {found[kind, 'refused']:5}")
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{n} files; slowest {slowest[0]:.2f} s ({slowest[1]}); {added:.0f} MiB of memory added")
    return int(slowest[0] > MOST_SECONDS)


if __name__ == "__main__":
    main()
