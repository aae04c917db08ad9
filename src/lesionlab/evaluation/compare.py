"""Whether one model is better than another on the same images, or only seems so.

In: two models' `LabelledPredictions` of the same images. Out: each figure of both, the difference with a paired 95 % interval,
and a verdict in plain words. Both models are measured on the same draws of lesions, so that what is hard for both falls out of
the difference. Intervals count lesions: images of one lesion add little to each other, and of a single lesion there is no
interval.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from lesionlab.errors import UsageError
from lesionlab.evaluation.before_after import FEWEST_LESIONS
from lesionlab.evaluation.intervals import bootstrap, paired_interval
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import HEADLINE, auc, headline
from lesionlab.evaluation.notebook_html import interval_text, number, table
from lesionlab.evaluation.tasks import as_task, has_malignant_task

_NO_INTERVAL = (float("nan"), float("nan"))
_MIN_LESIONS = 2  # of which draws can differ
_ROUNDING = 1e-9  # a standard error below this is one of rounding


@dataclass(frozen=True)
class Difference:
    """A figure of both models; `difference` is that of the second less that of the first, with its 95 % interval.

    The interval is NaN where too few lesions give none.
    """

    first: float
    second: float
    difference: float
    interval: tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether there is an interval, and it leaves out zero."""
        return self.interval[0] > 0 or self.interval[1] < 0


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        images: how many were compared; `lesions` how many they show.
        figures: by name, of `lesionlab.evaluation.metrics.HEADLINE`.
        only_first_right: images that the first model alone answers rightly; likewise `only_second_right`.
        mcnemar_p: exact two-sided McNemar test of these two counts, over lesions: see `_mcnemar`.
        malignant_auc: malignant against benign, its interval by DeLong's method over lesions; `delong_p` is the test's. NaN
            where no diagnosis counts as malignant, or all do.
        few: diagnoses with fewer than ten lesions, whose sensitivity is known badly, so that intervals of balanced accuracy are
            too narrow.

    """

    images: int
    lesions: int
    figures: dict[str, Difference]
    only_first_right: int
    only_second_right: int
    mcnemar_p: float
    malignant_auc: Difference
    delong_p: float
    few: tuple[str, ...] = ()

    def verdict(self, first: str, second: str) -> str:
        """Say in a sentence which model is better by balanced accuracy, if any is."""
        found = self.figures["balanced_accuracy"]
        low, high = (100 * bound for bound in found.interval)
        points = f"{100 * found.difference:+.1f} points of balanced accuracy"
        if np.isnan(low):
            return f"{second} has {points} against {first}: too few lesions to tell the two apart."
        points += f" (95 % interval {low:+.1f} to {high:+.1f})"
        if not found.is_clear:
            return f"{second} has {points} against {first}: the data cannot tell the two apart."
        return f"{second} is {'better' if found.difference > 0 else 'worse'} than {first}: {points}."

    def _repr_html_(self) -> str:
        """Show the verdict, and each difference with its interval, in a notebook."""
        named = {name.replace("_", " ").replace("auc", "AUC"): each for name, each in self.figures.items()}
        if not np.isnan(self.malignant_auc.difference):
            named["AUC, malignant against benign"] = self.malignant_auc
        rows = [
            (name, number(each.first), number(each.second), number(each.difference, signed=True),
             interval_text(each.interval, signed=True))
            for name, each in named.items()
        ]  # fmt: skip
        head = ("", "first", "second", "difference", "95 % interval, paired")
        counts = f"{self.images:,} images of {self.lesions:,} lesions; only the first right {self.only_first_right:,}, "
        counts += f"only the second {self.only_second_right:,} (McNemar p = {self.mcnemar_p:.3f})"
        return f"<div><b>{self.verdict('The first', 'the second').capitalize()}</b>{table(head, rows)}{counts}</div>"


def compare(first: LabelledPredictions, second: LabelledPredictions, *, seed: int = 0) -> Comparison:
    """Compare two models on the same images, with the same labels, in the same order; the seed is of the bootstrap.

    Raises:
        UsageError: labels, lesions or diagnoses differ.

    """
    _refuse_other_images(first, second)
    both = first, second
    draws = [bootstrap(part, seed=seed) for part in both]
    values = [headline(part.labels, part.probabilities) for part in both]
    only_first, only_second = (int((a.is_right & ~b.is_right).sum()) for a, b in (both, both[::-1]))
    malignant, p = _malignant_auc(first, second)
    return Comparison(
        images=len(first),
        lesions=first.n_lesions,
        figures={
            name: Difference(
                getattr(values[0], name),
                getattr(values[1], name),
                getattr(values[1], name) - getattr(values[0], name),
                _pair(paired_interval(draws[1][name] - draws[0][name])),
            )
            for name in HEADLINE
        },
        only_first_right=only_first,
        only_second_right=only_second,
        mcnemar_p=_mcnemar(first.is_right.astype(int) - second.is_right, first.lesions),
        malignant_auc=malignant,
        delong_p=p,
        few=_few(first),
    )


def _pair(interval: list[float]) -> tuple[float, float]:
    low, high = interval
    return low, high


def _few(part: LabelledPredictions) -> tuple[str, ...]:
    counts = ((dx, part.lesions[part.labels == place]) for place, dx in enumerate(part.taxonomy.dx))
    return tuple(dx for dx, lesions in counts if 0 < len(np.unique(lesions)) < FEWEST_LESIONS)


def _refuse_other_images(first: LabelledPredictions, second: LabelledPredictions) -> None:
    if first.taxonomy.dx != second.taxonomy.dx:
        raise UsageError(
            f"The models know other diagnoses: {', '.join(first.taxonomy.dx)} and {', '.join(second.taxonomy.dx)}."
        )
    if not (np.array_equal(first.labels, second.labels) and np.array_equal(first.lesions, second.lesions)):
        raise UsageError("The predictions to compare are of other images, or in another order.")


def _malignant_auc(first: LabelledPredictions, second: LabelledPredictions) -> tuple[Difference, float]:
    if not has_malignant_task(first.taxonomy):
        nan = float("nan")
        return Difference(nan, nan, nan, _NO_INTERVAL), nan
    (is_positive, score), (_, other) = (as_task(part, first.taxonomy.malignant) for part in (first, second))
    return delong(is_positive, score, other, first.lesions)


def delong(
    is_positive: np.ndarray, first: np.ndarray, second: np.ndarray, lesions: np.ndarray
) -> tuple[Difference, float]:
    """Compare two areas under the ROC curve on the same images, lesions counting, not images.

    DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988), for several images of one lesion by Obuchowski, Biometrics 53 (1997),
    doi:10.2307/2533958; of one image a lesion the two are the same. Placements by the ranks of Sun and Xu, IEEE Signal
    Process. Lett. 21 (2014).

    Args:
        is_positive: bool (n,).
        first: scores float (n,), the higher the more positive.
        second: likewise, of the other model.
        lesions: (n,) lesion ids.

    Returns:
        The areas, their difference with its 95 % interval, and the two-sided p-value; NaN where one side is empty, interval
        and p-value also where one side has a single lesion, or all lesions differ alike.

    """
    areas = auc(is_positive, first), auc(is_positive, second)
    difference = areas[1] - areas[0]
    if min(len(np.unique(lesions[side])) for side in (is_positive, ~is_positive)) < _MIN_LESIONS:
        return Difference(*areas, difference, _NO_INTERVAL), float("nan")
    places = [_placements(is_positive, score) for score in (first, second)]
    of_positives, of_negatives = (places[1][side] - places[0][side] - difference for side in (0, 1))
    error = float(np.sqrt(_variance(is_positive, of_positives, of_negatives, lesions)))
    error = error if error > _ROUNDING else 0.0
    if not error and difference:  # too few lesions to differ in
        return Difference(*areas, difference, _NO_INTERVAL), float("nan")
    half = norm.ppf(0.975) * error
    p = float(2 * norm.sf(abs(difference) / error)) if error else 1.0
    return Difference(*areas, difference, (float(difference - half), float(difference + half))), p


def _variance(
    is_positive: np.ndarray, of_positives: np.ndarray, of_negatives: np.ndarray, lesions: np.ndarray
) -> float:
    """Variance of a mean placement, from what each image's differs from it, summed over each lesion (Obuchowski 1997)."""
    names, lesion = np.unique(lesions, return_inverse=True)
    total, sums = 0.0, []
    for side, differences in ((is_positive, of_positives), (~is_positive, of_negatives)):
        count = len(np.unique(lesion[side]))
        sums.append(np.bincount(lesion[side], differences, minlength=len(names)) / len(differences))
        total += count / (count - 1) * float((sums[-1] ** 2).sum())
    both = float((sums[0] * sums[1]).sum())  # lesions with images on both sides
    return max(0.0, total + 2 * len(names) / (len(names) - 1) * both)


