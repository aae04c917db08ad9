"""Several images of a lesion joined into one prediction: the mean of their log probabilities, scaled to sum to 1 again.

That is the geometric mean, a product of experts of equal weight: an image that is nearly sure that a diagnosis is not there
counts for more than in a mean of probabilities (Hinton, "Training products of experts", Neural Computation 14, 2002,
doi:10.1162/089976602760128018).
"""

from collections.abc import Sequence

import numpy as np

FLOOR = 1e-12  # of a probability before its logarithm: a 0 of a rounded table must not decide alone


def join_by_lesion(probabilities: np.ndarray, lesions: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Join the predictions of each lesion's images.

    Args:
        probabilities: float (n, k), rows sum to 1.
        lesions: id of each image's lesion, (n,).

    Returns:
        Ids of the m lesions, in the order in which they are met; float64 (m, k), rows sum to 1; integers (m,), images of each.

    """
    place: dict[str, int] = {}
    rows = np.array([place.setdefault(lesion, len(place)) for lesion in lesions], dtype=int)
    counts = np.bincount(rows, minlength=len(place))
    sums = np.zeros((len(place), probabilities.shape[1]))
    np.add.at(sums, rows, np.log(np.maximum(probabilities, FLOOR)))
    means = sums / counts[:, None]
    joined = np.exp(means - means.max(axis=1, keepdims=True))
    return list(place), joined / joined.sum(axis=1, keepdims=True), counts
