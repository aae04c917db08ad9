"""Sets of diagnoses of images, by the thresholds that `lesionlab.evaluation.conformal` has found: what `predict` needs of it.

The score of a diagnosis is the probability of all likelier ones and half its own (APS), with a penalty for each rank beyond the
second (RAPS); see there for the papers and for what is promised.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FREE_RANKS = 2


@dataclass(frozen=True)
class Conformal:
    """`thresholds` of the scores and `images` that each was found on, one a lesion, in the diagnoses' order, for `coverage`.

    A diagnosis of too few calibration images has the threshold of all together, and no promise of its own; in older files the
    largest. A threshold of 1 (of RAPS, of `largest_score`) or more takes a diagnosis into every set. `penalty` is that of RAPS,
    0 for APS.
    """

    coverage: float
    thresholds: tuple[float, ...]
    images: tuple[int, ...]
    penalty: float = 0.0

    @property
    def promised(self) -> tuple[bool, ...]:
        """Whether the calibration images of each diagnosis, in their order, were enough for the promise."""
        return tuple(number >= images_needed(self.coverage) for number in self.images)


def images_needed(coverage: float) -> int:
    """Calibration images of a diagnosis below which nothing can be promised of it: 9 for 90 %."""
    return int(np.ceil(coverage / (1 - coverage) - 1e-9))


def largest_score(n_diagnoses: int, penalty: float = 0.0) -> float:
    """Give the largest score that a diagnosis can have: 1 for APS; sums of floats come out a little above it, or below."""
    return 1.0 + penalty * max(n_diagnoses - _FREE_RANKS, 0)


def scores(probabilities: np.ndarray, penalty: float = 0.0) -> np.ndarray:
    """Score every diagnosis of every image, of probabilities (n, k): float (n, k), 0 and up, the smaller the more likely."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1)
    ranks = np.arange(probabilities.shape[1])
    beyond = penalty * np.maximum(ranks + 1 - _FREE_RANKS, 0)
    result = np.empty_like(ordered)
    np.put_along_axis(result, order, np.cumsum(ordered, axis=1) - ordered / 2 + beyond, axis=1)
    return result


def prediction_sets(probabilities: np.ndarray, thresholds: Sequence[float], penalty: float = 0.0) -> np.ndarray:
    """Which diagnoses are in each image's set: bool (n, k); the likeliest one always is, and one of the largest threshold."""
    largest = largest_score(probabilities.shape[1], penalty)
    sets = (scores(probabilities, penalty) <= np.array(thresholds)) | (np.array(thresholds) >= largest)
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets
