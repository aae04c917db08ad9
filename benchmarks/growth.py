"""How time and memory grow with the number of images: generated lesions, 1, 2, 5 and 10 times a base, each stage apart.

Every stage runs in a process of its own, whose peak resident memory is its own. Time is processor time of the stage (user and
system, all threads, without imports), so that other work on the machine does not count; `--json` holds the time on the clock too.
The last columns say how time grows from the first size to the last, as the power of n, and what a further image costs.

    python benchmarks/growth.py [--base 10015] [--times 1 2 5 10] [--stages check split] [--data DIR] [--json FILE]

`--base 1500` is the quick look: with fewer the rarest diagnosis has too few lesions to be
split. Images are drawn at --size (height, width), or taken from --data; the folders of each size
hold links to them. Drawing takes 30 ms an image, so that beyond --drawn images others are mixtures of three drawn ones, each
turned and shown from nearer: the search for near-duplicates must not find many.
"""

import argparse
import csv
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

STAGES = ("cache", "check", "explore", "split", "train", "predict", "report")


def main() -> None:
    """Measure every stage at every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=int, default=10_015, help="images of the smallest folder (default: 10015)")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--size", type=int, nargs=2, default=[112, 150], help="of the files, px (default: 112 150)")
    parser.add_argument("--drawn", type=int, default=10_000, help="images to draw; others are mixed (default: 10000)")
    parser.add_argument("--data", type=Path, help="folder of images beside one table, instead of generated lesions")
    parser.add_argument("--predict-share", type=float, default=1.0, help="share of the images that predict takes")
    parser.add_argument("--json", type=Path, help="write what was measured")
    parser.add_argument("--one", nargs=3, metavar=("STAGE", "DIR", "WORK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        _child(*options.one, share=options.predict_share)
        return
    sizes = [options.base * times for times in options.times]
    rows = []
    with tempfile.TemporaryDirectory() as work:
        folders = _folders(Path(work), options.data, sizes, tuple(options.size), options.drawn)
        for stage in options.stages:
            measured = [_measure(stage, folder, Path(work), options.predict_share) for folder in folders]
            rows.append({"stage": stage, "images": sizes, "measured": measured})
            print(_row(stage, sizes, measured), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _folders(work: Path, data: Path | None, sizes: list[int], size_px: tuple[int, int], most_drawn: int) -> list[Path]:
    """Make a folder of each size: the first rows of a shuffled table, with links to the images."""
    from lesionlab.data.phantom.write import write_phantoms

    if data is None:
        data = work / "whole"
        lesions = max(100, min(max(sizes), most_drawn) // 5 * 4)  # of 1.3 images each
        write_phantoms(data, lesions=lesions, seed=0, size_px=size_px)
        _mix(data, max(sizes))
    images = {path.stem: path.resolve() for path in data.rglob("*.jpg")}
    (table,) = data.glob("*.csv")
    rows = [row for row in csv.DictReader(table.open(encoding="utf-8")) if row["image_id"] in images]
    if len(rows) < max(sizes):
        sys.exit(f"{data} has {len(rows):,} images, {max(sizes):,} are needed: a smaller --base")
    np.random.default_rng(0).shuffle(rows)
    folders = []
    for size in sizes:
        folder = work / f"n{size}"
        (folder / "images").mkdir(parents=True)
        for row in rows[:size]:
            os.symlink(images[row["image_id"]], folder / "images" / images[row["image_id"]].name)
        pd.DataFrame(rows[:size]).to_csv(folder / table.name, index=False)
        folders.append(folder)
    header = "| stage | " + " | ".join(f"{size:,}" for size in sizes) + " | power of n | ms a further image |"
    print(header + "\n|" + " --- |" * (len(sizes) + 3), flush=True)
    return folders


def _mix(data: Path, wanted: int) -> None:
    """Fill a folder of generated lesions up to `wanted` images with mixtures of three, as lesions of their own."""
    (table,) = data.glob("*.csv")
    drawn = pd.read_csv(table, dtype=str, keep_default_na=False)
    (folder,) = {path.parent for path in data.rglob("*.jpg")}
    images = [Image.open(folder / f"{image_id}.jpg").convert("RGB") for image_id in drawn["image_id"]]
    tables, random = [drawn], np.random.default_rng(0)

    def turned(image: Image.Image) -> Image.Image:
        width, height = image.size
        nearer, angle = random.uniform(1.3, 1.6), random.uniform(0, 360)
        size = round(nearer * width), round(nearer * height)
        whole = image.resize(size).rotate(angle, Image.Resampling.BILINEAR, fillcolor=(220, 170, 160))
        left, upper = (size[0] - width) // 2, (size[1] - height) // 2
        return whole.crop((left, upper, left + width, upper + height))

    for number in range(1, math.ceil(wanted / len(drawn))):
        own = drawn.head(wanted - number * len(drawn)).copy()
        for column in ("image_id", "lesion_id"):
            own[column] = [f"{value}_{number}" for value in own[column]]
        for place, image_id in enumerate(own["image_id"]):
            first, second, third = (turned(images[at]) for at in (place, *random.integers(len(images), size=2)))
            mixed = Image.blend(Image.blend(first, second, 1 / 2), third, 1 / 3)
            ImageEnhance.Contrast(mixed).enhance(1.6).save(folder / f"{image_id}.jpg", quality=90)
        tables.append(own)
    pd.concat(tables).to_csv(table, index=False)


def _measure(stage: str, folder: Path, work: Path, share: float) -> dict[str, float]:
    cache = work / f"cache-{folder.name}"
    command = [sys.executable, __file__, "--predict-share", str(share), "--one", stage, str(folder), str(work)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"LESIONLAB_CACHE": str(cache)}, check=False
    )
    if done.returncode:
        sys.exit(f"{stage} at {folder.name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _row(stage: str, sizes: list[int], measured: list[dict[str, float]]) -> str:
    cells = [f"{m['seconds']:.1f} s, {m['peak_mib']:,.0f} MiB" for m in measured]
    first, last = measured[0]["seconds"], measured[-1]["seconds"]
    power = math.log(last / first) / math.log(sizes[-1] / sizes[0]) if len(sizes) > 1 else float("nan")
    further = 1000 * (last - first) / (sizes[-1] - sizes[0]) if len(sizes) > 1 else float("nan")
    return f"| {stage} | " + " | ".join(cells) + f" | {power:.2f} | {further:.2f} |"


def _child(stage: str, folder: str, work: str, *, share: float) -> None:
    """Do one stage and print its seconds and this process's peak memory."""
    out = Path(tempfile.mkdtemp(dir=work))
    act = _PREPARE[stage](Path(folder), out, share)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started, worked = time.perf_counter(), time.process_time()
    act()
    seconds, clock = time.process_time() - worked, time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + json.dumps({"seconds": seconds, "clock": clock, "peak_mib": peak, "before_mib": before}))


