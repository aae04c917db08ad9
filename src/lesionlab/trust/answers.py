"""What a model answers to an image: its likeliest diagnosis. A tie is no answer, and wrong, as in the ISIC challenges."""

import numpy as np

from lesionlab.diagnosis import DX, NAME_OF

UNDECIDED = -1
ANSWERS = (*DX, "undecided")  # by what `answers_of` gives
NAME_OF_ANSWER = NAME_OF | {"undecided": "nothing: a tie"}


def answers_of(probabilities: np.ndarray) -> np.ndarray:
    """Give the column of the largest value of each row of probabilities (n, columns): integers (n,), `UNDECIDED` for a tie."""
    largest = probabilities.max(axis=1, keepdims=True)
    is_tie = (probabilities == largest).sum(axis=1) > 1
    return np.where(is_tie, UNDECIDED, probabilities.argmax(axis=1))
