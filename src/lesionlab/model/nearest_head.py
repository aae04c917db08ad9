"""Diagnoses by the nearest training images: what a head on features that stay as they are must beat as well.

In: features of the training and validation part, and labels. Out: probabilities of other images, by the votes of the `k` nearest
training images, `k` chosen on validation data. Nothing of it is written into a model file, which would have to hold the features
of every training image.
"""

from dataclasses import dataclass, field

import numpy as np

from lesionlab.inference.neighbours import unit_rows

NUMBERS = (5, 10, 20, 50, 100)  # of neighbours
_SHARPNESS = (
    0.07  # a cosine that is larger by this counts 2.7 times (Wu et al., CVPR 2018, doi:10.1109/CVPR.2018.00393)
)
_BLOCK = 1024  # images at a time


@dataclass(frozen=True)
class NearestHead:
    """Training images, `rows` float32 (n, d) of length 1, with `votes` (n, k diagnoses), of which an image asks `number`."""

    rows: np.ndarray = field(repr=False)
    votes: np.ndarray = field(repr=False)
    number: int

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probabilities of features (n, d): float64 (n, k), rows sum to 1; the mix of the training images counts as one vote."""
        return _voted(self.rows, self.votes, features, (self.number,))[0]


def fit_nearest(
    training: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray], n_diagnoses: int
) -> NearestHead:
    """Choose how many neighbours vote, by log loss on the validation part.

    Args:
        training: features float32 (n, d), and labels, integers (n,).
        validation: likewise.
        n_diagnoses: k.

    """
    rows, votes = unit_rows(training[0]), np.eye(n_diagnoses)[training[1]]
    features, labels = validation
    found = _voted(rows, votes, features, NUMBERS)
    losses = [-np.log(np.maximum(one[np.arange(len(labels)), labels], 1e-15)).mean() for one in found]
    return NearestHead(rows, votes, NUMBERS[int(np.argmin(losses))])


def _voted(rows: np.ndarray, votes: np.ndarray, features: np.ndarray, numbers: tuple[int, ...]) -> list[np.ndarray]:
    """Probabilities (n, k) by each number of neighbours."""
    made: list[list[np.ndarray]] = [[] for _ in numbers]
    most, mix = min(max(numbers), len(rows)), votes.mean(axis=0)
    for start in range(0, len(features), _BLOCK):
        cosines = unit_rows(features[start : start + _BLOCK]) @ rows.T  # (m, n)
        nearest = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
        near = np.take_along_axis(cosines, nearest, axis=1)
        order = np.argsort(-near, axis=1, kind="stable")
        nearest, near = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(near, order, axis=1)
        for blocks, number in zip(made, numbers, strict=True):
            weight = np.exp((near[:, :number] - near[:, :1]) / _SHARPNESS).astype(np.float64)
            weight *= weight.shape[1] / weight.sum(axis=1, keepdims=True)
            asked = np.einsum("mj,mjk->mk", weight, votes[nearest[:, :number]])
            blocks.append((asked + mix) / (weight.shape[1] + 1))
    return [np.concatenate(blocks) if blocks else np.zeros((0, votes.shape[1])) for blocks in made]
