"""Operating points: where to draw the line between malignant and benign, or melanoma and the rest, and what it costs.

In: labels and probabilities of the validation and of the test part. A line is drawn on the validation part and judged on
the test part: one that is drawn where it is judged promises too much. Where there is no validation part, each fifth of the
lesions is judged by lines drawn on the other four fifths.
"""

from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from lesionlab.evaluation.intervals import (
    FEW_LESIONS,
    auc_interval,
    effective_number,
    folds,
    percentile_interval,
    ranking,
    wilson_interval,
)
from lesionlab.evaluation.intervals import draw_weights as draw_lesions
from lesionlab.evaluation.metrics import auc, thin
from lesionlab.taxonomy import INDEX_OF, MALIGNANT

TASKS = {"malignant": MALIGNANT, "melanoma": ("mel",)}
SENSITIVITIES = (0.90, 0.95)
SPECIFICITIES = (0.90, 0.95)
WANTED: tuple[dict[str, Any], ...] = (
    *({"wanted": "sensitivity", "at_least": value} for value in SENSITIVITIES),
    *({"wanted": "specificity", "at_least": value} for value in SPECIFICITIES),
)
NET_BENEFIT_AT = tuple(round(0.02 * step, 2) for step in range(1, 31))
FOLDS = 5
_NEVER = 1.01  # a threshold that no probability reaches, not even a sum of three by rounding


def operating_points(
    validation: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    lesions: np.ndarray,
    *,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Draw the lines of each of `TASKS` and judge them.

    Args:
        validation: labels (n,) and probabilities (n, 7) of the validation part.
        test: likewise, of the test part.
        lesions: (n,) lesion ids of the test part; intervals count these.
        seed: of the bootstrap.

    Returns:
        For `malignant` (against benign) and `melanoma` (against all else): `positives`, `negatives` and `auc` of the test
        part with its `auc_interval` (bootstrap; of few lesions Newcombe's), and the `roc` curve; `points`, each with what was
        `wanted` on the validation part, the `threshold`, and `sensitivity` and `specificity` on the test part with Wilson's
        95 % intervals. A task without positives or negatives in either part is left out.

    """
    tasks = {}
    for name, codes in TASKS.items():
        drawn, judged = (as_task(*part, codes) for part in (validation, test))
        if any(not is_positive.any() or is_positive.all() for is_positive, _ in (drawn, judged)):
            continue
        lines = [line | {"threshold": draw(*drawn, **{line["wanted"]: line["at_least"]})} for line in WANTED]
        tasks[name] = _judged_task(judged, lesions, seed) | {
            "points": [line | judge(*judged, line["threshold"], lesions) for line in lines]
        }
    return tasks


def cross_evaluated(
    labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, *, seed: int
) -> dict[str, dict[str, Any]]:
    """Judge each fifth of the lesions by lines drawn on the others; as `operating_points`, `threshold` being their mean."""
    fold, tasks = folds(lesions, FOLDS, seed=seed), {}
    for name, codes in TASKS.items():
        is_positive, score = as_task(labels, probabilities, codes)
        sides = [(is_positive[fold != f].any(), (~is_positive[fold != f]).any()) for f in np.unique(fold)]
        if not is_positive.any() or is_positive.all() or not np.all(sides):
            continue
        points = []
        for line in WANTED:
            lines = [
                draw(is_positive[fold != f], score[fold != f], **{line["wanted"]: line["at_least"]})
                for f in range(FOLDS)
            ]
            threshold = np.array(lines)[fold]
            points.append(line | judge(is_positive, score, threshold, lesions) | {"threshold": float(np.mean(lines))})
        tasks[name] = _judged_task((is_positive, score), lesions, seed) | {"points": points}
    return tasks


def _judged_task(judged: tuple[np.ndarray, np.ndarray], lesions: np.ndarray, seed: int) -> dict[str, Any]:
    is_positive, score = judged
    area, sides = auc(is_positive, score), [effective_number(lesions[side]) for side in (is_positive, ~is_positive)]
    if min(sides) < FEW_LESIONS:
        interval = auc_interval(area, *sides)
    else:
        interval = percentile_interval(ranking(is_positive, score, draw_lesions(lesions, seed))[0])
    false_positive, true_positive, _ = roc_curve(is_positive, score)
    return {
        "positives": int(is_positive.sum()),
        "negatives": int((~is_positive).sum()),
        "auc": area,
        "auc_interval": interval,
        "roc": {"fpr": thin(false_positive), "tpr": thin(true_positive)},
    }


def as_task(labels: np.ndarray, probabilities: np.ndarray, codes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Which images show one of the diagnoses, bool (n,), and the probability given to them together, float (n,)."""
    columns = [INDEX_OF[dx] for dx in codes]
    return np.isin(labels, columns), probabilities[:, columns].sum(axis=1)


def draw(
    is_positive: np.ndarray, score: np.ndarray, *, sensitivity: float | None = None, specificity: float | None = None
) -> float:
    """Find the threshold that keeps at least one figure and gives the most of the other; scores from it on are positive."""
    if sensitivity is not None:
        needed = int(np.ceil(sensitivity * is_positive.sum() - 1e-9))  # so many of the positives, the highest ones
        return float(np.sort(score[is_positive])[-needed]) if needed else float("inf")
    false_positive, _, thresholds = roc_curve(is_positive, score, drop_intermediate=False)
    kept = np.flatnonzero(1 - false_positive >= (specificity or 0.0) - 1e-12)
    return float(min(thresholds[kept[-1]], _NEVER))  # roc_curve begins with an infinite threshold


def judge(
    is_positive: np.ndarray, score: np.ndarray, threshold: float | np.ndarray, lesions: np.ndarray
) -> dict[str, Any]:
    """Sensitivity and specificity at a threshold, or at one for each image (n,), with intervals that count lesions."""
    called = score >= threshold
    sensitivity, specificity = float(called[is_positive].mean()), float((~called[~is_positive]).mean())
    return {
        "threshold": threshold if isinstance(threshold, float) else None,
        "sensitivity": sensitivity,
        "sensitivity_interval": wilson_interval(sensitivity, effective_number(lesions[is_positive])),
        "specificity": specificity,
        "specificity_interval": wilson_interval(specificity, effective_number(lesions[~is_positive])),
    }


def net_benefit(is_positive: np.ndarray, score: np.ndarray) -> list[dict[str, float]]:
    """Decision curve: true positives less false positives weighed by the odds of the threshold, an image.

    Vickers and Elkin, "Decision curve analysis", Med. Decis. Making 26 (2006). `all` is that of calling every lesion
    positive; calling none has 0. A model is of use at a threshold where it lies above both. The score (n,) must be a
    calibrated probability.
    """
    rows = []
    for threshold in NET_BENEFIT_AT:
        odds, called = threshold / (1 - threshold), score >= threshold
        rows.append(
            {
                "threshold": threshold,
                "model": float((called & is_positive).mean() - odds * (called & ~is_positive).mean()),
                "all": float(is_positive.mean() - odds * (~is_positive).mean()),
            }
        )
    return rows
