"""The metrics of the ISIC 2018 challenge, task 3, as its own scorer computes them (isic-challenge-scoring 5.6.0).

In: a table of predictions and one of the truth. Out: plain numbers. Where the official scorer gives a number, this is the
same number: a tie for the largest probability is no answer and counts as wrong, a threshold metric takes what lies above
0.5, PPV and NPV without any positive or negative answer are 1, `score_weight` weighs the rows, ISIC_0035068 has weight 0.
Where a diagnosis does not occur the official scorer fails; here its figures are NaN, and means go over the others. Where
the truth is not sorted by image it gives weights to the wrong rows; here a weight stays with its image.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import auc, average_precision_score, roc_curve

from lesionlab.errors import UsageError
from lesionlab.evaluation.isic_tables import read_predictions, read_truth
from lesionlab.taxonomy import ISIC_COLUMNS

METRICS = ("accuracy", "sensitivity", "specificity", "dice", "ppv", "npv", "auc", "auc_sens_80", "ap")
_THRESHOLD = 0.5
_SENSITIVITY = 0.8


def score(predictions: Path, truth: Path, *, part: str | None = None, allow_missing: bool = False) -> dict[str, Any]:
    """Score a table of predictions against the truth.

    Args:
        predictions: CSV with `image` and ISIC's seven columns, 0 to 1, in any order; also a run's `predictions.csv`.
        truth: ISIC's one-hot CSV (with or without `score_weight`, `validation_weight`), or one with `image_id` and `dx`.
        part: of a run's table, the part to score; its images alone are looked for in the truth.
        allow_missing: score the images that have a prediction; otherwise every image of the truth needs one.

    Returns:
        `balanced_accuracy`, `accuracy`, `macro_auc`, `macro_auc_sens_80`, `macro_average_precision`,
        `validation_balanced_accuracy` (by `validation_weight`), `macro_average` and `per_category` (each of `METRICS`),
        counts, and `notes` in words. Fractions 0 to 1.

    Raises:
        UsageError: a fault in a table; names the row, the column or the images.

    """
    predicted, notes = read_predictions(predictions, part)
    expected = read_truth(truth)
    rows = _matched(predicted.images, expected.images, predictions, truth, allow_missing or part is not None)
    if len(rows) < len(expected.images):
        notes.append(f"{len(expected.images) - len(rows):,} images of {truth} have no prediction and are not scored.")
    weights = expected.weights[rows]
    if not weights[:, 0].sum() > 0:
        raise UsageError(
            f"{truth}: no scored image has a score_weight above 0. Give at least one a weight, or leave the column out."
        )
    return score_arrays(expected.values[rows], predicted.values, weights[:, 0], weights[:, 1]) | {"notes": notes}


def score_arrays(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, validation_weights: np.ndarray
) -> dict[str, Any]:
    """Score n images; see `score` for what returns.

    Args:
        truth: float (n, 7), one-hot in ISIC's order.
        probabilities: float (n, 7), 0 to 1; rows need not sum to 1.
        weights: float (n,), at least 0, not all 0.
        validation_weights: float (n,), likewise, for the second balanced accuracy.

    """
    is_class = truth > _THRESHOLD
    per_category = {
        column: _category(is_class[:, index], probabilities[:, index], weights)
        for index, column in enumerate(ISIC_COLUMNS)
    }
    macro = {metric: _mean([figures[metric] for figures in per_category.values()]) for metric in METRICS}
    is_answer = probabilities == probabilities.max(axis=1, keepdims=True)  # (n, 7)
    is_undecided = is_answer.sum(axis=1) > 1
    is_right = (is_answer & is_class).any(axis=1) & ~is_undecided
    return {
        "balanced_accuracy": _balanced_accuracy(is_class, is_right, weights),
        "accuracy": float((weights * is_right).sum() / weights.sum()),
        "macro_auc": macro["auc"],
        "macro_auc_sens_80": macro["auc_sens_80"],
        "macro_average_precision": macro["ap"],
        "validation_balanced_accuracy": _balanced_accuracy(is_class, is_right, validation_weights),
        "images": len(truth),
        "undecided": int(is_undecided.sum()),
        "macro_average": macro,
        "per_category": per_category,
    }


def _category(is_positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    is_predicted = scores > _THRESHOLD
    tp, tn = weights[is_positive & is_predicted].sum(), weights[~is_positive & ~is_predicted].sum()
    fp, fn = weights[~is_positive & is_predicted].sum(), weights[is_positive & ~is_predicted].sum()
    figures = {
        "images": int(is_positive.sum()),
        "accuracy": _ratio(tp + tn, tp + tn + fp + fn, math.nan),
        "sensitivity": _ratio(tp, tp + fn, math.nan),
        "specificity": _ratio(tn, tn + fp, math.nan),
        "dice": _ratio(2 * tp, 2 * tp + fp + fn, 1.0) if tp + fn else math.nan,
        "ppv": _ratio(tp, tp + fp, 1.0),
        "npv": _ratio(tn, tn + fn, 1.0),
    }
    return figures | _ranking(is_positive, scores, weights)


def _ranking(is_positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    counts = weights > 0
    is_positive, scores, weights = is_positive[counts], scores[counts], weights[counts]
    if not is_positive.any() or is_positive.all():
        return dict.fromkeys(("auc", "auc_sens_80", "ap"), math.nan)
    fpr, tpr, _ = roc_curve(is_positive, scores, sample_weight=weights, drop_intermediate=False)
    return {
        "auc": float(auc(fpr, tpr)),
        "auc_sens_80": _area_above(fpr, tpr, _SENSITIVITY),
        "ap": float(average_precision_score(is_positive, scores, sample_weight=weights)),
    }


def _area_above(fpr: np.ndarray, tpr: np.ndarray, sensitivity: float) -> float:
    """Area under the part of a ROC curve that lies at a sensitivity or above (the challenge's AUC80)."""
    at = int(tpr.searchsorted(sensitivity, side="left"))
    start = np.interp(sensitivity, tpr[at - 1 : at + 1], fpr[at - 1 : at + 1])
    return float(auc(np.r_[start, fpr[at:]], np.r_[sensitivity, tpr[at:]]))


def _balanced_accuracy(is_class: np.ndarray, is_right: np.ndarray, weights: np.ndarray) -> float:
    support = weights @ is_class  # (7,)
    right = (weights * is_right) @ is_class
    return _mean([_ratio(hits, total, math.nan) for hits, total in zip(right, support, strict=True)])


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _ratio(part: float, whole: float, if_undefined: float) -> float:
    return float(part / whole) if whole else if_undefined


def _matched(given: list[str], expected: list[str], predictions: Path, truth: Path, allow_missing: bool) -> np.ndarray:
    """Give the rows of the truth, in the order of the predictions."""
    row_of = {image: row for row, image in enumerate(expected)}
    extra = [image for image in given if image not in row_of]
    if extra:
        raise UsageError(f"{predictions} has {len(extra):,} images that {truth} has not: {', '.join(extra[:5])}.")
    missing = sorted(set(expected) - set(given))
    if missing and not allow_missing:
        raise UsageError(
            f"{predictions} lacks {len(missing):,} images of {truth}: {', '.join(missing[:5])}. Predict them, or score "
            "the others with --allow-missing."
        )
    return np.array([row_of[image] for image in given], dtype=int)
