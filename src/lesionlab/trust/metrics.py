"""Step 14: what a model's probabilities are worth on one part of the data, with intervals.

In: integer labels and probabilities of n images, and the lesion that each shows. Out: plain numbers for metrics.json.
Balanced accuracy is the mean of the sensitivities (recalls) of the diagnoses that occur; macro AUC the mean of their
one-against-rest areas. An undefined figure is NaN (null in JSON), and its support stands beside it.
"""

from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_curve

from lesionlab.diagnosis import DX

RESAMPLES = 2000
_CLASSES = len(DX)
_CURVE_POINTS = 200


def evaluate_part(labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, *, seed: int) -> dict[str, Any]:
    """Every figure of one part.

    Args:
        labels: integers (n,), 0 to 6 in `DX` order.
        probabilities: float (n, 7), rows sum to 1; the largest is the prediction.
        lesions: (n,) lesion ids; the bootstrap draws these, not images.
        seed: of the bootstrap.

    Returns:
        The object that `metrics.json` holds for a part; fractions 0 to 1.

    """
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, labels=range(_CLASSES))
    counts = confusion.sum(axis=1)
    draws = bootstrap(labels, probabilities, lesions, seed=seed)
    draws.pop("recall")
    return {
        "images": len(labels),
        "lesions": int(len(np.unique(lesions))),
        **headline(labels, probabilities),
        "majority_accuracy": float(counts.max() / counts.sum()),
        "intervals": {name: percentile_interval(values) for name, values in draws.items()},
        "per_class": {
            dx: {
                "images": int(counts[index]),
                "lesions": int(len(np.unique(lesions[labels == index]))),
                **_class_figures(labels == index, probabilities[:, index], predicted == index),
                "recall_interval": wilson_interval(
                    _ratio(confusion[index, index], counts[index]), len(np.unique(lesions[labels == index]))
                ),
            }
            for index, dx in enumerate(DX)
        },
        "confusion": confusion.tolist(),
    }


def headline(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro AUC and log loss (natural logarithm, probabilities clipped at 1e-15)."""
    predicted = probabilities.argmax(axis=1)
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


def bootstrap(
    labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, np.ndarray]:
    """Draw lesions with replacement and take the figures of every draw, all draws at once.

    Returns:
        `accuracy`, `balanced_accuracy`, `macro_auc`: float (resamples,); `recall`: float (resamples, 7). A diagnosis
        that a draw misses is NaN there and left out of that draw's mean.

    """
    weights = _draw_weights(lesions, seed, resamples)  # (resamples, n): how often each image was drawn
    is_class = labels[:, None] == np.arange(_CLASSES)  # (n, 7)
    hits = is_class & (probabilities.argmax(axis=1) == labels)[:, None]
    support = weights @ is_class.astype(np.float32)  # (resamples, 7)
    correct = weights @ hits.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(support > 0, correct / support, np.nan)
    areas = np.stack([_weighted_auc(is_class[:, c], probabilities[:, c], weights) for c in range(_CLASSES)], axis=1)
    return {
        "accuracy": correct.sum(axis=1) / support.sum(axis=1),
        "balanced_accuracy": _mean_of_defined(recall),
        "macro_auc": _mean_of_defined(areas),
        "recall": recall,
    }


def wilson_interval(rate: float, number: int) -> list[float] | None:
    """Give the 95 % interval of a rate by Wilson's score method (J. Am. Stat. Assoc. 22, 1927), or None of nothing.

    `number` counts lesions: images of one lesion are taken to say the same thing, which makes the interval wide rather
    than narrow. A bootstrap would call a rate of 2 in 2 certain; this does not.
    """
    if not number:
        return None
    z2 = 1.959964**2
    middle = (rate + z2 / (2 * number)) / (1 + z2 / number)
    half = np.sqrt(z2 * (rate * (1 - rate) / number + z2 / (4 * number**2))) / (1 + z2 / number)
    return [float(max(0.0, middle - half)), float(min(1.0, middle + half))]


def curves(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """ROC and precision-recall curves of each diagnosis that occurs, thinned to at most 200 points."""
    roc, precision_recall = {}, {}
    for index, dx in enumerate(DX):
        is_positive, score = labels == index, probabilities[:, index]
        if not is_positive.any() or is_positive.all():
            continue
        fpr, tpr, _ = roc_curve(is_positive, score)
        precision, recall, _ = precision_recall_curve(is_positive, score)
        roc[dx] = {"fpr": _thin(fpr), "tpr": _thin(tpr)}
        precision_recall[dx] = {"recall": _thin(recall), "precision": _thin(precision)}
    return {"roc": roc, "precision_recall": precision_recall}


def _class_figures(is_positive: np.ndarray, score: np.ndarray, is_predicted: np.ndarray) -> dict[str, float]:
    true_positives = int((is_positive & is_predicted).sum())
    recall = _ratio(true_positives, is_positive.sum())
    precision = _ratio(true_positives, is_predicted.sum())
    return {
        "precision": precision,
        "recall": recall,
        "specificity": _ratio((~is_positive & ~is_predicted).sum(), (~is_positive).sum()),
        "f1": _ratio(2 * true_positives, is_positive.sum() + is_predicted.sum()) if is_positive.any() else float("nan"),
        "auc": auc(is_positive, score),
        "average_precision": float(average_precision_score(is_positive, score)) if is_positive.any() else float("nan"),
        "misclassified": 1 - recall,
    }


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _draw_weights(lesions: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    _, lesion_of_image = np.unique(lesions, return_inverse=True)
    number = int(lesion_of_image.max()) + 1
    draws = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)
    return draws.astype(np.float32)[:, lesion_of_image]


def _weighted_auc(is_positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC of every draw: (resamples,). Images of equal score form one step, so that ties count half."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    drawn = weights[:, order]
    positive = np.add.reduceat(drawn * is_positive[order], starts, axis=1, dtype=np.float64)  # (resamples, steps)
    negative = np.add.reduceat(drawn * ~is_positive[order], starts, axis=1, dtype=np.float64)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, (positive * below).sum(axis=1) / pairs, np.nan)


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=1) / defined.sum(axis=1)


def percentile_interval(values: np.ndarray) -> list[float]:
    """Give the 95 % interval of bootstrap draws (resamples,); NaN where no draw is defined."""
    defined = values[~np.isnan(values)]
    return [float(bound) for bound in np.percentile(defined, [2.5, 97.5])] if len(defined) else [float("nan")] * 2


def _thin(values: np.ndarray) -> list[float]:
    chosen = np.unique(np.linspace(0, len(values) - 1, min(len(values), _CURVE_POINTS)).round().astype(int))
    return [round(float(value), 6) for value in values[chosen]]
