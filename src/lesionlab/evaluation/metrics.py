"""Step 14: what a model's probabilities are worth on one part of the data, with intervals.

In: integer labels and probabilities of n images, and the lesion that each shows. Out: plain numbers for metrics.json.
Balanced accuracy is the mean of the sensitivities (recalls) of the diagnoses that occur; macro AUC the mean of their
one-against-rest areas. An undefined figure is NaN (null in JSON), and its support stands beside it.
"""

from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_curve

from lesionlab.evaluation.answers import UNDECIDED, answers_of
from lesionlab.evaluation.intervals import (
    AT_SPECIFICITY,
    CLASS_FIGURES,
    FEW_LESIONS,
    auc_interval,
    bootstrap,
    effective_number,
    percentile_interval,
    ranking,
    wilson_interval,
)
from lesionlab.taxonomy import DX, INDEX_OF

_CLASSES = len(DX)
_CURVE_POINTS = 200
HEADLINE = ("balanced_accuracy", "macro_auc", "accuracy")  # what runs are compared by
_WITH_INTERVAL = (*HEADLINE, "log_loss", "mel_at_90")
_RATES = ("recall", "specificity", "precision", "npv")  # shares of lesions, of which Wilson's interval can be taken


def evaluate_part(labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, *, seed: int) -> dict[str, Any]:
    """Every figure of one part.

    Args:
        labels: integers (n,), 0 to 6 in `DX` order.
        probabilities: float (n, 7), rows sum to 1; the largest is the prediction, a tie is none and counts as wrong.
        lesions: (n,) lesion ids; the bootstrap draws these, not images.
        seed: of the bootstrap.

    Returns:
        The object that `metrics.json` holds for a part; fractions 0 to 1. `undecided` counts ties, which `confusion` leaves out.
        `intervals` are those of the bootstrap; where no draw
        differs (all answers right), accuracy has Wilson's and the others none; of one lesion alone there are none. In
        `per_class` so has a share that no draw moves (0 of 5, 9 of 9); the AUC of a diagnosis of few lesions has Newcombe's,
        and its average precision none; `recall_interval` is Wilson's always. All count lesions.

    """
    labels, probabilities, lesions = np.asarray(labels), np.asarray(probabilities, float), np.asarray(lesions)
    predicted = answers_of(probabilities)
    confusion = confusion_matrix(labels, predicted, labels=range(_CLASSES))
    counts = np.bincount(labels, minlength=_CLASSES)
    draws = bootstrap(labels, probabilities, lesions, seed=seed)
    return {
        "images": len(labels),
        "lesions": int(len(np.unique(lesions))),
        "undecided": int((predicted == UNDECIDED).sum()),
        **headline(labels, probabilities),
        "mel_at_90": sensitivity_at(labels == INDEX_OF["mel"], probabilities[:, INDEX_OF["mel"]]),
        "majority_accuracy": float(counts.max() / counts.sum()),
        "intervals": _headline_intervals(labels, predicted == labels, lesions, draws),
        "per_class": {
            dx: (row := _class_row(labels == index, probabilities[:, index], predicted == index, lesions))
            | {"intervals": _class_intervals(labels == index, predicted == index, lesions, draws, index, row["auc"])}
            for index, dx in enumerate(DX)
        },
        "confusion": confusion.tolist(),
    }


def _headline_intervals(
    labels: np.ndarray, is_right: np.ndarray, lesions: np.ndarray, draws: dict[str, np.ndarray]
) -> dict[str, list[float]]:
    none = [float("nan")] * 2
    intervals = {name: percentile_interval(draws[name]) for name in _WITH_INTERVAL}
    intervals = {name: none if low == high else [low, high] for name, (low, high) in intervals.items()}
    if np.isnan(intervals["accuracy"][0]) and len(np.unique(lesions)) > 1:
        intervals["accuracy"] = wilson_interval(float(is_right.mean()), effective_number(lesions)) or none
    if len(np.unique(lesions[labels == INDEX_OF["mel"]])) < FEW_LESIONS:
        intervals["mel_at_90"] = none
    return intervals


