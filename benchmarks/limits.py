"""Each figure of speed next to what the bare hardware gives, measured in the same process.

Limits: a matrix product on all cores (float32 and bfloat16), a copy in memory, Pillow's decoder alone, ONNX Runtime alone on
pixels in memory. Beside them: a training step, the pixel cache, prediction from files. What takes part in a ratio is measured in
turn, and medians are given.

    python benchmarks/limits.py --data ../shared/ham10000/HAM10000_images [--images 400] [--rounds 5] [--recipe bundled]
"""

import argparse
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from lesionlab.data.images import read_image
from lesionlab.data.pixels import decode_images
from lesionlab.environment import record_environment
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.model import Model
from lesionlab.model.architectures import build_network
from lesionlab.model.backend import compiles_with_xla, keras, seed_everything
from lesionlab.recipe import Recipe, read_recipe

SIDE = 3072  # of the square matrices
COPY_BYTES = 512 * 2**20


def main() -> None:
    """Print the limits, then each figure with its share of the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recipe", default="bundled")
    options = parser.parse_args()
    paths = list(itertools.islice(sorted(options.data.rglob("*.jpg")), options.images))
    machine = record_environment()
    print(f"{machine['processor']}, {machine['cores']} cores; {len(paths)} files of {options.data.name}")
    training(read_recipe(options.recipe), options.rounds)
    decoding(paths, options.rounds)
    predicting(paths, options.rounds)


def training(recipe: Recipe, rounds: int) -> None:
    """A step in the recipe's precision against the matrix products."""
    network, step = training_step(recipe)
    forward, size = operations(network), recipe.optimizer.batch_size
    products = {kind: matrix_product(kind) for kind in ("float32", "bfloat16")}
    copied = np.zeros(COPY_BYTES, np.uint8)
    sides = (*products.values(), step, copied.copy)
    *multiplied, stepped, copying = in_turn(rounds, *sides)
    done = 3 * forward * size / stepped / 1e9
    for kind, taken in zip(products, multiplied, strict=True):
        peak = 2 * SIDE**3 / taken / 1e9
        print(f"matrix product, {kind:9} {peak:7.0f} GFLOP/s; a training step has {done / peak:.2f} of it")
    print(f"copy in memory {COPY_BYTES / copying / 1e9:.1f} GB/s")
    print(
        f"training step of {recipe.name}, {network.input_shape[1]} px: {size / stepped:.1f} img/s, {done:.0f} GFLOP/s "
        f"({3 * forward / 1e9:.2f} GFLOP an image: forward, and twice that backward)"
    )


def training_step(recipe: Recipe) -> tuple[keras.Model, Callable[[], object]]:
    """Build the recipe's network for training, and a step on a batch in memory."""
    seed_everything(0)
    recipe = recipe.with_changes("model", weights="none").with_changes("training", first_side=0)
    network = build_network(recipe, np.full(3, 150.0), np.full(3, 40.0), n_diagnoses=7, for_training=True)
    network.compile(keras.optimizers.AdamW(1e-4), "categorical_crossentropy", jit_compile=compiles_with_xla())
    random, size = np.random.default_rng(0), recipe.optimizer.batch_size
    images = keras.ops.convert_to_tensor(random.uniform(0, 255, (size, *network.input_shape[1:])).astype("float32"))
    labels = keras.ops.convert_to_tensor(np.eye(7, dtype="float32")[random.integers(0, 7, size)])
    return network, lambda: network.train_on_batch(images, labels)


def operations(network: keras.Model) -> int:
    """Floating-point operations of one image forward: two for each product of a convolution or dense layer."""
    total = 0
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            total += 2 * np.prod(layer.output.shape[1:3]) * np.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += 2 * np.prod(layer.kernel.shape)
    return int(total)


def matrix_product(kind: str) -> Callable[[], object]:
    """Multiply two squares of `SIDE` on all cores."""
    factors = [keras.ops.cast(keras.random.normal((SIDE, SIDE), seed=n), kind) for n in (0, 1)]
    return lambda: float(keras.ops.matmul(*factors)[0, 0])  # waits until it is there


def decoding(paths: list[Path], rounds: int) -> None:
    """The pixel cache at 224 px against Pillow's decoder on all cores, files already read."""
    files = [path.read_bytes() for path in paths]
    images = [(path.stem, str(path)) for path in paths]
    with tempfile.TemporaryDirectory() as folder:

        def cache() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            decode_images(images, height=224, width=224, crop="centre", cache_dir=Path(folder))

        decoder, cached = in_turn(rounds, lambda: on_all_cores(decode, files), cache)
    n = len(paths)
    print(
        f"decoder {n / decoder:.0f} img/s; pixel cache {n / cached:.0f}, {decoder / cached:.2f} of it (it hashes, checks "
        "and writes as well)"
    )


def predicting(paths: list[Path], rounds: int) -> None:
    """`Model.stream` from files against ONNX Runtime on pixels in memory, its threads on all cores."""
    bundle = open_bundle()
    facts = bundle.facts
    pixels = np.stack([read_image(path, facts.height, facts.width, facts.crop) for path in paths])
    bare = onnxruntime.InferenceSession(bundle.data)

    def alone() -> None:
        for at in range(0, len(pixels), 8):
            bare.run(["probabilities"], {"image": pixels[at : at + 8]})

    model = Model(bundle)
    runtime, whole, reading = in_turn(
        rounds, alone, lambda: list(model.stream(paths)), lambda: on_all_cores(decode, [p.read_bytes() for p in paths])
    )
    n = len(paths)
    both = 1 / (runtime / n + reading / n)
    print(
        f"ONNX Runtime {n / runtime:.1f} img/s at {facts.height} px; predict from files {n / whole:.1f}, "
        f"{runtime / whole:.2f} of it, {n / whole / both:.2f} of runtime and decoder one after the other"
    )


def decode(data: bytes) -> np.ndarray:
    """Decode as plainly as Pillow can."""
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def on_all_cores(work: Callable, items: list) -> None:
    """Do the work for each item, in a thread for each core."""
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(work, items, chunksize=8):
            pass


def in_turn(rounds: int, *sides: Callable[[], object]) -> list[float]:
    """Run every side once, to warm up, then all of them in turn; medians of their seconds."""
    for side in sides:
        side()
    times: list[list[float]] = []
    for _ in range(rounds):
        row = []
        for side in sides:
            started = time.perf_counter()
            side()
            row.append(time.perf_counter() - started)
        times.append(row)
    return [statistics.median(column) for column in zip(*times, strict=True)]


if __name__ == "__main__":
    main()
