"""What Ray costs beside the local engine: the same shards, by both, in turn, in one process; ratios of their times.

python benchmarks/scale.py --images 2000
"""

import argparse
import statistics
import tempfile
import time
from itertools import chain, cycle, islice
from pathlib import Path

from lesionlab.cluster import connection
from lesionlab.data.phantom.write import write_phantoms
from lesionlab.inference import ray_engine
from lesionlab.inference.image_sources import Source, unique_names
from lesionlab.inference.model import Model, load_model
from lesionlab.inference.shards import Engine, local_engine, write_shards

BATCH = 8


def main() -> None:
    """Print seconds of both engines and their ratio, the median over rounds; fail where an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--shard-size", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = load_model()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantoms(folder / "images", lesions=200, seed=0, size_px=(450, 600))
        paths = list(islice(cycle(sorted((folder / "images").rglob("*.jpg"))), options.images))
        started = time.perf_counter()
        with connection.cluster() as ray:
            print(f"Ray started in {time.perf_counter() - started:.1f} s")
            engines = {"local": local_engine(model, BATCH), "ray": ray_engine.ray_engine(ray, model, BATCH)}
            seconds: dict[str, list[float]] = {name: [] for name in engines}
            for turn, (name, engine) in enumerate(chain(engines.items(), *[engines.items()] * options.rounds)):
                taken = measure(engine, model, paths, folder / f"{turn}-{name}", options.shard_size)
                if turn >= len(engines):  # the first turn of each warms up
                    seconds[name].append(taken)
            assert read(folder / "0-local") == read(folder / "1-ray"), "the engines' answers differ"
    for name, values in seconds.items():
        print(
            f"{name:6} {statistics.median(values):6.1f} s, {options.images / statistics.median(values):6.0f} images/s"
        )
    ratios = [there / here for here, there in zip(seconds["local"], seconds["ray"], strict=True)]
    print(f"Ray / local: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); the same answers")


def measure(engine: Engine, model: Model, paths: list[Path], out: Path, shard_size: int) -> float:
    """Write shards of all paths into a folder and return the seconds that took."""
    started = time.perf_counter()
    sources = unique_names(map(Source.of_file, paths))
    write_shards(sources, model, engine, out, format="csv", shard_size=shard_size, batch_size=BATCH)
    return time.perf_counter() - started


def read(folder: Path) -> list[str]:
    """Read the shards of a folder, in order."""
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("part-*"))]


if __name__ == "__main__":
    main()
