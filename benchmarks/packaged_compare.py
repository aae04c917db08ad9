"""Two or more model files on the validation and test parts of the packaged model's split: see docs/experiments.md.

The older one of the table there:

    git show 8461fb7:src/lesionlab/models/bundled.onnx > older.onnx
    python benchmarks/packaged_compare.py older.onnx src/lesionlab/models/bundled.onnx \
        --data build/packaged/ham10000 --data ../shared/milk10k --split build/packaged/splits.csv

Images of the training part are left out.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from held_out import images_of_split
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import headline
from lesionlab.inference.model import load_model
from packaged_sets import labelled, see_all

MANY = 8  # images of a diagnosis, from which on it counts in the column that leaves the rare ones out


def main() -> None:
    """Print a row for each model, part and folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--split", type=Path, required=True)
    options = parser.parse_args()
    print(
        f"| part, folder | model | log loss | macro AUC | balanced accuracy | of diagnoses with {MANY} or more | malignant, AUC |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for path in options.models:
        model = load_model(path)
        table = images_of_split(options.data, options.split, model.facts.taxonomy)
        table = table[table["part"] != "train"].reset_index(drop=True)
        given = labelled(table, see_all(model.bundle, table).probabilities, model.facts.taxonomy)
        for part in ("validation", "test"):
            is_part = (table["part"] == part).to_numpy()
            chosen = {folder.name: is_part & (table["folder"] == n).to_numpy() for n, folder in enumerate(options.data)}
            for name, rows in {**chosen, "both": is_part}.items():
                print(
                    f"| {part}, {name} | {path.name} | "
                    + " | ".join(f"{value:.3f}" for value in figures(given.take(rows)))
                    + " |"
                )


def figures(part: LabelledPredictions) -> list[float]:
    """The five figures of the header."""
    found, counts = headline(part.labels, part.probabilities), np.bincount(part.labels, minlength=part.n_diagnoses)
    of_many = [(part.predicted[part.labels == dx] == dx).mean() for dx in np.flatnonzero(counts >= MANY)]
    malignant = [dx in part.taxonomy.malignant for dx in part.taxonomy.dx]
    is_malignant = np.array(malignant)[part.labels]
    area = roc_auc_score(is_malignant, part.probabilities[:, malignant].sum(axis=1))
    return [found.log_loss, found.macro_auc or np.nan, found.balanced_accuracy, float(np.mean(of_many)), float(area)]


if __name__ == "__main__":
    main()