def _placements(is_positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the share of negatives below it, for each negative that of positives above; ties count half."""
    positive, negative = score[is_positive], score[~is_positive]
    ranks = rankdata(np.concatenate([positive, negative]))
    above_negatives = (ranks[: len(positive)] - rankdata(positive)) / len(negative)
    below_positives = 1 - (ranks[len(positive) :] - rankdata(negative)) / len(positive)
    return above_negatives, below_positives


def _mcnemar(difference: np.ndarray, lesions: np.ndarray) -> float:
    """Test whether two models are right equally often: the exact two-sided p-value.

    If they are, either may be the better one on each lesion: the sum over lesions is held against all ways of exchanging the two
    models there (R. A. Fisher, "The design of experiments", 1935, section 21). Of one image a lesion that is McNemar's exact
    test (Psychometrika 12, 1947); images of one lesion, which are alike, do not count as several.

    Args:
        difference: integers (n,), 1 where the first model alone is right, -1 where the second alone is.
        lesions: (n,) lesion ids.

    """
    _, lesion = np.unique(lesions, return_inverse=True)
    sums = np.bincount(lesion, difference).round().astype(int)
    chances = np.ones(1)  # of each sum, from -total to total
    for step in np.abs(sums[sums != 0]):
        wider = np.zeros(len(chances) + 2 * step)
        wider[: len(chances)] += chances / 2
        wider[2 * step :] += chances / 2
        chances = wider
    total = len(chances) // 2
    is_as_far = np.abs(np.arange(-total, total + 1)) >= abs(sums.sum())
    return float(min(1.0, chances[is_as_far].sum()))
