"""Which runs to join? Each alone and every two, three or four, judged on the validation part alone, by cross-fitting.

Calibration and decision rule are fitted to four fifths of the validation lesions and judged on the fifth, five ways of
dividing; the mean of the five is printed. A run alone takes four flipped views of an image, members share them out as
`lesionlab ensemble` has it.

    python benchmarks/members.py runs/ham10000-bundled runs/ham10000-bundled-light [RUN ...]
"""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from lesionlab.data.layouts.joined import read_data
from lesionlab.data.statistics import channel_statistics, encode_labels
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import headline
from lesionlab.evaluation.vector_scaling import cross_fitted
from lesionlab.lifecycle.join_networks import uncalibrated
from lesionlab.lifecycle.prepare import decode
from lesionlab.model.batches import predict
from lesionlab.model.decision_rule import apply_decision, calibrate, choose_decision
from lesionlab.recipe import DecisionChoice, read_recipe
from lesionlab.runs.directory import open_run
from lesionlab.taxonomy import HAM10000

CHOICE = DecisionChoice("prior-corrected", "vector")
DIVISIONS = 5


def main() -> None:
    """Print a row for each run and for each join."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    runs = parser.parse_args().runs
    table, *_ = tables = [_table(run) for run in runs]
    views = [_logits(run, of_run) for run, of_run in zip(runs, tables, strict=True)]  # (4, n, 7) each
    print("| run | log loss | macro AUC | melanoma AUC | accuracy | after the rule: balanced accuracy, accuracy |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number in range(1, min(4, len(runs)) + 1):
        for members in itertools.combinations(range(len(runs)), number):
            names = " and ".join(runs[member].name for member in members)
            print(f"| {names} | {_row(_joined([views[member] for member in members]), table)} |", flush=True)


def _joined(views: list[np.ndarray]) -> np.ndarray:
    """Logits (n, 7): the mean over members, logits (4, n, 7) each, of which each takes its share of the views."""
    share = 4 // len(views)
    return np.mean([of_run[at * share : (at + 1) * share].mean(axis=0) for at, of_run in enumerate(views)], axis=0)


def _table(run: Path) -> pd.DataFrame:
    """The run's images with their part, in the order of the collection; `row` counts them."""
    images = read_data(open_run(run).data_folder).table
    parts = pd.read_csv(run / "splits.csv", dtype=str)[["image_id", "part"]]
    return images.merge(parts, on="image_id", how="left").assign(row=np.arange(len(images)))


def _logits(run: Path, table: pd.DataFrame) -> np.ndarray:
    """Logits (4, n, 7), but for a constant a row, of the validation images, one view at a time, not calibrated."""
    image = read_recipe(str(run / "recipe.toml")).image
    collection = read_data(open_run(run).data_folder)
    pixels = decode(collection, image.height, image.width, image.crop).pixels
    training, validation = (table.loc[table["part"] == part, "row"].to_numpy() for part in ("train", "validation"))
    statistics = channel_statistics(pixels, training)
    networks = (uncalibrated(open_run(run), "model.keras", statistics, views=1, first_view=view) for view in range(4))
    return np.log(np.maximum([predict(network, pixels, validation) for network in networks], 1e-30))


def _row(logits: np.ndarray, table: pd.DataFrame) -> str:
    validation = table[table["part"] == "validation"]
    labels, training = (
        encode_labels(validation["dx"], HAM10000),
        encode_labels(table.loc[table["part"] == "train", "dx"], HAM10000),
    )
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def fitted(
        use: Callable[..., np.ndarray], labels: np.ndarray, probabilities: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        return partial(use, decision=choose_decision(CHOICE, labels, probabilities, training))

    part = LabelledPredictions(labels, probabilities, validation["lesion_id"].to_numpy(), HAM10000)
    rows = []
    for seed in range(DIVISIONS):
        before, after = (cross_fitted(partial(fitted, use), part, seed=seed) for use in (calibrate, apply_decision))
        first, then = headline(labels, before), headline(labels, after)
        melanoma = roc_auc_score(labels == HAM10000.index_of["mel"], before[:, HAM10000.index_of["mel"]])
        of_before = first.log_loss, first.macro_auc or np.nan, melanoma, first.accuracy
        rows.append((*of_before, then.balanced_accuracy, then.accuracy))
    mean = np.mean(rows, axis=0)
    return " | ".join(f"{value:.3f}" for value in mean[:4]) + f" | {mean[4]:.3f}, {mean[5]:.3f}"


if __name__ == "__main__":
    main()
