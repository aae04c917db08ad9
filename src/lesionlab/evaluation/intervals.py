"""Intervals of figures, over lesions: by bootstrap, and by formulas where lesions are few.

In: `LabelledPredictions`. Out: the figures of 2,000 draws, or an interval. Images of one lesion are not independent, so a lesion
is drawn with all of its images (cluster bootstrap: Davison and Hinkley, "Bootstrap methods and their application", 1997,
section 3.8), and formulas count lesions.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

from lesionlab.evaluation.labelled_predictions import LabelledPredictions

RESAMPLES = 2000
AT_SPECIFICITY = 0.9
FEW_LESIONS = 20  # on one side, below which draws of ranks vary too little: `auc_interval`
CLASS_FIGURES = ("sensitivity", "specificity", "ppv", "npv", "f1", "auc", "average_precision")
_ALIKE = 1e-12  # by which draws differ that differ by rounding alone
_CELLS = 2_000_000  # draws times images that are taken at a time: 16 MB an array
_FEW_POSITIVES = 500  # up to which it is faster to look at each positive than to go through all images of each draw


def bootstrap(part: LabelledPredictions, *, seed: int, resamples: int = RESAMPLES) -> dict[str, np.ndarray]:
    """Draw lesions with replacement and take the figures of every draw.

    Args:
        part: n images, of k diagnoses.
        seed: of the draws.
        resamples: how many draws.

    Returns:
        `accuracy`, `balanced_accuracy`, `macro_auc`, `log_loss`: float (resamples,); each of `CLASS_FIGURES`, and
        `sensitivity_at_90` (at 90 % specificity): float (resamples, k). What a draw leaves undefined is NaN there and left out of
        that draw's means.

    """
    weights = draw_weights(part.lesions, seed, resamples)  # (resamples, n): how often each image was drawn
    diagnoses = np.arange(part.n_diagnoses)
    is_class, is_predicted = part.labels[:, None] == diagnoses, part.predicted[:, None] == diagnoses  # (n, k)
    counts = _counts(weights, is_class, is_predicted)
    ranked = [ranking(is_class[:, c], part.probabilities[:, c], weights) for c in diagnoses]
    losses = -np.log(np.maximum(part.probabilities[np.arange(len(part)), part.labels], 1e-15))
    areas, precisions, sensitivities = (np.stack([item[index] for item in ranked], axis=1) for index in range(3))
    return {
        "accuracy": counts.pop("accuracy"),
        "balanced_accuracy": mean_of_defined(counts["sensitivity"]),
        "macro_auc": mean_of_defined(areas),
        "log_loss": sums_over_draws(weights, losses) / weights.sum(axis=1),
        "sensitivity_at_90": sensitivities,
        **counts,
        "auc": areas,
        "average_precision": precisions,
    }


def draw_weights(lesions: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Draw lesions with replacement: uint8 (resamples, n), how often each image is in each draw."""
    _, lesion_of_image = np.unique(lesions, return_inverse=True)
    number = int(lesion_of_image.max()) + 1
    random, drawn = np.random.default_rng(seed), np.empty((resamples, number), np.uint8)
    for block in _blocks(resamples, number):
        drawn[block] = random.multinomial(number, np.full(number, 1 / number), size=len(drawn[block]))
    return drawn[:, lesion_of_image]


