"""What the input pipeline costs: training from the pixel cache against the same `fit` on arrays already in memory.

Both sides train the same network in one process, in turn; the ratio is of the medians of their epochs.

    python benchmarks/pipeline.py [--recipe mobile] [--images 1024]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from lesionlab.model.architectures import build_network
from lesionlab.model.augment import with_augmentation
from lesionlab.model.backend import compiles_with_xla, keras, seed_everything
from lesionlab.model.batches import Batches
from lesionlab.model.optimizer import make_optimizer
from lesionlab.recipe import read_recipe


def main() -> None:
    """Print images per second of both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="mobile")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    seed_everything(0)
    recipe = read_recipe(options.recipe)
    shape = (options.images, recipe.image.height, recipe.image.width, 3)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, options.images)
    network = build_network(recipe, np.full(3, 150.0), np.full(3, 40.0), n_diagnoses=7, for_training=True)
    model = with_augmentation(network, recipe.augment, 0)
    steps = -(-options.images // recipe.optimizer.batch_size)
    loss = keras.losses.CategoricalCrossentropy()
    model.compile(make_optimizer(recipe.optimizer, steps), loss, jit_compile=compiles_with_xla())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npy"
        np.save(path, rng.integers(0, 256, shape, dtype=np.uint8))
        pixels = np.load(path, mmap_mode="r")
        arrays = np.asarray(pixels, np.float32), np.eye(7, dtype=np.float32)[labels]
        batches = Batches(
            pixels,
            np.arange(options.images),
            labels,
            batch_size=recipe.optimizer.batch_size,
            n_diagnoses=7,
            seed=0,
            workers=2,
        )
        sides = {
            "arrays in memory": lambda: model.fit(*arrays, batch_size=recipe.optimizer.batch_size, verbose=0),
            "pixel cache": lambda: model.fit(batches, verbose=0, shuffle=False),
        }
        speeds: dict[str, list[float]] = {side: [] for side in sides}
        for fit in sides.values():
            fit()  # compiles
        for _ in range(options.epochs):
            for side, fit in sides.items():
                started = time.perf_counter()
                fit()
                speeds[side].append(options.images / (time.perf_counter() - started))
    medians = {side: statistics.median(values) for side, values in speeds.items()}
    for side, values in speeds.items():
        print(f"{side:17} {medians[side]:7.1f} img/s  ({min(values):.1f} to {max(values):.1f})")
    print(f"pixel cache / arrays in memory: {medians['pixel cache'] / medians['arrays in memory']:.3f}")


if __name__ == "__main__":
    main()
