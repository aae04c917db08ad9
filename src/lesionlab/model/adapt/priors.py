"""The mix of diagnoses of a clinic, and probabilities corrected for it, with labels or without.

A model that was trained where two images in three are nevi expects as many everywhere. Where the pictures of each diagnosis look
alike in both places and only their mix differs, probabilities times the ratio of the mixes are right again (Saerens, Latinne,
Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation 14, 2002,
doi:10.1162/089976602753284446). The mix is counted where there are labels, and else found by expectation maximisation.
"""

import numpy as np

RAREST = 0.005  # share in training below which a share elsewhere cannot be estimated
_STEPS, _ENOUGH = 500, 1e-6
_IMAGINED = 0.5  # of an image of each diagnosis, so that none is impossible


def counted_mix(labels: np.ndarray, k: int) -> np.ndarray:
    """Give the shares of the diagnoses among labels (n,), integers 0 to k - 1: float (k,), none of them 0."""
    counts = np.bincount(labels, minlength=k) + _IMAGINED
    return counts / counts.sum()


def estimated_mix(probabilities: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """Estimate the shares of the diagnoses among images without labels, by expectation maximisation.

    A diagnosis with a share below `RAREST` keeps it: a network gives every diagnosis a little, a rare one more than its share,
    and each step would take that for more of it, until all images are.

    Args:
        probabilities: float (n, k), calibrated where the shares of the diagnoses were `mix`.
        mix: float (k,), more than 0.

    Returns:
        float (k,), more than 0; sums to 1.

    """
    n, found, is_rare = len(probabilities), mix / mix.sum(), mix < RAREST
    kept = found[is_rare].sum()
    for _ in range(_STEPS):
        before, found = found, (corrected(probabilities, mix, found).sum(axis=0) + _IMAGINED * mix) / (n + _IMAGINED)
        found = np.where(is_rare, before, found * (1 - kept) / found[~is_rare].sum())
        if np.abs(found - before).max() < _ENOUGH:
            break
    return found / found.sum()


def corrected(probabilities: np.ndarray, mix: np.ndarray, new_mix: np.ndarray) -> np.ndarray:
    """Correct probabilities (n, k) from one mix of the diagnoses (k,) to another; rows sum to 1."""
    weighed = probabilities * (new_mix / mix)
    return weighed / weighed.sum(axis=1, keepdims=True)
