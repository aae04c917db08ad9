"""Operating points: where to draw the line between malignant and benign, or melanoma and the rest, and what it costs.

In: labels and probabilities of the validation and of the test part. A line is drawn on the validation part and judged on
the test part: one that is drawn where it is judged promises too much.
"""

from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from lesionlab.diagnosis import INDEX_OF, MALIGNANT
from lesionlab.trust.metrics import auc, wilson_interval

TASKS = {"malignant": MALIGNANT, "melanoma": ("mel",)}
SENSITIVITIES = (0.90, 0.95)
SPECIFICITIES = (0.90, 0.95)
NET_BENEFIT_AT = tuple(round(0.05 * step, 2) for step in range(1, 11))


def operating_points(
    validation: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], lesions: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Draw the lines of each of `TASKS` and judge them.

    Args:
        validation: labels (n,) and probabilities (n, 7) of the validation part.
        test: likewise, of the test part.
        lesions: (n,) lesion ids of the test part; intervals count these.

    Returns:
        For `malignant` (against benign) and `melanoma` (against all else): `positives`, `negatives` and `auc` of the test
        part; `points`, each with what was `wanted` on the validation part, the `threshold`, and `sensitivity` and
        `specificity` on the test part with Wilson's 95 % intervals. A task without positives or negatives in either
        part is left out.

    """
    tasks = {}
    for name, codes in TASKS.items():
        drawn, judged = (as_task(*part, codes) for part in (validation, test))
        if any(not is_positive.any() or is_positive.all() for is_positive, _ in (drawn, judged)):
            continue
        lines = [("sensitivity", value, draw(*drawn, sensitivity=value)) for value in SENSITIVITIES]
        lines += [("specificity", value, draw(*drawn, specificity=value)) for value in SPECIFICITIES]
        tasks[name] = {
            "positives": int(judged[0].sum()),
            "negatives": int((~judged[0]).sum()),
            "auc": auc(*judged),
            "points": [
                {"wanted": figure, "at_least": value} | judge(*judged, threshold, lesions)
                for figure, value, threshold in lines
            ],
        }
    return tasks


def as_task(labels: np.ndarray, probabilities: np.ndarray, codes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Which images show one of the diagnoses, bool (n,), and the probability given to them together, float (n,)."""
    columns = [INDEX_OF[dx] for dx in codes]
    return np.isin(labels, columns), probabilities[:, columns].sum(axis=1)


def draw(
    is_positive: np.ndarray, score: np.ndarray, *, sensitivity: float | None = None, specificity: float | None = None
) -> float:
    """Find the threshold that keeps at least one figure and gives the most of the other; scores from it on are positive."""
    false_positive, true_positive, thresholds = roc_curve(is_positive, score, drop_intermediate=False)
    if sensitivity is not None:
        return float(thresholds[np.flatnonzero(true_positive >= sensitivity - 1e-12)[0]])
    kept = np.flatnonzero(1 - false_positive >= (specificity or 0.0) - 1e-12)
    return float(min(thresholds[kept[-1]], 1.0))  # roc_curve begins with an infinite threshold


def judge(is_positive: np.ndarray, score: np.ndarray, threshold: float, lesions: np.ndarray) -> dict[str, Any]:
    """Sensitivity and specificity at a threshold, with intervals that count lesions."""
    called = score >= threshold
    sensitivity, specificity = float(called[is_positive].mean()), float((~called[~is_positive]).mean())
    return {
        "threshold": threshold,
        "sensitivity": sensitivity,
        "sensitivity_interval": wilson_interval(sensitivity, len(np.unique(lesions[is_positive]))),
        "specificity": specificity,
        "specificity_interval": wilson_interval(specificity, len(np.unique(lesions[~is_positive]))),
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
