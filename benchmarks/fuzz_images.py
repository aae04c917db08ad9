"""Thousands of mutated files over every decoder: pixels or a named error, in a process that lives.

    python benchmarks/fuzz_images.py [--files 10000] [--seed 0]

The files of `fuzz_files.py` (JPEG, PNG, GIF, TIFF, WebP, AVIF, HEIC, DICOM, BMP), mutated, are read in a process of its own.
Printed are how many were read and refused by format, the slowest, in seconds of the processor and on the clock, and the memory
that was added. Exits with 1 if the process ended, anything but `ImageError` was raised, or a file took over 2 s of the
processor or 30 on the clock, which on a busy machine says little; `--keep` names a file for what was being read then.
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

from fuzz_files import mutate, originals
from lesionlab.data.images import ImageError, read_image
from lesionlab.progress import track

MOST_SECONDS, MOST_ON_CLOCK = 2.0, 30.0


def main() -> None:
    """Read in a process of its own, and say how that ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--here", action="store_true", help="read in this process")
    parser.add_argument("--keep", type=Path, help="write each file here before it is read")
    options = parser.parse_args()
    if options.here:
        sys.exit(read_all(options.files, options.seed, options.keep))
    command = [sys.executable, __file__, "--here", *sys.argv[1:]]
    code = subprocess.run(command, check=False).returncode
    print(f"the process {'ended by itself' if code >= 0 else f'was killed by signal {-code}'}, with {code}")
    sys.exit(code != 0)


def read_all(n: int, seed: int, keep: Path | None) -> int:
    """Read n mutated files; 1 where one took too long."""
    warnings.simplefilter("ignore")
    rng, files = random.Random(seed), originals()
    kinds, all_files = sorted(files), [data for several in files.values() for data in several]
    found: Counter[tuple[str, str]] = Counter()
    slowest, on_clock, before = (0.0, ""), 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in track(range(n), "mutated files", n):
        kind = kinds[number % len(kinds)]
        data = mutate(rng, rng.choice(files[kind]), all_files)
        if keep:
            keep.write_bytes(data)
        busy, started = time.process_time(), time.perf_counter()
        found[kind, result_of(data)] += 1
        slowest = max(slowest, (time.process_time() - busy, kind))
        on_clock = max(on_clock, time.perf_counter() - started)
    for kind in kinds:
        print(
            f"{kind:5} of {len(files[kind]):3} files: read {found[kind, 'read']:5}  refused {found[kind, 'refused']:5}"
        )
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{n} files: read {sum(found[kind, 'read'] for kind in kinds)}; ", end="")
    print(f"slowest {slowest[0]:.2f} s of the processor ({slowest[1]}), {on_clock:.2f} s on the clock; ", end="")
    print(f"{added:.0f} MiB of memory added")
    return int(slowest[0] > MOST_SECONDS or on_clock > MOST_ON_CLOCK)


def result_of(data: bytes) -> str:
    """Say whether a file was read or refused."""
    try:
        read_image(data, 64, 64, "centre")
    except ImageError:
        return "refused"
    return "read"


if __name__ == "__main__":
    main()
