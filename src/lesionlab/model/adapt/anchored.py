"""A head that starts from the old one and is held to it: multinomial logistic regression with a pull towards old weights.

In: features of a clinic's images in few coordinates, the old head's logits, and labels. Out: by how much the logits change,
which is linear in the features, so that old head and change are one new head. The penalty on the change is half its squared
length times `strength` (a Gaussian prior around the old weights: Chelba and Acero, "Adaptation of maximum entropy capitalizer:
little data can help a lot", Comput. Speech Lang. 20, 2006, doi:10.1016/j.csl.2005.05.005). So a strong pull gives the old head
back, and ten images of a diagnosis move what they speak of, and little else.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize

_SPREAD_OF_OFFSETS = 0.5  # of the prior on how a diagnosis is shifted beyond the mix, in logits
_SPREAD_OF_SCALE = 0.5  # of that on the logarithm of the scale of the old logits
_STEPS, _ENOUGH = 200, 1e-6
_SMALLEST_SPREAD = 1e-3  # of a feature that is nearly constant, as a share of the mean spread


@dataclass(frozen=True)
class Coordinates:
    """Standardised features in their leading directions; a linear map of the features, whatever the labels.

    Attributes:
        mean: float64 (d,), of the features.
        directions: float64 (d, r): (features - mean) times these are coordinates (n, r), whose rows have a mean square
            length of 1.

    """

    mean: np.ndarray
    directions: np.ndarray

    def of(self, features: np.ndarray) -> np.ndarray:
        """Give the coordinates of features (n, d): float64 (n, r)."""
        return (features - self.mean) @ self.directions


@dataclass(frozen=True)
class HeadChange:
    """Old logits times `scale`, plus coordinates (n, r) times `weights` (r, k), plus `offset` (k,), are the new logits."""

    scale: float
    weights: np.ndarray
    offset: np.ndarray

    def logits(self, coordinates: np.ndarray, old_logits: np.ndarray) -> np.ndarray:
        """New logits of coordinates (n, r) and old logits (n, k): float64 (n, k)."""
        return old_logits * self.scale + coordinates @ self.weights + self.offset


def make_coordinates(features: np.ndarray, most: int) -> Coordinates:
    """Find the leading directions of standardised features (n, d), at most `most` and n - 1; labels are not looked at."""
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    spread = np.maximum(spread, _SMALLEST_SPREAD * max(float(spread.mean()), 1e-12))
    standard = (features - mean) / spread
    n, d = standard.shape
    most = max(1, min(most, n - 1, d))
    if n <= d:
        values, left = eigh(standard @ standard.T, subset_by_index=[n - most, n - 1])
        axes = standard.T @ (left / np.sqrt(np.maximum(values, 1e-12)))
    else:
        values, axes = eigh(standard.T @ standard, subset_by_index=[d - most, d - 1])
    length = np.sqrt(max(float(values.sum()), 1e-12) / n)
    return Coordinates(mean, axes / spread[:, None] / length)


def fit_change(
    coordinates: np.ndarray,
    old_logits: np.ndarray,
    labels: np.ndarray,
    strength: float,
    *,
    log_mix: np.ndarray,
    start: HeadChange | None = None,
) -> HeadChange:
    """Fit the change of a head to labelled images.

    Args:
        coordinates: float (n, r), as `Coordinates.of` gives; of no columns, the old logits are scaled and shifted alone.
        old_logits: float (n, k).
        labels: integers (n,), 0 to k - 1.
        strength: of the pull towards the old weights, more than 0.
        log_mix: (k,), logarithms of the shares of the diagnoses: added to the logits in the fit, and no part of the change.
        start: where to begin, such as the change of another strength; the result does not depend on it.

    """
    (n, r), k = coordinates.shape, old_logits.shape[1]
    truth = np.eye(k)[labels]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        change = _unpacked(parameters, r, k)
        logits = change.logits(coordinates, old_logits) + log_mix
        logits -= logits.max(axis=1, keepdims=True)
        weighted = np.exp(logits)
        sums = weighted.sum(axis=1, keepdims=True)
        value = np.log(sums).sum() - (logits * truth).sum()
        away = weighted / sums - truth  # (n, k)
        log_scale, offset = parameters[-1], change.offset
        value += strength / 2 * (change.weights**2).sum() + (offset**2).sum() / (2 * _SPREAD_OF_OFFSETS**2)
        value += log_scale**2 / (2 * _SPREAD_OF_SCALE**2)
        gradient = np.concatenate(
            [
                (coordinates.T @ away + strength * change.weights).ravel(),
                away.sum(axis=0) + offset / _SPREAD_OF_OFFSETS**2,
                [change.scale * (away * old_logits).sum() + log_scale / _SPREAD_OF_SCALE**2],
            ]
        )
        return float(value) / n, gradient / n

    begin = np.zeros(r * k + k + 1) if start is None else _packed(start)
    options = {"maxiter": _STEPS, "ftol": _ENOUGH, "gtol": _ENOUGH}
    return _unpacked(minimize(loss, begin, jac=True, method="L-BFGS-B", options=options).x, r, k)


def _packed(change: HeadChange) -> np.ndarray:
    return np.concatenate([change.weights.ravel(), change.offset, [np.log(change.scale)]])


def _unpacked(parameters: np.ndarray, r: int, k: int) -> HeadChange:
    weights, offset = parameters[: r * k].reshape(r, k), parameters[r * k : -1]
    return HeadChange(float(np.exp(parameters[-1])), weights, offset)
