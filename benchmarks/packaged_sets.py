"""The prediction sets of the packaged model: what else was tried, on its validation part alone.

Sets are compared by cross-validation over the validation lesions: the calibration of the probabilities and of the sets by four
fifths, measured on the fifth, five ways of dealing, several times.

    python benchmarks/packaged_sets.py --data build/packaged/ham10000 --data ../shared/milk10k --split build/packaged/splits.csv
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from held_out import images_of_split
from lesionlab.data.images import read_image
from lesionlab.data.statistics import encode_labels
from lesionlab.evaluation import conformal
from lesionlab.evaluation.intervals import folds
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.prediction_sets import Conformal, largest_score, prediction_sets, scores
from lesionlab.evaluation.vector_scaling import cross_fitted, fit_vector_scaling
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.outputs import ModelOutputs, see
from lesionlab.lifecycle.teach import as_trained
from lesionlab.model.decision_rule import apply_decision, out_of_fold, read_decision
from lesionlab.taxonomy import Taxonomy

TIMES, FIFTHS = 3, 5
Calibrate = Callable[[LabelledPredictions], Conformal]


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--split", type=Path, required=True)
    options = parser.parse_args()
    bundle = open_bundle()
    table = images_of_split(options.data, options.split, bundle.facts.taxonomy)
    table = table[table["part"] == "validation"].reset_index(drop=True)
    seen = see_all(bundle, table)
    validation = labelled(table, seen.probabilities, bundle.facts.taxonomy)
    raw = validation.with_probabilities(as_trained(bundle, seen))
    print_calibrated(bundle, out_of_fold(validation, raw.probabilities, read_decision(bundle.facts.decision), seed=0))
    compare_sets(raw, table["folder"].to_numpy(), bundle)


def see_all(bundle: Bundle, table: pd.DataFrame) -> ModelOutputs:
    """Run the model on the images of a table."""
    facts, paths = bundle.facts, [Path(path) for path in table["path"]]
    return see(
        bundle,
        len(paths),
        lambda number: read_image(paths[number], facts.height, facts.width, facts.crop),
        has_maps=False,
    )


def labelled(table: pd.DataFrame, probabilities: np.ndarray, taxonomy: Taxonomy) -> LabelledPredictions:
    """Put predictions beside the truth."""
    return LabelledPredictions(
        encode_labels(table["dx"], taxonomy), probabilities, table["lesion_id"].to_numpy(), taxonomy
    )


def print_calibrated(bundle: Bundle, validation: LabelledPredictions) -> None:
    """Say how far the thresholds found anew are from the file's: those of a split made anew prove it the same."""
    found, own = conformal.calibrate(validation), bundle.facts.conformal
    assert own
    away = [abs(a - b) for a, b, n in zip(found.thresholds, own.thresholds, own.images, strict=True) if n >= 9]
    print(f"calibrated on {found.images}; the file says {own.images}; thresholds differ by at most {max(away):.1e}")


def compare_sets(raw: LabelledPredictions, folder: np.ndarray, bundle: Bundle) -> None:
    """Print a row for each way to calibrate: means over the deals of coverage, of all and by folder and diagnosis, and size."""
    print(
        "| threshold of a diagnosis with few lesions | scaling fitted to | coverage | of each folder | of nv, mel, bcc "
        "| of the few | diagnoses in a set |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for seed in range(TIMES):
        for way, sets in dealt(raw, bundle, seed).items():
            found.setdefault(way, []).append(figures(raw, folder, sets))
    for (name, fitted_to), deals in found.items():
        values = np.mean(deals, axis=0)
        every, size = [f"{value:.3f}" for value in values[:-1]], f"{values[-1]:.2f}"
        folders, others = ", ".join(every[1:-4]), ", ".join(every[-4:-1])
        print(f"| {name} | {fitted_to} | {every[0]} | {folders} | {others} | {every[-1]} | {size} |")


def dealt(raw: LabelledPredictions, bundle: Bundle, seed: int) -> dict[tuple[str, str], np.ndarray]:
    """Deal the lesions into fifths; give the sets (n, k) of each way, of every fifth by the other four."""
    fold, rule = (
        folds(raw.lesions, FIFTHS, seed=seed),
        replace(read_decision(bundle.facts.decision), scale=(), offset=()),
    )
    sets: dict[tuple[str, str], np.ndarray] = {}
    for number in range(FIFTHS):
        rest, inside = raw.take(fold != number), fold == number
        scaling = fit_vector_scaling(rest.labels, rest.probabilities)
        asked = apply_decision(scaling(raw.probabilities[inside]), rule)
        own = {
            "the same lesions": scaling(rest.probabilities),
            "others, in turn": cross_fitted(fit_vector_scaling, rest, seed=seed),
        }
        for fitted_to, probabilities in own.items():
            part = rest.with_probabilities(apply_decision(probabilities, rule))
            for name, calibrate in WAYS.items():
                of_way = sets.setdefault((name, fitted_to), np.zeros(raw.probabilities.shape, bool))
                of_way[inside] = prediction_sets(asked, calibrate(part).thresholds)
    return sets


def figures(raw: LabelledPredictions, folder: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Coverage of all, of each folder, of nv, mel and bcc, of the diagnoses with few lesions; mean size."""
    holds = sets[np.arange(len(raw)), raw.labels]
    is_few = ~np.array(conformal.calibrate(raw).promised)
    chosen = [np.full(len(raw), True), *(folder == number for number in np.unique(folder))]
    chosen += [raw.labels == raw.taxonomy.index_of[dx] for dx in ("nv", "mel", "bcc")]
    chosen += [is_few[raw.labels]]
    return np.array([*(holds[one].mean() for one in chosen), sets.sum(axis=1).mean()])


def in_every_set(part: LabelledPredictions) -> Conformal:
    """As until 2026-11-29: a diagnosis with few lesions is in every set."""
    found = conformal.calibrate(part)
    return replace(found, thresholds=tuple(np.where(found.promised, found.thresholds, largest_score(part.n_diagnoses))))


def of_the_rare(part: LabelledPredictions) -> Conformal:
    """Diagnoses with few lesions have one threshold, by the lesions of them all."""
    found = conformal.calibrate(part)
    is_rare = ~np.array(found.promised)
    first = part.take(np.sort(np.unique(part.lesions, return_index=True)[1]))
    own = np.sort(scores(first.probabilities)[np.arange(len(first)), first.labels][is_rare[first.labels]])
    rank = int(np.ceil((len(own) + 1) * conformal.COVERAGE - 1e-9))
    threshold = float(own[rank - 1]) if rank <= len(own) else largest_score(part.n_diagnoses)
    return replace(found, thresholds=tuple(np.where(is_rare, min(threshold, 1.0), found.thresholds)))


def of_the_hardest(part: LabelledPredictions) -> Conformal:
    """Diagnoses with few lesions have the largest threshold of the others."""
    found = conformal.calibrate(part)
    most = max(t for t, is_promised in zip(found.thresholds, found.promised, strict=True) if is_promised)
    return replace(found, thresholds=tuple(np.where(found.promised, found.thresholds, most)))


WAYS: dict[str, Calibrate] = {
    "none: in every set": in_every_set,
    "of all lesions together": conformal.calibrate,
    "of all such diagnoses together": of_the_rare,
    "the largest of the others": of_the_hardest,
}


if __name__ == "__main__":
    main()
