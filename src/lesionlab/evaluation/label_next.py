"""Which unlabelled images to label next: those that a model is unsure of, far from what is labelled, and unlike each other.

The uncertain ones teach most (Lewis and Gale, "A sequential algorithm for training text classifiers", SIGIR 1994); taken alone
they are a hundred pictures of one kind. So each pick weighs the uncertainty by the distance to all that is labelled or picked
before (the greedy k-centre of Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach",
ICLR 2018).

In: features and probabilities. Out: an order of the images, with why each stands where it does.
"""

from dataclasses import dataclass

import numpy as np

from lesionlab.evaluation.uncertainty import uncertainties

MOST_PICKED = 200  # one after another; the rest is sorted once
_LEAST_UNCERTAINTY = 0.05  # so that a far image counts though the model is sure of it
_BLOCK = 512


@dataclass(frozen=True)
class LabelNext:
    """What to label next.

    Attributes:
        order: integers (n,), the images from the first to label to the last.
        uncertainty: float (n,), 0 to 1, see `lesionlab.evaluation.uncertainty`.
        margin: float (n,), by how much the likeliest diagnosis leads, 0 to 1.
        distance: float (n,), to the nearest labelled image, 0 (the same features) to 2.
        reasons: (n,), in words: `uncertain`, `far`, `uncertain and far`, or `` for neither.

    """

    order: np.ndarray
    uncertainty: np.ndarray
    margin: np.ndarray
    distance: np.ndarray
    reasons: tuple[str, ...]


def label_next(features: np.ndarray, probabilities: np.ndarray, labelled: np.ndarray) -> LabelNext:
    """Rank unlabelled images.

    Args:
        features: float (n, d), of images without labels.
        probabilities: float (n, k), of the same.
        labelled: float (m, d), features of the images that have labels; may be empty.

    """
    directions, known = _unit(features, labelled), _unit(labelled, labelled)
    distance = _nearest(directions, known)
    uncertainty = uncertainties(probabilities)
    ordered = np.sort(probabilities, axis=1)
    order = _pick(directions, distance, np.maximum(uncertainty, _LEAST_UNCERTAINTY))
    return LabelNext(
        order,
        uncertainty,
        ordered[:, -1] - ordered[:, -2],
        distance,
        tuple(_reasons(uncertainty, distance, len(labelled))),
    )


def _unit(features: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Directions from the mean of the labelled images, of length 1: float32 (n, d)."""
    middle = labelled.mean(axis=0) if len(labelled) else features.mean(axis=0) if len(features) else 0.0
    centred = np.asarray(features, np.float32) - np.asarray(middle, np.float32)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def _nearest(directions: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Distance (1 - cosine) of each direction (n, d) to the nearest known one (m, d): float (n,); 2 where none is known."""
    if not len(known):
        return np.full(len(directions), 2.0)
    blocks = (directions[at : at + _BLOCK] @ known.T for at in range(0, len(directions), _BLOCK))
    return np.concatenate([1 - block.max(axis=1) for block in blocks] or [np.zeros(0)]).clip(0, 2).astype(np.float64)


def _pick(directions: np.ndarray, distance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Pick the image of the greatest weight times distance, again and again, each pick making those like it less far."""
    left, picked = distance.copy(), []
    for _ in range(min(MOST_PICKED, len(left))):
        best = int(np.argmax(weight * left))
        picked.append(best)
        left = np.minimum(left, (1 - directions @ directions[best]).clip(0, 2))
        left[picked] = -1.0
    rest = np.setdiff1d(np.arange(len(left)), picked)
    return np.array([*picked, *rest[np.argsort(-(weight * left)[rest], kind="stable")]], int)


def _reasons(uncertainty: np.ndarray, distance: np.ndarray, n_labelled: int) -> list[str]:
    """Say what is uncertain and what far: among the upper quarter of the images."""
    if not len(uncertainty):
        return []
    is_unsure = uncertainty >= np.quantile(uncertainty, 0.75)
    is_far = (distance >= np.quantile(distance, 0.75)) & (n_labelled > 0)
    words = {(True, True): "uncertain and far", (True, False): "uncertain", (False, True): "far", (False, False): ""}
    return [words[bool(unsure), bool(far)] for unsure, far in zip(is_unsure, is_far, strict=True)]
