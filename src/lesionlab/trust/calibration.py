"""Whether probabilities mean what they say: whether of the answers given with 0.8, 80 % are right.

In: integer labels (n,) and probabilities (n, 7) in `DX` order. Out: plain numbers for metrics.json. The log loss stands
with the headline figures.
"""

from typing import Any

import numpy as np

from lesionlab.diagnosis import DX, INDEX_OF

BINS = 15


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Expected calibration error of the answer given and of melanoma's probability, and the Brier score.

    Returns:
        `ece` and `ece_mel`: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning" (AAAI 2015),
        15 bins of equal width, 0 (calibrated) to 1. `brier`: squared error summed over the diagnoses, mean over the
        images (Brier, Mon. Weather Rev. 78, 1950), 0 to 2. `reliability`: for each bin of the answer given that holds
        images, how many, the mean `stated` probability and the share that `happened`.

    """
    melanoma = INDEX_OF["mel"]
    stated, happened = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    return {
        "ece": expected_calibration_error(stated, happened),
        "ece_mel": expected_calibration_error(probabilities[:, melanoma], labels == melanoma),
        "brier": float(((probabilities - np.eye(len(DX))[labels]) ** 2).sum(axis=1).mean()),
        "reliability": _reliability(stated, happened),
    }


def expected_calibration_error(stated: np.ndarray, happened: np.ndarray) -> float:
    """Mean distance between stated probability (n,) and how often it happened (n,), over 15 bins weighted by size."""
    sums = np.bincount(_bins(stated), stated - happened, minlength=BINS)
    return float(np.abs(sums).sum() / len(stated))


def _reliability(stated: np.ndarray, happened: np.ndarray) -> list[dict[str, float]]:
    bins = _bins(stated)
    groups = ((bins == number) for number in np.unique(bins))
    return [
        {"images": int(g.sum()), "stated": float(stated[g].mean()), "happened": float(happened[g].mean())}
        for g in groups
    ]


def _bins(stated: np.ndarray) -> np.ndarray:
    return np.minimum((stated * BINS).astype(int), BINS - 1)
