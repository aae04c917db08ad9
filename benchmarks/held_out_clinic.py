"""What a clinic never seen costs: the same classifier with and without images of the clinic that it is tested on.

    python benchmarks/held_out_clinic.py --data ../shared/ham10000 --weights FILE.weights.h5

A network takes minutes to hours to train, and six are needed for each clinic; so the classifier is a logistic
regression on the features of a MobileNet that has seen ImageNet alone. It is weaker than a trained network: what counts is the
difference. Both are trained on equally many images and tested on the same ones, all of a clinic's (the column `dataset`):
once by five folds of its groups of lesions, the other folds being in the pool to train on, once on the other clinics alone.
Of a network itself: `lesionlab run --split source:CLINIC`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lesionlab.data.layouts.recognise import read_collection
from lesionlab.data.statistics import encode_labels
from lesionlab.evaluation.compare import compare
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.lifecycle.prepare import LOOK_PX, decode, inspect
from lesionlab.progress import track
from lesionlab.taxonomy import DX, HAM10000

FOLDS = 5
STRENGTH = 0.003  # inverse of the penalty; set beforehand


def main() -> None:
    """Print a row for each clinic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="MobileNet 1.0 without its top, in Keras's format")
    options = parser.parse_args()
    collection = read_collection(options.data)
    table = inspect(collection).table.reset_index(drop=True)
    pixels = decode(collection, LOOK_PX, LOOK_PX, "centre").pixels
    features, labels = (
        see(pixels, table["row"].to_numpy(), options.weights),
        encode_labels(table["dx"], collection.taxonomy),
    )
    print("clinic           images  malignant AUC: seen, held out, difference    balanced accuracy: likewise")
    for clinic in table["dataset"].value_counts().index:
        row(clinic, table, features, labels)


def see(pixels: np.ndarray, rows: np.ndarray, weights: Path) -> np.ndarray:
    """Features float32 (n, 1024) of the images, after the global average."""
    import keras

    shape = (*pixels.shape[1:3], 3)
    network = keras.applications.MobileNet(include_top=False, weights=None, pooling="avg", input_shape=shape)
    network.load_weights(weights)
    batches = track(np.array_split(rows, max(1, len(rows) // 64)), "features")
    return np.concatenate([network.predict_on_batch(pixels[batch] / np.float32(127.5) - 1) for batch in batches])


def row(clinic: str, table: pd.DataFrame, features: np.ndarray, labels: np.ndarray) -> None:
    """Print what both classifiers get on the images of a clinic."""
    is_there = (table["dataset"] == clinic).to_numpy()
    others = np.flatnonzero(~is_there & ~table["group"].isin(table.loc[is_there, "group"]))
    tested = np.flatnonzero(is_there)
    held_out = fitted(features[others], labels[others])(features[tested])
    seen, rng = np.zeros_like(held_out), np.random.default_rng(0)
    for known, judged in GroupKFold(FOLDS).split(tested, groups=table["group"].to_numpy()[tested]):
        pool = rng.choice(np.r_[others, tested[known]], len(others), replace=False)
        seen[judged] = fitted(features[pool], labels[pool])(features[tested[judged]])
    lesions = table["lesion_id"].to_numpy()[tested]
    found = compare(*(LabelledPredictions(labels[tested], given, lesions, HAM10000) for given in (seen, held_out)))
    cells = []
    for figure in (found.malignant_auc, found.figures["balanced_accuracy"]):
        low, high = figure.interval
        cells.append(f"{figure.first:.3f} {figure.second:.3f} {figure.difference:+.3f} ({low:+.3f} to {high:+.3f})")
    print(f"{clinic:15} {len(tested):7,}  {'   '.join(cells)}")


def fitted(features: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the classifier and give the function from features to probabilities (n, 7)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=500))
    model.fit(features, labels)

    def predict(values: np.ndarray) -> np.ndarray:
        probabilities = np.zeros((len(values), len(DX)))
        probabilities[:, model.classes_] = model.predict_proba(values)
        return probabilities

    return predict


if __name__ == "__main__":
    main()