def sums_over_draws(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum values (n,) or (n, k) over the images of each draw: (resamples,) or (resamples, k)."""
    return np.concatenate([weights[block].astype(np.float32) @ values for block in _blocks(*weights.shape)])


def _blocks(resamples: int, number: int) -> list[slice]:
    draws = max(1, _CELLS // number)
    return [slice(start, min(start + draws, resamples)) for start in range(0, resamples, draws)]


def folds(lesions: np.ndarray, number: int, *, seed: int) -> np.ndarray:
    """Deal lesions into `number` equal folds at random: integers (n,), the same for all images of a lesion."""
    names, lesion_of_image = np.unique(lesions, return_inverse=True)
    dealt = np.random.default_rng(seed).permutation(len(names)) % number
    return dealt[lesion_of_image]


def in_words(value: float | None, interval: Sequence[float | None] | None) -> str:
    """Word a figure with its 95 % interval; either may be undefined, NaN or None."""
    if value is None or np.isnan(value):
        return "not defined: all images are of one diagnosis"
    low, high = interval or (None, None)
    if low is None or high is None or np.isnan(low):
        return f"{value:.3f}  (no interval: too few lesions, or one prediction for all)"
    return f"{value:.3f}  (95 % interval {low:.3f} to {high:.3f})"


def percentile_interval(values: np.ndarray) -> list[float]:
    """Give the 95 % interval of bootstrap draws (resamples,); NaN where none is defined, or none differs, which tells nothing."""
    defined = values[~np.isnan(values)]
    if not len(defined) or np.ptp(defined) < _ALIKE:
        return [float("nan")] * 2
    return [float(bound) for bound in np.percentile(defined, [2.5, 97.5])]


def paired_interval(differences: np.ndarray) -> list[float]:
    """Give the 95 % interval of draws of a difference (resamples,); 0 to 0 where two models are equal in every draw."""
    defined = differences[~np.isnan(differences)]
    return [0.0, 0.0] if len(defined) and not defined.any() else percentile_interval(defined)


def effective_number(lesions: np.ndarray) -> float:
    """Count lesions as a rate over their images does: (sum of m)^2 / (sum of m^2) for lesions of m images.

    That is their number where each has as many images (Kish, "Survey sampling", 1965, section 11.7); images of one lesion are
    taken to say the same thing. 0 of none.
    """
    images = np.unique(lesions, return_counts=True)[1].astype(float)
    return float(images.sum() ** 2 / (images**2).sum()) if len(images) else 0.0


def auc_interval(area: float, positives: float, negatives: float) -> list[float] | None:
    """Give the 95 % interval of an area under the ROC curve of few lesions; None where one side is empty.

    Newcombe's method 5 (Stat. Med. 25, 2006, doi:10.1002/sim.2324): the areas from which the one found is 1.96 standard errors
    away, an error being that of Hanley and McNeil at the area in question. Positives and negatives count lesions.
    """
    if not positives or not negatives or np.isnan(area):
        return None
    half = (positives + negatives) / 2 - 1

    def distance(true: float) -> float:
        spread = 1 + half * ((1 - true) / (2 - true) + true / (1 + true))
        return abs(area - true) - 1.959964 * np.sqrt(true * (1 - true) * spread / (positives * negatives))

    low = 0.0 if area <= 0 else brentq(distance, 0.0, area - 1e-9)
    high = 1.0 if area >= 1 else brentq(distance, area + 1e-9, 1.0)
    return [float(low), float(high)]


def wilson_interval(rate: float, number: float) -> list[float] | None:
    """Give the 95 % interval of a rate by Wilson's score method (J. Am. Stat. Assoc. 22, 1927), or None of nothing.

    `number` counts lesions, see `effective_number`. A bootstrap would call a rate of 2 in 2 certain; this does not.
    """
    if not number:
        return None
    z2 = 1.959964**2
    middle = (rate + z2 / (2 * number)) / (1 + z2 / number)
    half = np.sqrt(z2 * (rate * (1 - rate) / number + z2 / (4 * number**2))) / (1 + z2 / number)
    return [float(max(0.0, middle - half)), float(min(1.0, middle + half))]


def share_of_lesions(is_so: np.ndarray, lesions: np.ndarray) -> float:
    """Share of lesions of which something holds, bool (n,) by image; one whose images differ counts in part."""
    _, lesion = np.unique(lesions, return_inverse=True)
    return float((np.bincount(lesion, is_so) / np.bincount(lesion)).mean())


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean of each row (resamples, k) over what is not NaN."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=1) / defined.sum(axis=1)


def ranking(
    is_positive: np.ndarray, score: np.ndarray, weights: np.ndarray, specificity: float = AT_SPECIFICITY
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure how every draw ranks positives before negatives.

    Args:
        is_positive: bool (n,).
        score: float (n,), the higher the more positive; images of equal score form one step.
        weights: (resamples, n), as `draw_weights` gives.
        specificity: at which the sensitivity is read off.

    Returns:
        Area under the ROC curve, average precision, and the largest sensitivity of all thresholds that keep the
        specificity: float (resamples,) each, NaN where a draw holds one side only.

    """
    number = int(is_positive.sum())
    if 0 < number <= _FEW_POSITIVES and number * len(score) <= _CELLS:
        return _rank_by_positives(is_positive, score, weights, specificity)
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) < 0])
    positive_first = is_positive[order]
    parts = [
        _rank_block(positive_first, starts, weights[block][:, order], specificity) for block in _blocks(*weights.shape)
    ]
    area, precision, sensitivity = (np.concatenate(part) for part in zip(*parts, strict=True))
    return area, precision, sensitivity


