"""What the 77.03 % of the Keras notebook that lesionlab grew out of were worth: its split, and its network trained again.

The split alone, in seconds; then the network, trained by the recipe `kaggle-cnn` on the notebook's split and on one by
lesion, once for each seed (hours on 2 cores; broken off, the same command goes on); and the table of docs/seed.md from
whatever runs are finished.

    python benchmarks/seed.py split --data ../shared/ham10000
    python benchmarks/seed.py train --data ../shared/ham10000 --out runs/seed
    python benchmarks/seed.py table --out runs/seed
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import lesionlab
from lesionlab.data.split import kaggle_split

SPLITS = ("kaggle", "lesion")
PARTS = ("train", "validation", "test")
NOTEBOOK = 0.7703


def print_split(data: Path) -> None:
    """Print what can be said of the notebook's test part before anything is trained."""
    collection = lesionlab.read_collection(data)
    table = collection.table
    parts = kaggle_split(table)  # by the table's order, as the notebook's own
    test, pool = table[parts == "test"], table[parts != "test"]
    trained = set(table.loc[parts == "train", "lesion_id"])
    is_known, is_nevus = test["lesion_id"].isin(trained), test["dx"] == "nv"
    is_pooled = test["lesion_id"].isin(pool["lesion_id"])
    print(f"{len(table):,} images of {table['lesion_id'].nunique():,} lesions")
    print("images of train, validation, test: " + ", ".join(f"{(parts == p).sum():,}" for p in PARTS))
    print(f"nevi: {(table['dx'] == 'nv').mean():.1%} of all images, {is_nevus.mean():.1%} of the test images")
    print(f"test images whose lesion is trained on: {is_known.sum():,} of {len(test):,} ({is_known.mean():.1%})")
    print(f"  or validated on: {is_pooled.sum():,} ({is_pooled.mean():.1%})")
    print(f"  without nevi: {is_known[~is_nevus].mean():.1%}")
    print(f"accuracy of always 'nevus': {is_nevus.mean():.2%}")
    print(f"  on lesions trained on {is_nevus[is_known].mean():.2%}, on the others {is_nevus[~is_known].mean():.2%}")
    print(f"accuracy of a memory (each lesion trained on by heart, else 'nevus'): {(is_known | is_nevus).mean():.2%}")
    recalls = pd.Series(np.where(is_known | is_nevus, 1.0, 0.0), index=test.index).groupby(test["dx"]).mean()
    print(f"  its balanced accuracy: {recalls.mean():.3f}; its sensitivity for melanoma: {recalls['mel']:.3f}")


def train(data: Path, out: Path, seeds: list[int], epochs: int | None) -> None:
    """Train the notebook's network on both splits, for each seed; what is finished is left as it is."""
    for split in SPLITS:
        for seed in seeds:
            recipe = lesionlab.read_recipe("kaggle-cnn")
            recipe = replace(recipe.with_changes("split", name=split), name=f"kaggle-cnn-{split}")
            recipe = recipe.with_changes("optimizer", epochs=epochs) if epochs else recipe
            lesionlab.run(lesionlab.Request(recipe, data=data, out=out / f"{split}-{seed}", seed=seed))


def print_table(out: Path) -> None:
    """Print a row for each finished run, as docs/seed.md shows them, and the mean of each split's."""
    print("| split, seed | test images | accuracy | lesion trained on | lesion not trained on | balanced accuracy | "
          "melanoma sensitivity |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for split in SPLITS:
        folders = sorted(out.glob(f"{split}-*"))
        finished = [folder for folder in folders if (folder / "report.html").exists()]
        rows = [row(folder) for folder in finished]
        for folder, cells in zip(finished, rows, strict=True):
            print("| " + " | ".join([folder.name.replace("-", ", "), *(text for _, text in cells)]) + " |")
        if len(rows) > 1:
            means = [np.mean([value for value, _ in column]) for column in zip(*rows, strict=True)]
            print(f"| {split}, mean | " + " | ".join("" if np.isnan(mean) else f"{mean:.4g}" for mean in means) + " |")
        for folder in sorted(set(folders) - set(finished)):
            print(f"(not finished: {folder})")
    print(f"\nThe notebook's own figure: accuracy {NOTEBOOK:.4f}. In brackets: 95 % intervals over lesions.")


def row(folder: Path) -> list[tuple[float, str]]:
    """Give the cells of one run: a value, and how it is written."""
    run = lesionlab.open_run(folder)
    table, test, figures = run.predictions, run.labelled("test"), run.metrics.test
    trained = set(table.loc[table["part"] == "train", "lesion_id"])
    is_known = np.array([lesion in trained for lesion in test.lesions])
    melanoma = figures.per_class["mel"]
    return [
        (len(test), f"{len(test):,}"),
        figure(figures.accuracy, figures.intervals["accuracy"]),
        *(group(test.take(chosen)) for chosen in (is_known, ~is_known)),
        figure(figures.balanced_accuracy, figures.intervals["balanced_accuracy"]),
        figure(melanoma.sensitivity, melanoma.intervals["sensitivity"]),
    ]


def group(part: lesionlab.LabelledPredictions) -> tuple[float, str]:
    """Give the accuracy on some of the test images, beside what always saying "nevus" would have on them."""
    if not len(part):
        return float("nan"), "none"
    figures = lesionlab.evaluate_part(part, seed=0)
    nevi = float((part.labels == part.taxonomy.index_of["nv"]).mean())
    value, text = figure(figures.accuracy, figures.intervals["accuracy"])
    return value, f"{text}; n = {len(part):,}, nevi {nevi:.3f}"


def figure(value: float | None, interval: Sequence[float | None] | None) -> tuple[float, str]:
    """Write a figure with its interval."""
    if value is None:
        return float("nan"), "not defined"
    low, high = interval or (None, None)
    return value, f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("split", "train", "table"))
    parser.add_argument("--data", type=Path, help="folder of HAM10000")
    parser.add_argument("--out", type=Path, default=Path("runs/seed"), help="folder of the runs (default: runs/seed)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="fewer than the notebook's 50, for a trial")
    options = parser.parse_args()
    if options.what != "table" and options.data is None:
        parser.error("--data is needed to split and to train")
    if options.what == "split":
        print_split(options.data)
    if options.what == "train":
        train(options.data, options.out, options.seeds, options.epochs)
    if options.what != "split":
        print_table(options.out)


if __name__ == "__main__":
    main()