def _cache(folder: Path, out: Path, share: float) -> Callable[[], object]:
    from lesionlab.data.layouts.recognise import read_collection
    from lesionlab.lifecycle.prepare import LOOK_PX, decode

    return lambda: decode(read_collection(folder), LOOK_PX, LOOK_PX, "centre")


def _check(folder: Path, out: Path, share: float) -> Callable[[], object]:
    from lesionlab.lifecycle.check import check

    return lambda: check(folder)


def _explore(folder: Path, out: Path, share: float) -> Callable[[], object]:
    """Without the search for near-duplicates, which is in `check`."""
    from lesionlab.data.clean import clean
    from lesionlab.data.layouts.recognise import read_collection
    from lesionlab.lifecycle.explore import write_exploration_page
    from lesionlab.lifecycle.prepare import LOOK_PX, decode

    collection = read_collection(folder)
    look = decode(collection, LOOK_PX, LOOK_PX, "centre")
    cleaned = clean(collection, look.facts, [])
    return lambda: write_exploration_page(cleaned.table, collection.taxonomy, look.pixels, out, True)


def _split(folder: Path, out: Path, share: float) -> Callable[[], object]:
    from lesionlab.data.clean import clean
    from lesionlab.data.layouts.recognise import read_collection
    from lesionlab.data.split import split
    from lesionlab.data.split_proof import prove
    from lesionlab.lifecycle.prepare import LOOK_PX, decode
    from lesionlab.recipe import SplitChoice

    collection = read_collection(folder)
    table = clean(collection, decode(collection, LOOK_PX, LOOK_PX, "centre").facts, []).table
    return lambda: prove(table, split(table, SplitChoice(), collection.taxonomy, seed=0))


def _train(folder: Path, out: Path, share: float) -> Callable[[], object]:
    """One epoch of the recipe `quick` from the pixel cache, after a first step that compiles."""
    from lesionlab.data.layouts.recognise import read_collection
    from lesionlab.data.statistics import encode_labels
    from lesionlab.lifecycle.prepare import decode
    from lesionlab.model.architectures import build_network
    from lesionlab.model.train import Part, train
    from lesionlab.recipe import read_recipe

    recipe = read_recipe("quick").with_changes("optimizer", epochs=1)
    collection = read_collection(folder)
    pixels = decode(collection, recipe.image.height, recipe.image.width, recipe.image.crop).pixels
    labels, rows = encode_labels(collection.table["dx"], collection.taxonomy), np.arange(len(collection.table))
    network = build_network(recipe, np.full(3, 150.0), np.full(3, 40.0), n_diagnoses=7, for_training=True)
    part = Part(rows, labels)
    return lambda: train(network, recipe, pixels, part, None, seed=0, checkpoint=out / "checkpoint.npz")


def _predict(folder: Path, out: Path, share: float) -> Callable[[], object]:
    from lesionlab.cli import main as lesionlab

    paths = sorted((folder / "images").iterdir())
    chosen = [str(path) for path in paths[: max(1, round(share * len(paths)))]]
    return lambda: lesionlab(["predict", *chosen, "--out", str(out / "predictions.csv")])


def _report(folder: Path, out: Path, share: float) -> Callable[[], object]:
    """`lesionlab evaluate` on a table of random predictions: figures with intervals, pictures, page."""
    from lesionlab.taxonomy import DX, HAM10000

    (table,) = folder.glob("*.csv")
    rows = pd.read_csv(table)
    random = np.random.default_rng(0)
    truth = np.eye(len(DX))[[DX.index(dx) for dx in rows["dx"]]]
    raw = random.dirichlet(np.ones(len(DX)), len(rows)) + truth
    predictions = pd.DataFrame(raw / raw.sum(axis=1, keepdims=True), columns=list(HAM10000.columns))
    predictions.insert(0, "image", rows["image_id"])
    predictions.to_csv(out / "p.csv", index=False)
    import lesionlab.lifecycle.prepare
    from lesionlab.lifecycle.evaluate_elsewhere import evaluate

    lesionlab.lifecycle.prepare.near_duplicates = lambda *_: []  # measured in `check`
    return lambda: evaluate(str(out / "p.csv"), folder, out / "report")


_PREPARE = dict(zip(STAGES, (_cache, _check, _explore, _split, _train, _predict, _report), strict=True))

if __name__ == "__main__":
    main()
