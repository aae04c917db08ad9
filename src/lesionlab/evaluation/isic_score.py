"""The metrics of the ISIC challenges, as their own scorers compute them (isic-challenge-scoring 5.6.0; Kaggle's for 2024).

In: a table of predictions and one of the truth. Out: plain numbers. Where the official scorer gives a number, this is the
same number: a tie for the largest probability is no answer and counts as wrong, a threshold metric takes what lies above
0.5, PPV and NPV without any positive or negative answer are 1, `score_weight` weighs the rows, ISIC_0035068 has weight 0.
Where a diagnosis does not occur the official scorer fails; here its figures are NaN, and means go over the others. Where
the truth is not sorted by image it gives weights to the wrong rows; here a weight stays with its image.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import auc, average_precision_score, roc_auc_score, roc_curve

from lesionlab.errors import UsageError
from lesionlab.evaluation.answers import UNDECIDED, answers_of
from lesionlab.evaluation.isic_challenges import CHALLENGES, DEFAULT, DIAGNOSES, Challenge
from lesionlab.evaluation.isic_tables import read_predictions, read_truth

METRICS = ("accuracy", "sensitivity", "specificity", "dice", "ppv", "npv", "auc", "auc_sens_80", "ap")
_THRESHOLD = 0.5
_SENSITIVITY = 0.8


def score(
    predictions: Path | str,
    truth: Path | str,
    *,
    challenge: str = DEFAULT,
    part: str | None = None,
    allow_missing: bool = False,
) -> dict[str, Any]:
    """Score a table of predictions against the truth.

    Args:
        predictions: CSV with `image` (of MILK10k `lesion_id`) and the challenge's columns, 0 to 1, in any order; also a run's
            `predictions.csv`. For ISIC 2016, 2020 and 2024 a table of the seven diagnoses too.
        truth: the challenge's own CSV (with or without `score_weight`, `validation_weight`), or one with `image_id` and `dx`.
        challenge: one of `CHALLENGES`.
        part: of a run's table, the part to score; its images alone are looked for in the truth.
        allow_missing: score the images that have a prediction; otherwise every image of the truth needs one.

    Returns:
        `challenge`, and `metric`, the key of the figure that ranks: `balanced_accuracy` (ISIC 2018, 2019), `macro_f1`
        (MILK10k), `average_precision` (2016), `macro_auc` (2017), `auc` (2020), `pauc_80` (2024: 0 to 0.2). Of them all
        `macro_auc`, `macro_auc_sens_80`, `macro_average_precision`, `macro_average` and `per_category` (each of `METRICS`),
        counts, and `notes` in words. Where each image has one diagnosis also `balanced_accuracy`, `accuracy`,
        `validation_balanced_accuracy` (by `validation_weight`) and how many are `undecided`. Fractions 0 to 1.

    Raises:
        UsageError: a fault in a table; names the row, the column or the images.

    """
    if challenge not in CHALLENGES:
        raise UsageError(f"There is no challenge {challenge!r}: it is one of {', '.join(CHALLENGES)}.")
    rules, predictions, truth = CHALLENGES[challenge], Path(predictions), Path(truth)
    predicted, notes = read_predictions(predictions, part, rules)
    expected = read_truth(truth, rules)
    rows = _matched(
        predicted.images, expected.images, predictions, truth, allow_missing or part is not None, f"{rules.key}s"
    )
    if len(rows) < len(expected.images):
        left = len(expected.images) - len(rows)
        notes.append(f"{left:,} {rules.key}s of {truth} have no prediction and are not scored.")
    weights = expected.weights[rows]
    if not weights[:, 0].sum() > 0:
        raise UsageError(
            f"{truth}: no scored {rules.key} has a score_weight above 0. Give at least one a weight, or leave the column out."
        )
    figures = score_arrays(expected.values[rows], predicted.values, weights[:, 0], weights[:, 1], rules)
    return {"challenge": challenge, "metric": rules.metric} | figures | {"notes": notes}


def score_arrays(
    truth: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray,
    validation_weights: np.ndarray,
    challenge: Challenge = DIAGNOSES,
) -> dict[str, Any]:
    """Score n images or lesions; see `score` for what returns.

    Args:
        truth: float (n, columns), 0 or 1, in the order of the challenge's columns.
        probabilities: float (n, columns), 0 to 1; rows need not sum to 1.
        weights: float (n,), at least 0, not all 0.
        validation_weights: float (n,), likewise, for the second balanced accuracy.
        challenge: whose columns these are.

    """
    is_class = truth > _THRESHOLD
    per_category = {
        column: _category(is_class[:, index], probabilities[:, index], weights)
        for index, column in enumerate(challenge.columns)
    }
    occurring = [per_category[column] for column, n in zip(challenge.columns, weights @ is_class, strict=True) if n]
    macro = {metric: _mean([figures[metric] for figures in occurring]) for metric in METRICS}
    answers = _answers(is_class, probabilities, weights, validation_weights) if challenge.has_one_answer else {}
    figures = answers | {
        "macro_auc": macro["auc"],
        "macro_auc_sens_80": macro["auc_sens_80"],
        "macro_average_precision": macro["ap"],
        "images": len(truth),
        "macro_average": macro,
        "per_category": per_category,
    }
    if challenge.metric not in figures:
        figures[challenge.metric] = _RANKING[challenge.metric](is_class[:, 0], probabilities[:, 0], weights, macro)
    return figures


_RANKING: dict[str, Callable[..., float]] = {
    "average_precision": lambda is_positive, scores, weights, macro: macro["ap"],
    "auc": lambda is_positive, scores, weights, macro: macro["auc"],
    "macro_f1": lambda is_positive, scores, weights, macro: macro["dice"],
    "pauc_80": lambda is_positive, scores, weights, macro: partial_auc(is_positive, scores, weights),
}


def _answers(
    is_class: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, validation_weights: np.ndarray
) -> dict[str, Any]:
    answer = answers_of(probabilities)
    is_right = is_class[np.arange(len(answer)), answer] & (answer != UNDECIDED)
    return {
        "balanced_accuracy": _balanced_accuracy(is_class, is_right, weights),
        "accuracy": float((weights * is_right).sum() / weights.sum()),
        "validation_balanced_accuracy": _balanced_accuracy(is_class, is_right, validation_weights),
        "undecided": int((answer == UNDECIDED).sum()),
    }


def partial_auc(is_positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, sensitivity: float = 0.8) -> float:
    """Area between a ROC curve and a sensitivity, above it: 0 to 1 - sensitivity; NaN where one side is empty.

    As ISIC 2024 was ranked (N. Kurtansky, "ISIC pAUC-aboveTPR", Kaggle): mirrored, so that the bound of scikit-learn's partial
    area, which is one of the false positive rate, is one of the sensitivity; and McClish's scaling taken back.
    """
    counts = weights > 0
    is_positive, scores, weights = is_positive[counts], scores[counts], weights[counts]
    if not is_positive.any() or is_positive.all():
        return math.nan
    most = 1 - sensitivity
    least = most**2 / 2
    scaled = roc_auc_score(~is_positive, -scores, max_fpr=most, sample_weight=weights)
    return float(least + (2 * scaled - 1) * (most - least))


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
    support = weights @ is_class  # (k,)
    right = (weights * is_right) @ is_class
    return _mean([_ratio(hits, total, math.nan) for hits, total in zip(right, support, strict=True)])


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _ratio(part: float, whole: float, if_undefined: float) -> float:
    return float(part / whole) if whole else if_undefined


def _matched(
    given: list[str], expected: list[str], predictions: Path, truth: Path, allow_missing: bool, what: str
) -> np.ndarray:
    """Give the rows of the truth, in the order of the predictions."""
    row_of = {image: row for row, image in enumerate(expected)}
    extra = [image for image in given if image not in row_of]
    if extra:
        raise UsageError(f"{predictions} has {len(extra):,} {what} that {truth} has not: {', '.join(extra[:5])}.")
    missing = sorted(set(expected) - set(given))
    if missing and not allow_missing:
        raise UsageError(
            f"{predictions} lacks {len(missing):,} {what} of {truth}: {', '.join(missing[:5])}. Predict them, or score "
            "the others with --allow-missing."
        )
    return np.array([row_of[image] for image in given], dtype=int)
