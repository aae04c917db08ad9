"""What adapting costs beside embedding: seconds of `lesionlab adapt` and `lesionlab embed` for the same labelled images, in turn.

    python benchmarks/adapt_time.py [--data ../shared/milk10k] [--n 1000] [--rounds 3]

Each command is a process of its own with an empty cache; one follows the other, so that other work on the machine falls on both.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lesionlab.data.layouts.recognise import read_collection
from lesionlab.progress import track


def main() -> None:
    """Print the seconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/milk10k"))
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = drawn(options.data, options.n, Path(folder, "images"))
        times: dict[str, list[float]] = {"embed": [], "adapt": []}
        for _ in range(options.rounds):
            times["embed"].append(seconds(folder, "embed", str(images), "--out", "features.npz"))
            adapt = ("adapt", "--data", str(images), "--taxonomy", "milk10k", "--out", "adapted.onnx")
            times["adapt"].append(seconds(folder, *adapt))
    ratios = [a / e for a, e in zip(times["adapt"], times["embed"], strict=True)]
    for name, values in times.items():
        print(f"{name:6} {statistics.median(values):6.1f} s ({min(values):.1f} to {max(values):.1f})")
    print(f"adapt takes {statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})")


def drawn(data: Path, n: int, folder: Path) -> Path:
    """Copy n images, drawn at random, into a folder for each diagnosis."""
    table = read_collection(data).table.sample(n, random_state=0)
    for dx, path in track(list(zip(table["dx"], table["path"], strict=True)), "images"):
        (folder / dx).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / dx)
    return folder


def seconds(folder: str, *command: str) -> float:
    """Run a command of lesionlab in a folder, with an empty cache, and give its time."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "lesionlab", *command],
            cwd=folder,
            env=os.environ | {"LESIONLAB_CACHE": cache},
            capture_output=True,
            text=True,
            check=False,
        )
        taken = time.perf_counter() - start
    for name in ("features.npz", "adapted.onnx"):
        Path(folder, name).unlink(missing_ok=True)
    if done.returncode:
        sys.exit(done.stderr)
    return taken


if __name__ == "__main__":
    main()
