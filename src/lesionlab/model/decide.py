"""Temperature and decision rule: chosen on validation data only, then put into the network.

A temperature makes the probabilities as sure as they are right (Guo et al., "On calibration of modern neural networks",
ICML 2017).
A network trained on 67 % nevi prefers nevi; balanced accuracy does not. Dividing its probabilities by the training
priors to a power moves the decision towards rare diagnoses (Menon et al., ICLR 2021, post-hoc logit adjustment). The
power is taken from a coarse grid, because a validation part holds few images of rare diagnoses.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from lesionlab.diagnosis import DX, INDEX_OF, MALIGNANT
from lesionlab.predict import uncertainties
from lesionlab.recipe import DecisionChoice

EXPONENTS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
MARGIN = 1e-5  # by which the decided diagnosis leads
_TEMPERATURES = (0.2, 5.0)
_SENSITIVITY = 0.9
_REFERRED = 0.1


@dataclass(frozen=True)
class Decision:
    """Logits are divided by `temperature`; with `log_shift` (7,) added, priors to `exponent`, the largest decides."""

    rule: str
    exponent: float
    log_shift: tuple[float, ...]
    temperature: float = 1.0


def choose_decision(
    choice: DecisionChoice, labels: np.ndarray, probabilities: np.ndarray, training_labels: np.ndarray
) -> Decision:
    """Choose on the validation part: the temperature by log loss, then the exponent by balanced log loss.

    Balanced log loss, the mean over the diagnoses of each one's log loss, is to balanced accuracy what log loss is to
    accuracy. Balanced accuracy itself jumps with each image of a diagnosis that has ten.

    Args:
        choice: the recipe's: `argmax` or `prior-corrected`, with or without temperature.
        labels: integers (n,) of the validation part.
        probabilities: float (n, 7) of the validation part.
        training_labels: integers of the training part; their shares are the priors.
    """
    temperature = choose_temperature(labels, probabilities) if choice.calibration == "temperature" else 1.0
    probabilities = _shifted(probabilities, np.zeros(len(DX)), temperature)
    exponent = 0.0
    if choice.rule == "prior-corrected":
        losses = [_balanced_log_loss(labels, shifted_by_priors(probabilities, training_labels, e)) for e in EXPONENTS]
        exponent = EXPONENTS[int(np.argmin(losses))]
    log_shift = tuple((-exponent * _log_prior(training_labels)).tolist())
    return Decision(choice.rule, exponent, log_shift, temperature)


def choose_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Find the temperature, 0.2 to 5, at which probabilities (n, 7) have the least log loss for integer labels (n,)."""

    def log_loss(log_temperature: float) -> float:
        tempered = _shifted(probabilities, np.zeros(len(DX)), float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(tempered[np.arange(len(labels)), labels], 1e-15)).mean())

    bounds = tuple(np.log(_TEMPERATURES))
    return float(np.exp(minimize_scalar(log_loss, bounds=bounds, method="bounded").x))


def choose_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Choose the thresholds that `lesionlab predict` decides by, on validation images with the decision applied.

    Returns:
        `malignant`: the largest at which 90 % of melanomas, basal cell carcinomas and actinic keratoses are called
        malignant. `uncertainty`: above it lies the tenth of the images that the network is least sure of.

    """
    columns = [INDEX_OF[dx] for dx in MALIGNANT]
    is_malignant, malignant = np.isin(labels, columns), probabilities[:, columns].sum(axis=1)
    thresholds = {"uncertainty": float(np.quantile(uncertainties(probabilities), 1 - _REFERRED))}
    if is_malignant.any():
        thresholds["malignant"] = float(np.quantile(malignant[is_malignant], 1 - _SENSITIVITY, method="lower"))
    return thresholds


def apply_decision(probabilities: np.ndarray, decision: Decision) -> np.ndarray:
    """Temper probabilities (n, 7), decide, and move them no further than it takes for the decided diagnosis to lead.

    The decided diagnosis is the likeliest after the shift. Where it is not so before, the least share of certainty in it is
    mixed in that puts it `MARGIN` ahead. All other probabilities keep their proportions, so that what the shift itself would
    cost in calibration and in ranking between images is mostly saved.
    """
    tempered = _shifted(probabilities, np.zeros(len(DX)), decision.temperature)
    shift = np.array(decision.log_shift)
    if not shift.any():
        return tempered
    is_decided = np.eye(len(DX))[_shifted(tempered, shift).argmax(axis=1)]
    gap = tempered.max(axis=1, keepdims=True) - (tempered * is_decided).sum(axis=1, keepdims=True) + MARGIN
    share = gap / (1 + gap)
    return (1 - share) * tempered + share * is_decided


def shifted_by_priors(probabilities: np.ndarray, training_labels: np.ndarray, power: float) -> np.ndarray:
    """Divide probabilities (n, 7) by the shares of the diagnoses in the training part to a power; rows sum to 1."""
    return _shifted(probabilities, -power * _log_prior(training_labels))


def _log_prior(training_labels: np.ndarray) -> np.ndarray:
    counts = np.bincount(training_labels, minlength=len(DX)) + 0.5  # an absent diagnosis gets a small prior
    return np.log(counts / counts.sum())


def _shifted(probabilities: np.ndarray, log_shift: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    logits = np.log(np.maximum(probabilities, 1e-30)) / temperature + log_shift
    weighted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weighted / weighted.sum(axis=1, keepdims=True)


def _balanced_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15))
    return float(np.mean([losses[labels == label].mean() for label in np.unique(labels)]))
