"""When to say "show this to a specialist": how many images can be answered if at most a chosen share may be wrong.

In: labels, probabilities and uncertainties of images that the line is drawn on, and of others that it is judged on. Out:
plain numbers. The line is the largest uncertainty up to which the error is at most the chosen risk, with 95 %
confidence: exact binomial bounds (Clopper and Pearson, Biometrika 26, 1934) at 20 shares of images answered, Bonferroni's
correction for looking at 20 (Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017).
Lesions count: of several images of one lesion, the first does.

The bound supposes images that nothing else was chosen on. A run draws the line on its validation part, which has also chosen
the epoch, the scaling and the decision rule: a little hope is in it, and what counts is the figure on the test part.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import beta

from lesionlab.evaluation.answers import answers_of
from lesionlab.evaluation.intervals import effective_number, folds, share_of_lesions, wilson_interval
from lesionlab.evaluation.operating_points import TASKS, as_task
from lesionlab.evaluation.uncertainty import uncertainties

RISKS = (0.05, 0.1, 0.2)
CONFIDENCE = 0.95
_SHARES = np.arange(1, 21) / 20


def draw_line(is_wrong: np.ndarray, uncertainty: np.ndarray, risk: float) -> float | None:
    """Find the largest uncertainty up to which the error is at most `risk`, or None where nothing can be promised.

    Equal uncertainties are answered together, so the error is that of all up to the line, ties and all.

    Args:
        is_wrong: bool (n,), whether each answer is wrong; a lesion an entry.
        uncertainty: float (n,), the smaller the surer.
        risk: largest share of wrong answers among those given, 0 to 1.

    """
    order = np.argsort(uncertainty, kind="stable")
    errors, surest_first = np.cumsum(is_wrong[order]), uncertainty[order]
    line = None
    for share in _SHARES:
        place = int(round(share * len(order))) - 1
        if place < 0:
            continue
        kept = int(np.searchsorted(surest_first, surest_first[place], side="right"))
        if error_bound(int(errors[kept - 1]), kept) <= risk:
            line = float(surest_first[place])
    return line


def error_bound(errors: int, number: int) -> float:
    """Give the exact upper bound of an error rate, at 95 % confidence for all 20 shares together."""
    alpha = (1 - CONFIDENCE) / len(_SHARES)
    return 1.0 if errors == number else float(beta.ppf(1 - alpha, errors + 1, number - errors))


def abstention(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
    judged: tuple[np.ndarray, np.ndarray, np.ndarray],
    risks: Sequence[float] = RISKS,
) -> list[dict[str, Any]]:
    """Draw a line for each risk on some images and judge it on others.

    Args:
        drawn: labels (n,), probabilities (n, 7) and lesion ids (n,) of the images that the lines are drawn on.
        judged: likewise, of other images.
        risks: shares of wrong answers, 0 to 1.

    Returns:
        For each risk its `threshold` of uncertainty (None where too few images promise nothing) and what `judge` says.

    """
    labels, probabilities, lesions = drawn
    first = np.unique(lesions, return_index=True)[1]
    is_wrong = (answers_of(probabilities) != labels)[first]
    lines = [(risk, draw_line(is_wrong, uncertainties(probabilities)[first], risk)) for risk in risks]
    return [{"risk": risk, **judge(*judged, line)} for risk, line in lines]


def judge(labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, line: float | None) -> dict[str, Any]:
    """Judge a line.

    Returns:
        `threshold`; the share of images `answered`; `error`, the share of wrong answers among these, with Wilson's
        `error_interval`, which counts lesions; `malignant_referred`, the share of malignant lesions not answered (in part,
        where some of a lesion's images are), None where there are none.

    """
    answered = np.zeros(len(labels), bool) if line is None else uncertainties(probabilities) <= line
    return {"threshold": line} | _judge(labels, probabilities, lesions, answered)


def cross_evaluated(
    labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, *, seed: int, risks: Sequence[float] = RISKS
) -> list[dict[str, Any]]:
    """Draw the lines on each half of the lesions, judge them on the other, and put the halves together."""
    half = folds(lesions, 2, seed=seed)
    first, uncertainty = np.unique(lesions, return_index=True)[1], uncertainties(probabilities)
    is_wrong = answers_of(probabilities) != labels
    rows = []
    for risk in risks:
        answered = np.zeros(len(labels), bool)
        for side in (0, 1):
            chosen = first[half[first] == side]
            line = draw_line(is_wrong[chosen], uncertainty[chosen], risk) if len(chosen) else None
            if line is not None:
                answered |= (half != side) & (uncertainty <= line)
        found = _judge(labels, probabilities, lesions, answered)
        rows.append({"risk": risk, "threshold": None} | found)
    return rows


def risk_coverage(labels: np.ndarray, probabilities: np.ndarray, uncertainty: np.ndarray) -> list[dict[str, float]]:
    """Error of the answers that are left when the least sure ones go to a specialist, at 5 to 100 % answered.

    El-Yaniv and Wiener, "On the foundations of noise-free selective classification", JMLR 11 (2010).
    """
    wrong = (answers_of(probabilities) != labels)[np.argsort(uncertainty, kind="stable")]
    shares = np.arange(0.05, 1.001, 0.05)
    kept = np.maximum(1, np.round(shares * len(labels)).astype(int))
    errors = np.cumsum(wrong)[kept - 1] / kept
    return [{"answered": round(float(s), 2), "error": float(e)} for s, e in zip(shares, errors, strict=True)]


def _judge(labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, answered: np.ndarray) -> dict[str, Any]:
    is_wrong = (answers_of(probabilities) != labels)[answered]
    is_malignant, _ = as_task(labels, probabilities, TASKS["malignant"])
    error = float(is_wrong.mean()) if len(is_wrong) else None
    return {
        "answered": float(answered.mean()),
        "error": error,
        "error_interval": None if error is None else wilson_interval(error, effective_number(lesions[answered])),
        "malignant_referred": share_of_lesions(~answered[is_malignant], lesions[is_malignant])
        if is_malignant.any()
        else None,
    }
