"""Recalibration: a temperature, or a scale and an offset for each diagnosis (vector scaling).

Guo et al., "On calibration of modern neural networks" (ICML 2017). Vector scaling has two numbers a diagnosis where a
temperature is one, so that it can also mend a bias for or against a diagnosis, and can learn by heart what nine
images happened to say: a weak pull towards the best single temperature, as strong as one image a number, holds it.

In: integer labels (n,), 0 to k - 1, and probabilities (n, k). Out: probabilities (n, k).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax

from lesionlab.evaluation.intervals import folds
from lesionlab.evaluation.labelled_predictions import LabelledPredictions

FOLDS = 5
_TEMPERATURES = (0.2, 5.0)


@dataclass(frozen=True)
class VectorScaling:
    """Logits are multiplied by `scale` (k,), `offset` (k,) is added, and the softmax taken again."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Rescale probabilities (n, k)."""
        return softmax(_logits(probabilities) * np.array(self.scale) + np.array(self.offset), axis=1)


def fit_vector_scaling(labels: np.ndarray, probabilities: np.ndarray) -> VectorScaling:
    """Find scales and offsets of the least log loss, starting from, and held near, the best temperature."""
    k = probabilities.shape[1]
    logits, truth = _logits(probabilities), np.eye(k)[labels]
    start = np.r_[np.full(k, 1 / fit_temperature(labels, probabilities)), np.zeros(k)]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, offset = parameters[:k], parameters[k:]
        found = softmax(logits * scale + offset, axis=1)
        away = parameters - start
        value = -np.log(np.maximum((found * truth).sum(axis=1), 1e-15)).sum() + (away**2).sum() / 2
        gradient = np.r_[((found - truth) * logits).sum(axis=0), (found - truth).sum(axis=0)] + away
        return value / len(labels), gradient / len(labels)

    found = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return VectorScaling(tuple(found[:k].tolist()), tuple(found[k:].tolist()))


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Find the temperature, 0.2 to 5, at which the probabilities have the least log loss."""

    def log_loss(log_temperature: float) -> float:
        chosen = temper(probabilities, float(np.exp(log_temperature)))[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(chosen, 1e-15)).mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=np.log(_TEMPERATURES), method="bounded").x))


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits of probabilities (n, k) by a temperature."""
    return softmax(_logits(probabilities) / temperature, axis=1)


def fitted_temperature(labels: np.ndarray, probabilities: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a temperature and give the function that applies it."""
    temperature = fit_temperature(labels, probabilities)
    return lambda values: temper(values, temperature)


def cross_fitted(
    fit: Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]], part: LabelledPredictions, *, seed: int
) -> np.ndarray:
    """Recalibrate each fifth of the lesions by what the other four fifths say: probabilities (n, k).

    Args:
        fit: `fitted_temperature` or `fit_vector_scaling`.
        part: all images of one lesion stay together.
        seed: of the fifths.

    """
    fold = folds(part.lesions, FOLDS, seed=seed)
    result = part.probabilities.copy()
    for number in np.unique(fold):
        inside = fold == number
        if not inside.all():
            rest = part.take(~inside)
            result[inside] = fit(rest.labels, rest.probabilities)(part.probabilities[inside])
    return result


def _logits(probabilities: np.ndarray) -> np.ndarray:
    logits = np.log(np.maximum(probabilities, 1e-30))
    return logits - logits.mean(axis=1, keepdims=True)
