"""What prediction costs: cold start, a folder of files, memory, and int8 beside float32.

    python benchmarks/predict.py --run RUN [--data ../shared/ham10000/HAM10000_images] [--n 2000] [--int8 FILE.onnx]
    python benchmarks/predict.py [--data ...] [--n 2000]        # the packaged model beside its int8 form

RUN is a run directory with `model.onnx` and `model.keras`, the same network. Whatever is compared runs in turn, several
times, and the ratio is of the medians, so that other work on the machine falls on both sides.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from lesionlab.data.images import read_image
from lesionlab.environment import n_cores
from lesionlab.inference.bundle import packaged_models
from lesionlab.inference.model import Model, load_model

KERAS = """
import sys, time
import numpy as np
from PIL import Image
import keras
network = keras.saving.load_model(sys.argv[1])
height, width = network.input_shape[1:3]
def predict(path):
    pixels = np.asarray(Image.open(path).convert("RGB").resize((width, height)), np.float32)
    return network.predict(pixels[None], verbose=0)
predict(sys.argv[2])
start = time.perf_counter()
for path in sys.argv[3:]:
    predict(path)
print((len(sys.argv) - 3) / (time.perf_counter() - start) if len(sys.argv) > 3 else 0)
"""


def main() -> None:
    """Print one line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/ham10000/HAM10000_images"))
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--int8", type=Path)
    options = parser.parse_args()
    images = list(itertools.islice(sorted(options.data.glob("*.jpg")), options.n))
    if not images:
        sys.exit(f"no images in {options.data}: name a folder of .jpg files with --data")
    if options.run is None:
        float32, int8 = packaged_models()[:2]
        return beside_int8(float32, int8, images, options.rounds)
    memory(options.run, images)  # first: Linux counts what this process holds to the children's peak
    model = load_model(options.run / "model.onnx")
    print(f"{len(images):,} files, {model.facts.name}, {model.facts.height} x {model.facts.width} px")
    cold_start(options.run, images[0], options.rounds)
    folder(options.run, model, images, options.rounds)
    if options.int8:
        beside_int8(options.run / "model.onnx", options.int8, images, options.rounds)


def cold_start(run: Path, image: Path, rounds: int) -> None:
    """One image from a fresh process, by lesionlab and by Keras."""
    ours = [sys.executable, "-m", "lesionlab", "predict", str(image), "--model", str(run / "model.onnx"), "--json"]
    theirs = [sys.executable, "-c", KERAS, str(run / "model.keras"), str(image)]
    a, b = in_turn(rounds, lambda: seconds_of(ours), lambda: seconds_of(theirs))
    print(f"cold start: lesionlab {a:.2f} s, Keras {b:.2f} s, ratio {b / a:.1f}")


def folder(run: Path, model: Model, images: list[Path], rounds: int) -> None:
    """Images a second of the whole, of ONNX Runtime alone, of the decoder alone, and of Keras fed one by one."""
    facts = model.facts

    def decode(path: Path) -> np.ndarray:
        return read_image(path, facts.height, facts.width, facts.crop)

    def decode_all() -> None:
        with ThreadPoolExecutor(n_cores()) as pool:
            list(pool.map(decode, images))

    pixels = np.stack([decode(path) for path in images])
    sessions = {batch: onnxruntime.InferenceSession(str(run / "model.onnx")) for batch in (4, 32)}

    def bare(batch: int) -> Callable[[], None]:
        def loop() -> None:
            for at in range(0, len(pixels), batch):
                sessions[batch].run(["probabilities"], {"image": pixels[at : at + batch]})

        return loop

    sides = [lambda: exhaust(model.stream(images)), bare(4), bare(32), decode_all]
    whole, bare4, bare32, decoder = (len(images) / t for t in in_turn(rounds, *(timed(side) for side in sides)))
    slower = min(max(bare4, bare32), decoder)
    both = 1 / (1 / max(bare4, bare32) + 1 / decoder)
    print(
        f"folder, img/s: whole {whole:.0f}; ONNX Runtime {bare4:.0f} (4 at a time), {bare32:.0f} (32); decoder {decoder:.0f}"
    )
    print(
        f"  of the slower of both {whole / slower:.2f}; of both on the same cores, one after the other {whole / both:.2f}"
    )
    command = [sys.executable, "-c", KERAS, str(run / "model.keras"), *map(str, images[:200])]
    one_by_one = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"  Keras one by one {one_by_one:.0f} img/s, ratio {whole / one_by_one:.1f}")


def memory(run: Path, images: list[Path]) -> None:
    """Peak resident memory of `lesionlab predict FOLDER --out`, for few files and for all."""
    for number in (100, len(images)):
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "images").mkdir()
            for image in images[:number]:
                (Path(place) / "images" / image.name).symlink_to(image.resolve())
            command = [sys.executable, "-m", "lesionlab", "predict", f"{place}/images", "--out", f"{place}/p.csv"]
            process = subprocess.Popen([*command, "--model", str(run / "model.onnx")], stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            print(f"peak memory, {number:,} files: {usage.ru_maxrss / 1024:.0f} MiB (exit {status})")


def beside_int8(float32: Path, int8: Path, images: list[Path], rounds: int) -> None:
    """Speed and size of both models, and how many answers are the same. Accuracy: `lesionlab score` on each."""
    models = [load_model(float32), load_model(int8)]
    times = in_turn(rounds, *(timed(partial(_answer, model, images)) for model in models))
    first, second = (len(images) / t for t in times)
    answers = [[item.dx for item in model.predict(images)] for model in models]
    same = np.mean([a == b for a, b in zip(*answers, strict=True)])
    print(f"int8: {second:.0f} img/s, float32 {first:.0f}, ratio {second / first:.2f}; {same:.1%} same answers")
    print(f"  {int8.stat().st_size / 1e6:.1f} MB, float32 {float32.stat().st_size / 1e6:.1f} MB")


def _answer(model: Model, images: list[Path]) -> None:
    exhaust(model.stream(images))


def in_turn(rounds: int, *sides: Callable[[], float]) -> list[float]:
    """Run every side once, to warm up, then all of them in turn; medians of their seconds."""
    for side in sides:
        side()
    times = [[side() for side in sides] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def timed(work: Callable[[], None]) -> Callable[[], float]:
    """Make a function that does the work and returns its seconds."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def seconds_of(command: list[str]) -> float:
    """Seconds that a process takes, from start to end."""
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - start


def exhaust(results: Iterator[object]) -> None:
    """Take all results, keep none."""
    for _ in results:
        pass


if __name__ == "__main__":
    main()
