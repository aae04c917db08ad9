"""Peak memory of training: one epoch of a recipe over a pixel cache of 10,000 images at 224 px (1.4 GiB of pixels).

The pixels are random; what is measured is what stays resident, not what is learnt.

    python benchmarks/memory.py [--images 10000] [--px 224] [--recipe mobile]
"""

import argparse
import resource
import tempfile
from pathlib import Path

import numpy as np

from lesionlab.model.architectures import build_network
from lesionlab.model.backend import seed_everything
from lesionlab.model.train import Part, train
from lesionlab.recipe import read_recipe


def main() -> None:
    """Print the peak resident memory before and after an epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--px", type=int, default=224)
    parser.add_argument("--recipe", default="mobile")
    options = parser.parse_args()
    seed_everything(0)
    recipe = read_recipe(options.recipe).with_changes("image", height=options.px, width=options.px)
    recipe = recipe.with_changes("optimizer", epochs=1)
    network = build_network(recipe, np.full(3, 150.0), np.full(3, 40.0), n_diagnoses=7, for_training=True)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npy"
        shape = (options.images, options.px, options.px, 3)
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for _ in range(options.images):
                file.write(rng.integers(0, 256, shape[1:], dtype=np.uint8).data)
        print(f"before training: {_peak_gib():.2f} GiB (the frameworks, and the writing of the pixels)")
        pixels = np.load(path, mmap_mode="r")
        rows, labels = np.arange(options.images), rng.integers(0, 7, options.images)
        parts = Part(rows[:-500], labels[:-500]), Part(rows[-500:], labels[-500:])
        train(network, recipe, pixels, *parts, seed=0, checkpoint=Path(folder) / "checkpoint.npz")
    print(f"after an epoch of {options.images:,} images at {options.px} px: peak {_peak_gib():.2f} GiB resident")


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
