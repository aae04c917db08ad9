"""How fast a training step is: with Keras's own layers, with fused batch normalisation, with less kept, with 16 bits as well.

Each way adds to the one above it. "Activations anew" is what batches of over a million pixels get, to save memory; a smaller
batch is the same in both rows. One process, the same network and batch in memory, in turn; the ratios are of the medians. The
last column is processor time.

    python benchmarks/training_step.py [--recipe bundled] [--side 224] [--rounds 5]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from unittest import mock

import numpy as np

from lesionlab.model import fast_layers
from lesionlab.model.architectures import build_network
from lesionlab.model.backend import compiles_with_xla, keras, seed_everything
from lesionlab.recipe import read_recipe

STEPS = 5


def main() -> None:
    """Print images per second of each way and its ratio to the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="bundled")
    parser.add_argument("--side", type=int, help="of the images, px; as in the recipe by default")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not fast_layers.multiplies_bfloat16():
        print("This processor has no instructions for bfloat16: the last row computes in float32.")
    ways = {
        "Keras's own layers": _step(options, "float32", for_training=False),
        "fused normalisation": _step(options, "float32", for_training=True, keeps_all=True),
        "and activations anew": _step(options, "float32", for_training=True),
        "and 16-bit convolutions": _step(options, "bfloat16-convolutions", for_training=True),
    }
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    worked = dict.fromkeys(ways, 0.0)
    for _ in range(options.rounds):
        for way, step in ways.items():
            before = time.process_time()
            speeds[way].append(step())
            worked[way] += (time.process_time() - before) / options.rounds
    medians = {way: statistics.median(values) for way, values in speeds.items()}
    first = next(iter(medians.values()))
    for way, values in speeds.items():
        print(
            f"{way:24} {medians[way]:7.1f} img/s ({min(values):.1f} to {max(values):.1f})  {medians[way] / first:.2f}"
            f"  {worked[way]:.1f} s of the processor for {STEPS} steps"
        )


def _step(
    options: argparse.Namespace, precision: str, *, for_training: bool, keeps_all: bool = False
) -> Callable[[], float]:
    """Make a function that takes `STEPS` steps and returns images per second."""
    recipe = read_recipe(options.recipe).with_changes("model", weights="none")
    recipe = recipe.with_changes("training", precision=precision, first_side=0)
    if options.side:
        recipe = recipe.with_changes("image", height=options.side, width=options.side)
    seed_everything(0)
    most = sys.maxsize if keeps_all else fast_layers.MANY_PIXELS
    with mock.patch.object(fast_layers, "MANY_PIXELS", most):
        network = build_network(recipe, np.full(3, 150.0), np.full(3, 40.0), n_diagnoses=7, for_training=for_training)
    network.compile(keras.optimizers.AdamW(1e-4), "categorical_crossentropy", jit_compile=compiles_with_xla())
    rng, size = np.random.default_rng(0), recipe.optimizer.batch_size
    images = keras.ops.convert_to_tensor(rng.uniform(0, 255, (size, *network.input_shape[1:])).astype("float32"))
    labels = keras.ops.convert_to_tensor(np.eye(7, dtype="float32")[rng.integers(0, 7, size)])
    network.train_on_batch(images, labels)  # compiles

    def take() -> float:
        started = time.perf_counter()
        for _ in range(STEPS):
            network.train_on_batch(images, labels)
        return STEPS * size / (time.perf_counter() - started)

    return take


if __name__ == "__main__":
    main()
