"""What features cost: images a second of `embed` beside `predict`, in turn.

    python benchmarks/embed.py [--data ../shared/ham10000/HAM10000_images] [--n 200] [--rounds 7]

Both go through the same files by the packaged model, one round after the other, so that other work on the machine falls on both;
the ratio is the median of the rounds'.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

from lesionlab.inference.feature_files import facts_of, new_feature_file
from lesionlab.inference.features import Embedded, load_embedder
from lesionlab.inference.model import load_model


def main() -> None:
    """Print images a second of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/ham10000/HAM10000_images"))
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    images = list(itertools.islice(sorted(options.data.glob("*.jpg")), options.n))
    if not images:
        sys.exit(f"no images in {options.data}: name a folder of .jpg files with --data")
    model, embedder = load_model(), load_embedder()

    def predict() -> None:
        list(model.stream(images))

    def embed() -> None:
        with tempfile.TemporaryDirectory() as folder:
            with new_feature_file(Path(folder, "made.npz"), facts_of(embedder)) as add:
                for item in embedder.stream(images):
                    if isinstance(item, Embedded):
                        add(item)

    seconds: list[tuple[float, float]] = []
    for round_ in range(options.rounds + 1):
        pair = []
        for side in (predict, embed) if round_ % 2 else (embed, predict):
            start = time.perf_counter()
            side()
            pair.append(time.perf_counter() - start)
        seconds.append((pair[0], pair[1]) if round_ % 2 else (pair[1], pair[0]))
    seconds = seconds[1:]  # the first warms up
    predicted, embedded = (len(images) / statistics.median(column) for column in zip(*seconds, strict=True))
    ratio = statistics.median(a / b for a, b in seconds)
    print(
        f"{len(images)} images, {options.rounds} rounds: predict {predicted:.1f} img/s, embed {embedded:.1f}, ratio {ratio:.3f}"
    )


if __name__ == "__main__":
    main()
