"""The mix of diagnoses of a clinic, and probabilities corrected for it, with labels or without.

A model that was trained where two images in three are nevi expects as many everywhere. Where the pictures of each diagnosis look
alike in both places and only their mix differs, probabilities times the ratio of the mixes are right again (Saerens, Latinne,
Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation 14, 2002,
doi:10.1162/089976602753284446). The mix is counted where there are labels, and else found by expectation maximisation.
"""

import numpy as np

_STEPS, _ENOUGH = 500, 1e-6
_IMAGINED = 0.5  # of an image of each diagnosis, so that none is impossible


def counted_mix(labels: np.ndarray, k: int) -> np.ndarray:
    """Give the shares of the diagnoses among labels (n,), integers 0 to k - 1: float (k,), none of them 0."""
    counts = np.bincount(labels, minlength=k) + _IMAGINED
    return counts / counts.sum()


def estimated_mix(probabilities: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """Estimate the shares of the diagnoses among images without labels, by expectation maximisation.

    Args:
        probabilities: float (n, k), calibrated where the shares of the diagnoses were `mix`.
        mix: float (k,), more than 0.

    Returns:
        float (k,), more than 0; sums to 1.

    """
    n, found = len(probabilities), mix
    for _ in range(_STEPS):
        before, found = found, (corrected(probabilities, mix, found).sum(axis=0) + _IMAGINED * mix) / (n + _IMAGINED)
        if np.abs(found - before).max() < _ENOUGH:
            break
    return found / found.sum()


def corrected(probabilities: np.ndarray, mix: np.ndarray, new_mix: np.ndarray) -> np.ndarray:
    """Correct probabilities (n, k) from one mix of the diagnoses (k,) to another; rows sum to 1."""
    weighed = probabilities * (new_mix / mix)
    return weighed / weighed.sum(axis=1, keepdims=True)
