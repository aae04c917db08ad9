"""When to say "show this to a specialist": how many images can be answered if at most a chosen share may be wrong.

In: `LabelledPredictions` that the threshold is chosen on, and others that it is evaluated on. Out: an `Abstention` a risk.
The threshold is the largest uncertainty up to which the error is at most the chosen risk, with 95 % confidence: exact
binomial bounds (Clopper and Pearson, Biometrika 26, 1934) at 20 shares of images answered, Bonferroni's correction for
looking at 20 (Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017). Lesions count: of
several images of one lesion, the first does.

The bound supposes images that nothing else was chosen on. A run chooses the threshold on its validation part, which has also
chosen the epoch, the scaling and the decision rule: a little hope is in it, and what counts is the figure on the test part.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import beta

from lesionlab.evaluation.intervals import effective_number, folds, share_of_lesions, wilson_interval
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.tasks import is_malignant
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.evaluation.values import Abstention, RiskCoverage

RISKS = (0.05, 0.1, 0.2)
CONFIDENCE = 0.95
_SHARES = np.arange(1, 21) / 20


def choose_threshold(is_wrong: np.ndarray, uncertainty: np.ndarray, risk: float) -> float | None:
    """Find the largest uncertainty up to which the error is at most `risk`, or None where nothing can be promised.

    Equal uncertainties are answered together, so the error is that of all up to the threshold, ties and all.

    Args:
        is_wrong: bool (n,), whether each answer is wrong; a lesion an entry.
        uncertainty: float (n,), the smaller the surer.
        risk: largest share of wrong answers among those given, 0 to 1.

    """
    order = np.argsort(uncertainty, kind="stable")
    errors, surest_first = np.cumsum(is_wrong[order]), uncertainty[order]
    threshold = None
    for share in _SHARES:
        place = int(round(share * len(order))) - 1
        if place < 0:
            continue
        kept = int(np.searchsorted(surest_first, surest_first[place], side="right"))
        if error_bound(int(errors[kept - 1]), kept) <= risk:
            threshold = float(surest_first[place])
    return threshold


def error_bound(errors: int, number: int) -> float:
    """Give the exact upper bound of an error rate, at 95 % confidence for all 20 shares together."""
    alpha = (1 - CONFIDENCE) / len(_SHARES)
    return 1.0 if errors == number else float(beta.ppf(1 - alpha, errors + 1, number - errors))


def abstention(
    chosen_on: LabelledPredictions, test: LabelledPredictions, risks: Sequence[float] = RISKS
) -> list[Abstention]:
    """Choose a threshold for each risk on some images and evaluate it on others.

    Args:
        chosen_on: the images that the thresholds are chosen on.
        test: the others.
        risks: shares of wrong predictions, 0 to 1.

    Returns:
        For each risk its `threshold` of uncertainty (None where too few images promise nothing) and what `evaluate_threshold`
        says.

    """
    first = np.unique(chosen_on.lesions, return_index=True)[1]
    is_wrong, uncertainty = ~chosen_on.is_right[first], uncertainties(chosen_on.probabilities)[first]
    chosen = [(risk, choose_threshold(is_wrong, uncertainty, risk)) for risk in risks]
    return [evaluate_threshold(test, threshold, risk) for risk, threshold in chosen]


def evaluate_threshold(part: LabelledPredictions, threshold: float | None, risk: float) -> Abstention:
    """Evaluate a threshold of uncertainty, chosen for a risk; None: nothing is answered.

    Returns:
        `risk` and `threshold`; the share of images `answered`; `error`, the share of wrong predictions among these, with Wilson's
        `error_interval`, which counts lesions; `malignant_referred`, the share of malignant lesions not answered (in part,
        where some of a lesion's images are), None where there are none.

    """
    answered = np.zeros(len(part), bool) if threshold is None else uncertainties(part.probabilities) <= threshold
    return _evaluate(part, answered, risk, threshold)


def cross_evaluated(part: LabelledPredictions, *, seed: int, risks: Sequence[float] = RISKS) -> list[Abstention]:
    """Choose the thresholds on each half of the lesions, evaluate them on the other, and put the halves together."""
    half = folds(part.lesions, 2, seed=seed)
    first, uncertainty = np.unique(part.lesions, return_index=True)[1], uncertainties(part.probabilities)
    rows = []
    for risk in risks:
        answered = np.zeros(len(part), bool)
        for side in (0, 1):
            chosen = first[half[first] == side]
            threshold = choose_threshold(~part.is_right[chosen], uncertainty[chosen], risk) if len(chosen) else None
            if threshold is not None:
                answered |= (half != side) & (uncertainty <= threshold)
        rows.append(_evaluate(part, answered, risk, None))
    return rows


def risk_coverage(part: LabelledPredictions, uncertainty: np.ndarray) -> list[RiskCoverage]:
    """Error of the predictions that are left when the least sure ones go to a specialist, at 5 to 100 % answered.

    El-Yaniv and Wiener, "On the foundations of noise-free selective classification", JMLR 11 (2010).
    """
    wrong = ~part.is_right[np.argsort(uncertainty, kind="stable")]
    shares = np.arange(0.05, 1.001, 0.05)
    kept = np.maximum(1, np.round(shares * len(part)).astype(int))
    errors = np.cumsum(wrong)[kept - 1] / kept
    return [RiskCoverage(answered=round(float(s), 2), error=float(e)) for s, e in zip(shares, errors, strict=True)]


def _evaluate(part: LabelledPredictions, answered: np.ndarray, risk: float, threshold: float | None) -> Abstention:
    is_wrong, malignant, lesions = ~part.is_right[answered], is_malignant(part), part.lesions
    error = float(is_wrong.mean()) if len(is_wrong) else None
    return Abstention(
        risk=risk,
        threshold=threshold,
        answered=float(answered.mean()),
        error=error,
        error_interval=None if error is None else wilson_interval(error, effective_number(lesions[answered])),
        malignant_referred=share_of_lesions(~answered[malignant], lesions[malignant]) if malignant.any() else None,
    )