def _rank_by_positives(
    is_positive: np.ndarray, score: np.ndarray, weights: np.ndarray, specificity: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank as `_rank_block` does, at the positives' scores alone, where all three figures change: by products of matrices."""
    own, others = score[is_positive], score[~is_positive]
    drawn, drawn_others = (weights[:, side].astype(np.float32) for side in (is_positive, ~is_positive))
    # How many positives, and negatives, of a draw have a positive's score or more: counts, which float32 holds exactly.
    found, alarms = drawn @ _at_least(own, own), drawn_others @ _at_least(others, own)  # (draws, positives)
    tied = drawn_others @ (others[:, None] == own).astype(np.float32) if np.isin(own, others).any() else 0.0
    return _figures_of_draws(drawn.astype(np.float64), drawn_others.sum(axis=1), found, alarms, tied, specificity)


def _at_least(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return (scores[:, None] >= thresholds).astype(np.float32)


def _rank_block(
    is_positive: np.ndarray, starts: np.ndarray, drawn: np.ndarray, specificity: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    positive = np.add.reduceat(drawn * is_positive, starts, axis=1, dtype=np.float64)  # (draws, steps)
    negative = np.add.reduceat(drawn * ~is_positive, starts, axis=1, dtype=np.float64)
    found, alarms = positive.cumsum(axis=1), negative.cumsum(axis=1)
    return _figures_of_draws(positive, alarms[:, -1], found, alarms, negative, specificity)


def _figures_of_draws(
    positive: np.ndarray,
    negatives: np.ndarray,
    found: np.ndarray,
    alarms: np.ndarray,
    tied: np.ndarray | float,
    specificity: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take area, average precision and sensitivity of each draw, at thresholds.

    Args:
        positive: (draws, thresholds), positives that have this very score.
        negatives: (draws,), all of a draw.
        found: (draws, thresholds), positives of this score or more.
        alarms: (draws, thresholds), negatives of this score or more.
        tied: negatives that have this very score.
        specificity: as of `ranking`.

    """
    found, alarms, negatives = (counts.astype(np.float64) for counts in (found, alarms, negatives))
    positives = positive.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        area = (positive * (negatives[:, None] - alarms + tied / 2)).sum(axis=1) / (positives * negatives)
        precision = np.where(found + alarms > 0, found / (found + alarms), 0)
        average = (positive * precision).sum(axis=1) / positives
        kept = alarms <= (1 - specificity) * negatives[:, None] + 1e-9
        sensitivity = np.where(kept, found, 0).max(axis=1) / positives
    is_defined = (positives > 0) & (negatives > 0)
    return tuple(np.where(is_defined, values, np.nan) for values in (area, average, sensitivity))  # type: ignore[return-value]


def _counts(weights: np.ndarray, is_class: np.ndarray, is_predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Take the figures that follow from counts alone: (resamples, k), and `accuracy` (resamples,)."""
    support, answered, correct = (
        sums_over_draws(weights, columns.astype(np.float32)).astype(np.float64)
        for columns in (is_class, is_predicted, is_class & is_predicted)
    )
    total = support.sum(axis=1, keepdims=True)
    negatives, rejected = total - support, total - answered
    true_negatives = total - support - answered + correct
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": correct.sum(axis=1) / total[:, 0],
            "sensitivity": np.where(support > 0, correct / support, np.nan),
            "specificity": np.where(negatives > 0, true_negatives / negatives, np.nan),
            "ppv": np.where(answered > 0, correct / answered, np.nan),
            "npv": np.where(rejected > 0, true_negatives / rejected, np.nan),
            "f1": np.where(support > 0, 2 * correct / (support + answered), np.nan),
        }
