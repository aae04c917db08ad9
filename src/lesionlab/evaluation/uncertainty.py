"""How unsure a network is of one image."""

import numpy as np


def uncertainties(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of each row of probabilities (n, k) over that of k equal ones: float (n,), 0 to 1."""
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return np.maximum(0.0, -(probabilities * logarithms).sum(axis=1) / np.log(probabilities.shape[1]))
