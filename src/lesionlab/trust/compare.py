"""Whether one model is better than another on the same images, or only seems so.

In: the labels of n images, the lesion that each shows, and two models' probabilities. Out: each figure of both, the
difference with a paired 95 % interval, and a verdict in plain words. Both models are judged on the same draws of lesions,
so that what is hard for both falls out of the difference.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm, rankdata

from lesionlab.diagnosis import INDEX_OF, MALIGNANT
from lesionlab.trust.metrics import auc, bootstrap, headline, percentile_interval

FIGURES = ("balanced_accuracy", "macro_auc", "accuracy")


@dataclass(frozen=True)
class Difference:
    """A figure of both models; `difference` is that of the second less that of the first, with its 95 % interval."""

    first: float
    second: float
    difference: float
    interval: tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        images: how many were compared; `lesions` how many they show.
        figures: by name, of `FIGURES`.
        only_first_right: images that the first model alone answers rightly; likewise `only_second_right`.
        mcnemar_p: exact two-sided McNemar test of these two counts (Psychometrika 12, 1947); images count as independent.
        malignant_auc: malignant against benign, its interval by DeLong's method; `delong_p` is the test's.

    """

    images: int
    lesions: int
    figures: dict[str, Difference]
    only_first_right: int
    only_second_right: int
    mcnemar_p: float
    malignant_auc: Difference
    delong_p: float

    def verdict(self, first: str, second: str) -> str:
        """Say in a sentence which model is better by balanced accuracy, if any is."""
        found = self.figures["balanced_accuracy"]
        low, high = (100 * bound for bound in found.interval)
        points = f"{100 * found.difference:+.1f} points of balanced accuracy (95 % interval {low:+.1f} to {high:+.1f})"
        if not found.is_clear:
            return f"{second} has {points} against {first}: the data cannot tell the two apart."
        return f"{second} is {'better' if found.difference > 0 else 'worse'} than {first}: {points}."


def compare(
    labels: np.ndarray, lesions: np.ndarray, first: np.ndarray, second: np.ndarray, *, seed: int = 0
) -> Comparison:
    """Compare two models on the same images.

    Args:
        labels: integers (n,) in `DX` order.
        lesions: (n,) lesion ids; the bootstrap draws these.
        first: probabilities float (n, 7).
        second: likewise, of the other model.
        seed: of the bootstrap.

    """
    draws = [bootstrap(labels, probabilities, lesions, seed=seed) for probabilities in (first, second)]
    values = [headline(labels, probabilities) for probabilities in (first, second)]
    right = [probabilities.argmax(axis=1) == labels for probabilities in (first, second)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    columns = [INDEX_OF[dx] for dx in MALIGNANT]
    malignant, p = delong(np.isin(labels, columns), first[:, columns].sum(axis=1), second[:, columns].sum(axis=1))
    return Comparison(
        images=len(labels),
        lesions=len(np.unique(lesions)),
        figures={
            name: Difference(
                values[0][name],
                values[1][name],
                values[1][name] - values[0][name],
                _pair(percentile_interval(draws[1][name] - draws[0][name])),
            )
            for name in FIGURES
        },
        only_first_right=only_first,
        only_second_right=only_second,
        mcnemar_p=float(binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0,
        malignant_auc=malignant,
        delong_p=p,
    )


def delong(is_positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[Difference, float]:
    """Compare two areas under the ROC curve on the same images.

    DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988), by the ranks of Sun and Xu, IEEE Signal Process. Lett. 21 (2014).

    Args:
        is_positive: bool (n,).
        first: scores float (n,), the higher the more positive.
        second: likewise, of the other model.

    Returns:
        The areas, their difference with its 95 % interval, and the two-sided p-value; NaN where one side is empty.

    """
    areas = auc(is_positive, first), auc(is_positive, second)
    difference = areas[1] - areas[0]
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if min(positives, negatives) < 2:
        return Difference(*areas, difference, (float("nan"), float("nan"))), float("nan")
    places = [_placements(is_positive, score) for score in (first, second)]
    of_positives, of_negatives = (places[1][side] - places[0][side] for side in (0, 1))
    error = float(np.sqrt(of_positives.var(ddof=1) / positives + of_negatives.var(ddof=1) / negatives))
    half = norm.ppf(0.975) * error
    p = float(2 * norm.sf(abs(difference) / error)) if error else 1.0
    return Difference(*areas, difference, (float(difference - half), float(difference + half))), p


def _placements(is_positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the share of negatives below it, for each negative that of positives above; ties count half."""
    positive, negative = score[is_positive], score[~is_positive]
    ranks = rankdata(np.concatenate([positive, negative]))
    above_negatives = (ranks[: len(positive)] - rankdata(positive)) / len(negative)
    below_positives = 1 - (ranks[len(positive) :] - rankdata(negative)) / len(positive)
    return above_negatives, below_positives


def _pair(bounds: list[float]) -> tuple[float, float]:
    low, high = bounds
    return low, high
