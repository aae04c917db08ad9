"""Which runs to join? Each alone and every pair, judged on the validation part alone, by cross-fitting.

Calibration and decision rule are fitted to four fifths of the validation lesions and judged on the fifth, five ways of
dividing; the mean of the five is printed. A run alone takes four flipped views of an image, a member of a pair two.

    python benchmarks/members.py runs/ham10000-bundled runs/ham10000-bundled-light [RUN ...]
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from lesionlab.data.layouts import read_collection
from lesionlab.data.prepare import channel_statistics, encode_labels
from lesionlab.diagnosis import DX
from lesionlab.model.decide import apply_decision, calibrate, choose_decision, decision_of, unfold_calibration
from lesionlab.model.load import load_network
from lesionlab.model.zoo import build_network
from lesionlab.recipe import DecisionChoice, read_recipe
from lesionlab.rundir import read_finished
from lesionlab.steps import decode
from lesionlab.trust.bootstrap import folds
from lesionlab.trust.metrics import headline

CHOICE = DecisionChoice("prior-corrected", "vector")
FLIPS = ((), (2,), (1,), (1, 2))
DIVISIONS = 5


def main() -> None:
    """Print a row for each run and for each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    runs = parser.parse_args().runs
    tables = [_table(run) for run in runs]
    views = [_logits(run, table) for run, table in zip(runs, tables, strict=True)]  # (4, n, 7) each
    print("| run | log loss | macro AUC | melanoma AUC | accuracy | after the rule: balanced accuracy, accuracy |")
    print("| --- | --- | --- | --- | --- | --- |")
    for run, of_run in zip(runs, views, strict=True):
        print(f"| {run.name} | {_row(of_run.mean(axis=0), tables[0])} |", flush=True)
    for (run, a), (other, b) in itertools.combinations(zip(runs, views, strict=True), 2):
        print(f"| {run.name} and {other.name} | {_row((a[:2].mean(axis=0) + b[2:].mean(axis=0)) / 2, tables[0])} |")


def _table(run: Path) -> pd.DataFrame:
    """The run's images with their part, in the order of the collection; `row` counts them."""
    images = read_collection(Path(read_finished(run)["data"]["folder"])).table
    parts = pd.read_csv(run / "splits.csv", dtype=str)[["image_id", "part"]]
    return images.merge(parts, on="image_id", how="left").assign(row=np.arange(len(images)))


def _logits(run: Path, table: pd.DataFrame) -> np.ndarray:
    """Logits (4, n, 7), but for a constant a row, of the validation images, one view at a time, not calibrated."""
    recipe = read_recipe(str(run / "recipe.toml"))
    image = recipe.image
    collection = read_collection(Path(read_finished(run)["data"]["folder"]))
    pixels = decode(collection, image.height, image.width, image.crop).pixels
    rows = table.loc[table["part"] == "validation", "row"].to_numpy()
    training = table.loc[table["part"] == "train", "row"].to_numpy()
    network = build_network(recipe, *channel_statistics(pixels, training), views=1)
    network.set_weights(load_network(run / "model.keras").get_weights())
    last = network.get_layer("probabilities")
    decision = decision_of(json.loads((run / "metrics.json").read_text(encoding="utf-8"))["decision"])
    last.set_weights(unfold_calibration(*last.get_weights(), decision))
    images = pixels[rows].astype(np.float32)
    found = [network.predict(np.flip(images, axes) if axes else images, batch_size=32, verbose=0) for axes in FLIPS]
    return np.log(np.maximum(found, 1e-30))


def _row(logits: np.ndarray, table: pd.DataFrame) -> str:
    validation = table[table["part"] == "validation"]
    labels, training = encode_labels(validation["dx"]), encode_labels(table.loc[table["part"] == "train", "dx"])
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = []
    for seed in range(DIVISIONS):
        before, after = np.zeros_like(probabilities), np.zeros_like(probabilities)
        fold = folds(validation["lesion_id"].to_numpy(), 5, seed=seed)
        for number in np.unique(fold):
            judged = fold == number
            decision = choose_decision(CHOICE, labels[~judged], probabilities[~judged], training)
            before[judged] = calibrate(probabilities[judged], decision)
            after[judged] = apply_decision(probabilities[judged], decision)
        of_before, of_after = headline(labels, before), headline(labels, after)
        melanoma = roc_auc_score(labels == DX.index("mel"), before[:, DX.index("mel")])
        rows.append(
            (of_before["log_loss"], of_before["macro_auc"], melanoma, of_before["accuracy"])
            + (of_after["balanced_accuracy"], of_after["accuracy"])
        )
    mean = np.mean(rows, axis=0)
    return " | ".join(f"{value:.3f}" for value in mean[:4]) + f" | {mean[4]:.3f}, {mean[5]:.3f}"


if __name__ == "__main__":
    main()
