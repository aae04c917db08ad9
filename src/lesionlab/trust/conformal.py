"""Sets of diagnoses that hold the truth as often as promised, whatever it is: class-conditional conformal prediction.

The score of a diagnosis is the probability of all likelier ones and half its own (APS: Romano, Sesia, Candes,
"Classification with valid and adaptive coverage", NeurIPS 2020, its random number set to one half, which keeps the promise
and gives every image one answer). Each diagnosis has a threshold of its own (Vovk, "Conditional validity of inductive
conformal predictors", ACML 2012): a promise over all diagnoses together is kept on nevi and broken on melanomas.

The promise holds for images that come from where the calibration images came from, and for no others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlab.diagnosis import DX

COVERAGE = 0.9


@dataclass(frozen=True)
class Conformal:
    """`thresholds` of the scores and `images` that each was found on, in `DX` order; `coverage` is what is promised.

    A threshold of 1 takes a diagnosis into every set: its calibration images were too few to promise anything else.
    """

    coverage: float
    thresholds: tuple[float, ...]
    images: tuple[int, ...]


def calibrate(labels: np.ndarray, probabilities: np.ndarray, coverage: float = COVERAGE) -> Conformal:
    """Find the thresholds on images that the network was not trained on.

    Args:
        labels: integers (n,) in `DX` order.
        probabilities: float (n, 7).
        coverage: promised share of sets that hold the truth, of each diagnosis, 0 to 1.

    """
    own = scores(probabilities)[np.arange(len(labels)), labels]
    thresholds = []
    for index in range(len(DX)):
        found = np.sort(own[labels == index])
        rank = int(np.ceil((len(found) + 1) * coverage - 1e-9))
        thresholds.append(float(found[rank - 1]) if rank <= len(found) else 1.0)
    return Conformal(coverage, tuple(thresholds), tuple(np.bincount(labels, minlength=len(DX)).tolist()))


def scores(probabilities: np.ndarray) -> np.ndarray:
    """Score every diagnosis of every image: float (n, 7), 0 to 1, the smaller the more likely."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1)
    result = np.empty_like(ordered)
    np.put_along_axis(result, order, np.cumsum(ordered, axis=1) - ordered / 2, axis=1)
    return result


def prediction_sets(probabilities: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Which diagnoses are in each image's set: bool (n, 7); the likeliest one always is."""
    sets = scores(probabilities) <= np.array(thresholds)
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets


def measure(labels: np.ndarray, probabilities: np.ndarray, conformal: Conformal) -> dict[str, Any]:
    """Measure on other images how often the sets hold the truth, and how large they are, overall and by diagnosis."""
    sets = prediction_sets(probabilities, conformal.thresholds)
    holds, sizes = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    return {
        "promised": conformal.coverage,
        "coverage": float(holds.mean()),
        "mean_size": float(sizes.mean()),
        "single": float((sizes == 1).mean()),
        "per_class": {
            dx: {
                "images": int((labels == index).sum()),
                "calibrated_on": conformal.images[index],
                "coverage": float(holds[labels == index].mean()) if (labels == index).any() else float("nan"),
                "mean_size": float(sizes[labels == index].mean()) if (labels == index).any() else float("nan"),
            }
            for index, dx in enumerate(DX)
        },
    }


def risk_coverage(labels: np.ndarray, probabilities: np.ndarray, uncertainty: np.ndarray) -> list[dict[str, float]]:
    """Error of the answers that are left when the least sure ones go to a specialist, at 50 to 100 % answered.

    El-Yaniv and Wiener, "On the foundations of noise-free selective classification", JMLR 11 (2010).
    """
    wrong = (probabilities.argmax(axis=1) != labels)[np.argsort(uncertainty, kind="stable")]
    shares = np.arange(0.5, 1.001, 0.05)
    kept = np.maximum(1, np.round(shares * len(labels)).astype(int))
    errors = np.cumsum(wrong)[kept - 1] / kept
    return [{"answered": round(float(s), 2), "error": float(e)} for s, e in zip(shares, errors, strict=True)]
