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
        distance: float (n,), to the nearest labelled image: 0 are the same features, 1 is how far a labelled image lies from the
            middle of all.
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
    placed, known = _placed(features, labelled), _placed(labelled, labelled)
    distance = _nearest(placed, known)
    uncertainty = uncertainties(probabilities)
    ordered = np.sort(probabilities, axis=1)
    order = _pick(placed, distance, np.maximum(uncertainty, _LEAST_UNCERTAINTY))
    return LabelNext(
        order,
        uncertainty,
        ordered[:, -1] - ordered[:, -2],
        distance,
        tuple(_reasons(uncertainty, distance, len(labelled))),
    )


def _placed(features: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Give features from the middle of the labelled images, in units of how far these lie from it: float32 (n, d)."""
    known = labelled if len(labelled) else features
    if not len(known):
        return np.asarray(features, np.float32)
    middle = known.mean(axis=0)
    spread = np.sqrt(((known - middle) ** 2).sum(axis=1).mean())
    return ((np.asarray(features) - middle) / max(float(spread), 1e-12)).astype(np.float32)


def _distances(placed: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distances of places (n, d) and others (m, d): float32 (n, m)."""
    squares = (placed**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * placed @ others.T
    return np.sqrt(np.maximum(squares, 0))


def _nearest(placed: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Distance of each place (n, d) to the nearest known one (m, d): float64 (n,); 1 where none is known."""
    if not len(known):
        return np.ones(len(placed))
    blocks = [_distances(placed[at : at + _BLOCK], known).min(axis=1) for at in range(0, len(placed), _BLOCK)]
    return np.concatenate(blocks or [np.zeros(0)]).astype(np.float64)


def _pick(placed: np.ndarray, distance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Pick the image of the greatest weight times distance, again and again, each pick making those like it less far."""
    left, picked = distance.copy(), []
    for _ in range(min(MOST_PICKED, len(left))):
        best = int(np.argmax(weight * left))
        picked.append(best)
        left = np.minimum(left, _distances(placed, placed[best : best + 1])[:, 0])
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