def sensitivity_at(is_positive: np.ndarray, score: np.ndarray, specificity: float = AT_SPECIFICITY) -> float:
    """Read the sensitivity at a specificity off the ROC curve of these very images; NaN where one side is empty."""
    return float(ranking(is_positive, score, np.ones((1, len(score)), np.float32), specificity)[2][0])


def _class_row(
    is_positive: np.ndarray, score: np.ndarray, is_predicted: np.ndarray, lesions: np.ndarray
) -> dict[str, Any]:
    number = len(np.unique(lesions[is_positive]))
    figures = _class_figures(is_positive, score, is_predicted)
    recall_interval = wilson_interval(figures["recall"], effective_number(lesions[is_positive]))
    return {"images": int(is_positive.sum()), "lesions": number, **figures, "recall_interval": recall_interval}


def _class_intervals(
    is_positive: np.ndarray,
    is_predicted: np.ndarray,
    lesions: np.ndarray,
    draws: dict[str, np.ndarray],
    index: int,
    area: float,
) -> dict[str, list[float] | None]:
    """Interval of each of `CLASS_FIGURES`, see `evaluate_part`."""
    whole = {"recall": is_positive, "specificity": ~is_positive, "precision": is_predicted, "npv": ~is_predicted}
    intervals: dict[str, list[float] | None] = {}
    for name in CLASS_FIGURES:
        low, high = percentile_interval(draws[name][:, index])
        intervals[name] = [low, high]
        if name in _RATES and low == high:
            intervals[name] = wilson_interval(low, effective_number(lesions[whole[name]]))
        elif low != low or low == high:
            intervals[name] = None
    sides = effective_number(lesions[is_positive]), effective_number(lesions[~is_positive])
    if min(sides) < FEW_LESIONS:
        intervals |= {"auc": auc_interval(area, *sides), "average_precision": None}
    return intervals


def headline(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro AUC and log loss (natural logarithm, probabilities clipped at 1e-15)."""
    predicted = answers_of(probabilities)
    hits = predicted == labels
    recalls = [hits[labels == index].mean() for index in np.unique(labels)]
    aucs = [auc(labels == index, probabilities[:, index]) for index in np.unique(labels)]
    chosen = probabilities[np.arange(len(labels)), labels]
    return {
        "accuracy": float(hits.mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_auc": float(np.mean(aucs)),
        "log_loss": float(-np.log(np.maximum(chosen, 1e-15)).mean()),
    }


def auc(is_positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney); ties count half; NaN where one side is empty."""
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def curves(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """ROC and precision-recall curves of each diagnosis that occurs, thinned to at most 200 points."""
    roc, precision_recall = {}, {}
    for index, dx in enumerate(DX):
        is_positive, score = labels == index, probabilities[:, index]
        if not is_positive.any() or is_positive.all():
            continue
        fpr, tpr, _ = roc_curve(is_positive, score)
        precision, recall, _ = precision_recall_curve(is_positive, score)
        roc[dx] = {"fpr": thin(fpr), "tpr": thin(tpr)}
        precision_recall[dx] = {"recall": thin(recall), "precision": thin(precision)}
    return {"roc": roc, "precision_recall": precision_recall}


def _class_figures(is_positive: np.ndarray, score: np.ndarray, is_predicted: np.ndarray) -> dict[str, float]:
    true_positives = int((is_positive & is_predicted).sum())
    recall = _ratio(true_positives, is_positive.sum())
    precision = _ratio(true_positives, is_predicted.sum())
    return {
        "precision": precision,
        "recall": recall,
        "specificity": _ratio((~is_positive & ~is_predicted).sum(), (~is_positive).sum()),
        "npv": _ratio((~is_positive & ~is_predicted).sum(), (~is_predicted).sum()),
        "f1": _ratio(2 * true_positives, is_positive.sum() + is_predicted.sum()) if is_positive.any() else float("nan"),
        "auc": auc(is_positive, score),
        "average_precision": float(average_precision_score(is_positive, score)) if is_positive.any() else float("nan"),
        "misclassified": 1 - recall,
    }


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")


def thin(values: np.ndarray) -> list[float]:
    """Take at most 200 of the points of a curve (n,), evenly, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(values) - 1, min(len(values), _CURVE_POINTS)).round().astype(int))
    return [round(float(value), 6) for value in values[chosen]]
