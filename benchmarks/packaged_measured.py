"""What the packaged model is worth on the test part of its own split, of both sets together and of each: see docs/scorecard.md.

Takes what `lesionlab evaluate MODEL --data FOLDER --split splits.csv` takes of one folder, of several at once too, and does not
search for lesions that two pictures show, which the split has done. A `metrics.json` for each goes into `--out`.

    python benchmarks/packaged_measured.py --data build/packaged/ham10000 --data ../shared/milk10k \
        --split build/packaged/splits.csv --out build/measured
"""

import argparse
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from held_out import images_of_split
from lesionlab.evaluation.intervals import in_words
from lesionlab.evaluation.measure import ModelChoices, Parts, headline_in_words, measure, recalibrated
from lesionlab.evaluation.metrics_file import Metrics
from lesionlab.files import write_json
from lesionlab.inference.model import Model, load_model
from lesionlab.inference.outputs import ModelOutputs
from packaged_sets import labelled, see_all


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = load_model()
    table = images_of_split(options.data, options.split, model.facts.taxonomy)
    table = table[table["part"] != "train"].reset_index(drop=True)
    seen, folder = see_all(model.bundle, table), table["folder"].to_numpy()
    for number, name in enumerate([*(one.name for one in options.data), "both"]):
        chosen = folder == number if number < len(options.data) else np.full(len(table), True)
        own = table[chosen].reset_index(drop=True)
        metrics = measured(model, own, seen.take(chosen))
        write_json(options.out / f"{name}.json", msgspec.to_builtins(metrics))
        print_figures(name, metrics)


def measured(model: Model, table: pd.DataFrame, seen: ModelOutputs) -> Metrics:
    """Take every figure of a table's test part, as `lesionlab evaluate` with a split does."""
    facts, given = model.facts, labelled(table, seen.probabilities, model.facts.taxonomy)
    is_test = (table["part"] == "test").to_numpy()
    test, validation = given.take(is_test), given.take(~is_test)
    own = ModelChoices(
        facts.thresholds.malignant,
        facts.thresholds.uncertainty,
        facts.operating,
        None if seen.is_rejected is None else seen.is_rejected[is_test],
    )
    return measure(
        Parts(table[is_test].reset_index(drop=True), test, validation),
        recalibrated(test, validation, seed=0),
        promise=facts.conformal,
        is_generated=False,
        seed=0,
        model=own,
    )


def print_figures(name: str, metrics: Metrics) -> None:
    """Print what docs/scorecard.md says of a part."""
    test, sets = metrics.test, metrics.conformal
    assert sets
    print(f"## {name}: {test.images:,} images of {test.lesions:,} lesions, {metrics.model_rejected} rejected")
    for line in headline_in_words(metrics):
        print(f"  {line}")
    errors = test.calibration
    print(f"  ECE {errors.ece:.3f}, Brier {errors.brier:.3f}; melanoma's ECE {errors.ece_focus:.3f}")
    for stage in metrics.stages.values():
        print(f"    {stage.label}: ECE {stage.calibration.ece:.3f}, melanoma's {stage.calibration.ece_focus:.3f}")
    print(f"  sets: {in_words(sets.coverage, sets.interval)}, {sets.mean_size:.2f} in a set, {sets.single:.1%} of one")
    for dx, row in sets.per_class.items():
        print(f"    {dx}: {in_words(row.coverage, row.interval)} of {row.images}, {row.mean_size:.2f} in a set")


if __name__ == "__main__":
    main()
