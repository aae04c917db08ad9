"""Operating points: thresholds between malignant and benign, or the focus and the rest, and what they cost.

In: `LabelledPredictions` of the validation and of the test part. A threshold is chosen on the validation part and evaluated on
the test part: one that is chosen where it is evaluated promises too much. Where there is no validation part, each fifth of the
lesions is evaluated at thresholds chosen on the other four fifths.
"""

from typing import TypedDict

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
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import auc, thin
from lesionlab.evaluation.tasks import as_task, tasks_of
from lesionlab.evaluation.values import Interval, NetBenefit, OperatingPoint, RocCurve, TaskFigures, Wanted

WANTED: tuple[tuple[Wanted, float], ...] = (
    ("sensitivity", 0.90),
    ("sensitivity", 0.95),
    ("specificity", 0.90),
    ("specificity", 0.95),
)
NET_BENEFIT_AT = tuple(round(0.02 * step, 2) for step in range(1, 31))
FOLDS = 5
_NEVER = 1.01  # a threshold that no probability reaches, not even a sum of three by rounding


def operating_points(
    validation: LabelledPredictions, test: LabelledPredictions, *, seed: int = 0
) -> dict[str, TaskFigures]:
    """Choose the thresholds of each task and evaluate them.

    Args:
        validation: that thresholds are chosen on.
        test: that they are evaluated on; intervals count lesions.
        seed: of the bootstrap.

    Returns:
        For each of `lesionlab.evaluation.tasks.tasks_of`, such as `malignant` (against benign) and `melanoma` (against all
        else): `positives`, `negatives` and `auc` of the test
        part with its `auc_interval` (bootstrap; of few lesions Newcombe's), and the `roc` curve; `points`, each with what was
        `wanted` on the validation part, the `threshold`, and `sensitivity` and `specificity` on the test part with Wilson's
        95 % intervals. A task without positives or negatives in either part is left out.

    """
    tasks = {}
    for name, codes in tasks_of(test.taxonomy).items():
        chosen_on, tested = (as_task(part, codes) for part in (validation, test))
        if any(not is_positive.any() or is_positive.all() for is_positive, _ in (chosen_on, tested)):
            continue
        points = []
        for wanted, at_least in WANTED:
            threshold = choose_threshold(*chosen_on, wanted, at_least)
            shares = evaluate_threshold(*tested, threshold, test.lesions)
            points.append(OperatingPoint(wanted=wanted, at_least=at_least, threshold=threshold, **shares))
        tasks[name] = _evaluated_task(*tested, test.lesions, points, seed)
    return tasks


def cross_evaluated(part: LabelledPredictions, *, seed: int) -> dict[str, TaskFigures]:
    """Evaluate each fifth of the lesions at thresholds chosen on the others.

    As `operating_points`; `threshold` is the mean of the five.
    """
    fold, tasks = folds(part.lesions, FOLDS, seed=seed), {}
    for name, codes in tasks_of(part.taxonomy).items():
        is_positive, score = as_task(part, codes)
        sides = [(is_positive[fold != f].any(), (~is_positive[fold != f]).any()) for f in np.unique(fold)]
        if not is_positive.any() or is_positive.all() or not np.all(sides):
            continue
        points = []
        for wanted, at_least in WANTED:
            outside = [(is_positive[fold != f], score[fold != f]) for f in range(FOLDS)]
            chosen = [choose_threshold(*others, wanted, at_least) for others in outside]
            shares = evaluate_threshold(is_positive, score, np.array(chosen)[fold], part.lesions)
            mean = float(np.mean(chosen))
            points.append(OperatingPoint(wanted=wanted, at_least=at_least, threshold=mean, **shares))
        tasks[name] = _evaluated_task(is_positive, score, part.lesions, points, seed)
    return tasks


def _evaluated_task(
    is_positive: np.ndarray, score: np.ndarray, lesions: np.ndarray, points: list[OperatingPoint], seed: int
) -> TaskFigures:
    area, sides = auc(is_positive, score), [effective_number(lesions[side]) for side in (is_positive, ~is_positive)]
    drawn = [float("nan")] * 2
    if min(sides) >= FEW_LESIONS:
        drawn = percentile_interval(ranking(is_positive, score, draw_lesions(lesions, seed))[0])
    interval: Interval = auc_interval(area, *sides) if np.isnan(drawn[0]) else drawn
    false_positive, true_positive, _ = roc_curve(is_positive, score)
    return TaskFigures(
        positives=int(is_positive.sum()),
        negatives=int((~is_positive).sum()),
        auc=area,
        auc_interval=interval,
        roc=RocCurve(fpr=thin(false_positive), tpr=thin(true_positive)),
        points=points,
    )


def choose_threshold(is_positive: np.ndarray, score: np.ndarray, wanted: Wanted, at_least: float) -> float:
    """Find the threshold that keeps one figure and gives the most of the other; scores (n,) from it on are positive."""
    if wanted == "sensitivity":
        needed = int(np.ceil(at_least * is_positive.sum() - 1e-9))  # so many of the positives, the highest ones
        return float(np.sort(score[is_positive])[-needed]) if needed else float("inf")
    false_positive, _, thresholds = roc_curve(is_positive, score, drop_intermediate=False)
    kept = np.flatnonzero(1 - false_positive >= at_least - 1e-12)
    return float(min(thresholds[kept[-1]], _NEVER))  # roc_curve begins with an infinite threshold


class Shares(TypedDict):
    """What a threshold gives, and Wilson's 95 % intervals."""

    sensitivity: float
    sensitivity_interval: list[float] | None
    specificity: float
    specificity_interval: list[float] | None


def evaluate_threshold(
    is_positive: np.ndarray, score: np.ndarray, threshold: float | np.ndarray, lesions: np.ndarray
) -> Shares:
    """Sensitivity and specificity at a threshold, or at one for each image (n,), with intervals that count lesions."""
    called = score >= threshold
    sensitivity, specificity = float(called[is_positive].mean()), float((~called[~is_positive]).mean())
    return {
        "sensitivity": sensitivity,
        "sensitivity_interval": wilson_interval(sensitivity, effective_number(lesions[is_positive])),
        "specificity": specificity,
        "specificity_interval": wilson_interval(specificity, effective_number(lesions[~is_positive])),
    }


def net_benefit(is_positive: np.ndarray, score: np.ndarray) -> list[NetBenefit]:
    """Decision curve: true positives less false positives weighed by the odds of the threshold, an image.

    Vickers and Elkin, "Decision curve analysis", Med. Decis. Making 26 (2006). `all` is that of calling every lesion
    positive; calling none has 0. A model is of use at a threshold where it lies above both. The score (n,) must be a
    calibrated probability.
    """
    rows = []
    for threshold in NET_BENEFIT_AT:
        odds, called = threshold / (1 - threshold), score >= threshold
        rows.append(
            NetBenefit(
                threshold=threshold,
                model=float((called & is_positive).mean() - odds * (called & ~is_positive).mean()),
                all=float(is_positive.mean() - odds * (~is_positive).mean()),
            )
        )
    return rows
