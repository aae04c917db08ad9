"""Two models on the same lesions, before and after a change: each figure, the difference, and intervals over lesions.

In: `LabelledPredictions` twice, of the same images. Out: a `Gain` a figure. Both models are measured on the same 2,000 draws of
lesions, so that the interval of a difference is of pairs.
"""

from dataclasses import dataclass

import numpy as np

from lesionlab.evaluation.calibration import calibration
from lesionlab.evaluation.intervals import (
    bootstrap,
    draw_weights,
    paired_interval,
    percentile_interval,
    ranking,
    sums_over_draws,
)
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import headline
from lesionlab.evaluation.tasks import MALIGNANT, as_task, tasks_of

FEWEST_LESIONS = 10  # of a diagnosis whose sensitivity is stated
_FIGURES = ("balanced_accuracy", "accuracy", "macro_auc")
_SHOWN = 5e-4  # below, a difference is written as 0
# Over k, what a log loss takes a smaller probability for: a diagnosis that the old model lacks would make it boundless.
_FLOOR = 1e-3


@dataclass(frozen=True)
class Gain:
    """A figure of both models.

    Attributes:
        name: in words; `is_better_high`: whether more of it is better.
        before: value, with its 95 % interval `before_interval`; likewise `after`.
        difference: after less before, with the interval of pairs.
        note: what stands in place of a verdict.

    An interval is NaN where too few lesions give none.
    """

    name: str
    is_better_high: bool
    before: float
    before_interval: list[float]
    after: float
    after_interval: list[float]
    difference: float
    difference_interval: list[float]
    note: str = ""

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `not told apart` where the interval of the difference holds 0, is nothing else, or is absent."""
        if self.note:
            return self.note
        low, high = self.difference_interval
        if not (low > 0 or high < 0) or max(abs(low), abs(high)) < _SHOWN:
            return "not told apart"
        return "better" if (low > 0) == self.is_better_high else "worse"


@dataclass(frozen=True)
class DiagnosisGain:
    """A diagnosis: its lesions, and its sensitivity before and after; None where its lesions are too few to say one."""

    dx: str
    name: str
    lesions: int
    before: float | None
    after: float | None


def before_after(before: LabelledPredictions, after: LabelledPredictions, *, seed: int) -> list[Gain]:
    """Compare the figures of two models on the same images.

    Args:
        before: of the first model.
        after: of the second, the same images in the same order.
        seed: of the bootstrap.

    """
    draws, points = zip(
        *((bootstrap(p, seed=seed), headline(p.labels, p.probabilities)) for p in (before, after)), strict=True
    )
    gains = [
        _gain(
            name.replace("_", " ").replace("auc", "AUC"),
            True,
            [getattr(p, name) for p in points],
            [d[name] for d in draws],
        )
        for name in _FIGURES
    ]
    weights = draw_weights(after.lesions, seed)
    gains.append(_log_loss(before, after, weights))
    codes = tasks_of(after.taxonomy).get(MALIGNANT)
    if codes and len(np.unique(as_task(after, codes)[0])) == 2:
        gains.append(_malignant(before, after, codes, weights))
    return [*gains, _calibration(before, after)]


def by_diagnosis(before: LabelledPredictions, after: LabelledPredictions) -> list[DiagnosisGain]:
    """Give the sensitivity of each diagnosis before and after, where it has `FEWEST_LESIONS` or more."""
    rows = []
    for place, diagnosis in enumerate(after.taxonomy.diagnoses):
        own = after.labels == place
        lesions = len(np.unique(after.lesions[own]))
        is_enough = lesions >= FEWEST_LESIONS
        shares = [float(part.is_right[own].mean()) if is_enough else None for part in (before, after)]
        rows.append(DiagnosisGain(diagnosis.dx, diagnosis.name, lesions, *shares))
    return rows


def _log_loss(before: LabelledPredictions, after: LabelledPredictions, weights: np.ndarray) -> Gain:
    rows = np.arange(len(after))
    losses = [-np.log(np.maximum(p.probabilities[rows, p.labels], _FLOOR / p.n_diagnoses)) for p in (before, after)]
    drawn = [sums_over_draws(weights, loss) / weights.sum(axis=1) for loss in losses]
    return _gain("log loss", False, [float(loss.mean()) for loss in losses], drawn)


def _malignant(
    before: LabelledPredictions, after: LabelledPredictions, codes: tuple[str, ...], weights: np.ndarray
) -> Gain:
    ones = np.ones((1, len(after)), np.uint8)
    areas = [[ranking(*as_task(part, codes), w)[0] for w in (ones, weights)] for part in (before, after)]
    return _gain(
        "AUC of malignant against benign", True, [float(one[0]) for one, _ in areas], [drawn for _, drawn in areas]
    )


def _calibration(before: LabelledPredictions, after: LabelledPredictions) -> Gain:
    """Give both errors, and what chance alone would give, without intervals.

    An error is too large by chance, and that of draws is so twice: of 300 lesions of a calibrated model no interval of draws held
    0. Whether probabilities got better is what the log loss says, whose draws are not biased (Broecker and Smith, Weather and
    Forecasting 22, 2007, doi:10.1175/WAF993.1).
    """
    found = [calibration(part) for part in (before, after)]
    none, (first, second) = [float("nan")] * 2, [one.by_chance["ece"][0] for one in found]
    note = f"{first:.3f} and {second:.3f} by chance alone"
    a, b = (one.ece for one in found)
    return Gain("calibration error", False, a, none, b, none, b - a, none, note)


def _gain(name: str, is_better_high: bool, points: list[float], draws: list[np.ndarray]) -> Gain:
    (before, after), (first, second) = points, draws
    own = percentile_interval(first), percentile_interval(second)
    pairs = paired_interval(second - first)
    return Gain(name, is_better_high, before, own[0], after, own[1], after - before, pairs)
