"""What a model answers to an image: its likeliest diagnosis. A tie is no answer, and wrong, as in the ISIC challenges."""

import numpy as np

UNDECIDED = -1
TIE = "undecided"  # behind the codes of the diagnoses, so that `UNDECIDED` points at it


def answers_of(probabilities: np.ndarray) -> np.ndarray:
    """Give the column of the largest value of each row of probabilities (n, columns): integers (n,), `UNDECIDED` for a tie."""
    largest = probabilities.max(axis=1, keepdims=True)
    is_tie = (probabilities == largest).sum(axis=1) > 1
    return np.where(is_tie, UNDECIDED, probabilities.argmax(axis=1))
