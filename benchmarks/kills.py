"""SIGKILL at random moments of a run: nothing corrupt may be left, and every run must end with the numbers of an unbroken one.

Runs are killed five times each at moments drawn over the length of a whole run, then left to finish. After every kill each
visible file of the run directory is read.

    python benchmarks/kills.py [--kills 50]
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.data.phantom.write import write_phantoms
from lesionlab.recipe import read_recipe

KILLS_PER_RUN = 5


def read_everything(folder: Path) -> None:
    """Read every visible file of a run directory; raises where one is corrupt."""
    for path in folder.rglob("*"):
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            pd.read_csv(path)
        elif path.suffix in (".npz", ".keras"):
            with path.open("rb") as file:
                if path.suffix == ".npz":
                    with np.load(file) as arrays:
                        [arrays[name] for name in arrays.files]
                elif file.read(2) != b"PK":
                    raise ValueError(f"{path} is no archive")


def numbers(folder: Path) -> tuple[bytes, ...]:
    """What must be equal, byte for byte."""
    return tuple((folder / name).read_bytes() for name in ("splits.csv", "predictions.csv", "metrics.json"))


def main() -> None:
    """Print how many kills were survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = write_phantoms(work / "data", lesions=80, size_px=(60, 80))
        recipe = read_recipe("quick").with_changes("image", height=24, width=24).with_changes("optimizer", epochs=8)
        (work / "tiny.toml").write_text(recipe.to_toml())
        base = [
            sys.executable,
            "-m",
            "lesionlab",
            "run",
            "--data",
            str(data),
            "--recipe",
            str(work / "tiny.toml"),
            "--out",
        ]
        started = time.monotonic()
        subprocess.run([*base, str(work / "whole")], check=True, stdout=subprocess.DEVNULL)
        length = time.monotonic() - started
        expected = numbers(work / "whole")
        killed, equal, runs = 0, 0, 0
        while killed < options.kills:
            out = work / f"run{runs}"
            for _ in range(min(KILLS_PER_RUN, options.kills - killed)):
                process = subprocess.Popen([*base, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(moments.uniform(0.0, 1.0) * length)
                process.send_signal(signal.SIGKILL)
                process.wait()
                read_everything(out)
                killed += 1
            subprocess.run([*base, str(out)], check=True, stdout=subprocess.DEVNULL)
            equal += numbers(out) == expected
            runs += 1
            print(f"{killed} kills, {equal} of {runs} runs ended with the numbers of the unbroken one", flush=True)


if __name__ == "__main__":
    main()
