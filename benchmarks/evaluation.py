"""How long an evaluation takes: the statistics alone, then the whole command on images of a folder.

    python benchmarks/evaluation.py --data ../shared/ham10000 --images 1500 [--model FILE.onnx] [--robustness]

Wall-clock and processor time: on a busy machine only the second says something. Images are copied to a temporary folder, so
that nothing is in a cache.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lesionlab.data.layouts.recognise import read_collection
from lesionlab.evaluation.intervals import bootstrap
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import evaluate_part
from lesionlab.evaluation.robustness import LESIONS
from lesionlab.lifecycle.evaluate_elsewhere import evaluate
from lesionlab.taxonomy import DX, HAM10000


def main() -> None:
    """Time both and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--model", help="default: the one that comes with lesionlab")
    parser.add_argument("--robustness", action="store_true", help="that of 200 lesions as well, as a second evaluation")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    labels = rng.choice(len(DX), options.images, p=[0.08, 0.72, 0.04, 0.03, 0.1, 0.01, 0.02])
    probabilities = rng.dirichlet(np.ones(len(DX)), options.images)
    part = LabelledPredictions(labels, probabilities, np.arange(options.images), HAM10000)
    timed("bootstrap, 2,000 draws", lambda: bootstrap(part, seed=0))
    timed("every figure of a part, with intervals", lambda: evaluate_part(part, seed=0))
    with tempfile.TemporaryDirectory() as name:
        os.environ["LESIONLAB_CACHE"] = f"{name}/cache"
        copy(options.data, options.images, Path(name) / "data")
        timed(
            f"lesionlab evaluate, {options.images:,} images",
            lambda: evaluate(options.model, Path(name) / "data", Path(name) / "out"),
        )
        if options.robustness:
            timed(
                "the same with --robustness",
                lambda: evaluate(options.model, Path(name) / "data", Path(name) / "out", robustness_lesions=LESIONS),
            )


def copy(data: Path, number: int, folder: Path) -> None:
    """Copy images and their metadata, drawn at random, into a folder of HAM10000's layout."""
    table = read_collection(data).table
    table = table[table["path"] != ""].sample(number, random_state=0)
    folder.mkdir()
    for path in table["path"]:
        shutil.copy(path, folder)
    table.drop(columns="path").to_csv(folder / "HAM10000_metadata.csv", index=False)


def timed(what: str, call: Callable[[], object]) -> None:
    """Print how long a call took."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    print(f"{what:45} {time.perf_counter() - wall:7.1f} s, of the processor {time.process_time() - processor:7.1f} s")


if __name__ == "__main__":
    main()
