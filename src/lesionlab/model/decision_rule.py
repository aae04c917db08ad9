"""Calibration and decision rule: chosen on validation data only, then put into the network.

A temperature, or a scale and an offset for each diagnosis, makes the probabilities as sure as they are right
(`lesionlab.evaluation.vector_scaling`).
A network trained on 67 % nevi prefers nevi; balanced accuracy does not. Dividing its probabilities by the training priors to
a power moves the decision towards rare diagnoses (Menon et al., ICLR 2021, post-hoc logit adjustment). The power is taken
from a coarse grid, because a validation part holds few images of rare diagnoses.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.operating_points import choose_threshold
from lesionlab.evaluation.tasks import MALIGNANT, as_task, tasks_of
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.evaluation.vector_scaling import (
    VectorScaling,
    cross_fitted,
    fit_temperature,
    fit_vector_scaling,
    temper,
)
from lesionlab.recipe import DecisionChoice

EXPONENTS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_TIE = 1e-9  # losses that differ by less are of one size, and the least exponent does
# By half of this and more the decided diagnosis leads: more than an export may differ by, and than four decimals round.
MARGIN = 5e-4
_LEAST = 5  # validation images of a diagnosis, from which they say anything of how far to move it
_SENSITIVITY = 0.9
_REFERRED = 0.1


@dataclass(frozen=True)
class Decision:
    """Logits are calibrated; with `log_shift` (k,) added, priors to `exponent`, the largest decides.

    To calibrate is to divide by `temperature`, or, where they are given, to multiply by `scale` (k,) and add `offset` (k,).
    """

    rule: str
    exponent: float
    log_shift: tuple[float, ...]
    temperature: float = 1.0
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()


def choose_decision(
    choice: DecisionChoice, labels: np.ndarray, probabilities: np.ndarray, training_labels: np.ndarray
) -> Decision:
    """Choose on the validation part: the calibration by log loss, then the exponent by balanced log loss.

    Balanced log loss, the mean over the diagnoses of each one's log loss, is to balanced accuracy what log loss is to
    accuracy. Balanced accuracy itself jumps with each image of a diagnosis that has ten. A diagnosis with fewer than five
    validation images has no say, and is moved no further than the rarest that has: one image in ten thousand would move it
    by all its share, on no evidence.

    Args:
        choice: the recipe's: `argmax` or `prior-corrected`, with or without calibration.
        labels: integers (n,) of the validation part.
        probabilities: float (n, k) of the validation part.
        training_labels: integers of the training part; their shares are the priors.
    """
    decision = _choose_calibration(choice, labels, probabilities)
    probabilities = calibrate(probabilities, decision)
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    has_say = counts >= min(_LEAST, counts.max())
    log_prior = _log_prior(training_labels, probabilities.shape[1])
    log_prior = np.maximum(log_prior, log_prior[has_say].min())
    exponent = 0.0
    if choice.rule == "prior-corrected":
        counts_in = has_say[labels]
        losses = [
            _balanced_log_loss(labels[counts_in], _shifted(probabilities[counts_in], -e * log_prior)) for e in EXPONENTS
        ]
        exponent = EXPONENTS[int(np.flatnonzero(np.array(losses) <= min(losses) + _TIE)[0])]
    return dataclasses.replace(decision, exponent=exponent, log_shift=tuple((-exponent * log_prior).tolist()))


def _choose_calibration(choice: DecisionChoice, labels: np.ndarray, probabilities: np.ndarray) -> Decision:
    none = Decision(choice.rule, 0.0, (0.0,) * probabilities.shape[1])
    if choice.calibration == "temperature":
        return dataclasses.replace(none, temperature=fit_temperature(labels, probabilities))
    if choice.calibration == "vector":
        found = fit_vector_scaling(labels, probabilities)
        return dataclasses.replace(none, scale=found.scale, offset=found.offset)
    return none


def choose_thresholds(validation: LabelledPredictions) -> dict[str, float]:
    """Choose the thresholds that `lesionlab predict` decides by, on validation images with the decision applied.

    Returns:
        `malignant`: the largest at which at least 90 % of the images of malignant lesions are called malignant; it is absent
        where there are none, or malignant against benign is not defined. `uncertainty`: above it lies the tenth of the images
        that the network is least sure of.

    """
    thresholds = {"uncertainty": float(np.quantile(uncertainties(validation.probabilities), 1 - _REFERRED))}
    if codes := tasks_of(validation.taxonomy).get(MALIGNANT):
        is_malignant, score = as_task(validation, codes)
        if is_malignant.any():
            found = choose_threshold(is_malignant, score, "sensitivity", _SENSITIVITY)
            thresholds[MALIGNANT] = min(1.0, found)  # a sum of floats
    return thresholds


def apply_decision(probabilities: np.ndarray, decision: Decision) -> np.ndarray:
    """Calibrate probabilities (n, k), decide, and move them no further than it takes for the decided diagnosis to lead.

    The decided diagnosis is the likeliest after the shift. A share of certainty in it is mixed in that puts it 0.00025 to 0.0005
    ahead: `MARGIN / (1 + gap)`, `gap` being how far it was behind. All other probabilities keep their proportions, so that what
    the shift itself would cost in calibration and in ranking between images is mostly saved.
    """
    calibrated = calibrate(probabilities, decision)
    shift = np.array(decision.log_shift)
    if not shift.any():
        return calibrated
    is_decided = np.eye(len(shift))[_shifted(calibrated, shift).argmax(axis=1)]
    gap = calibrated.max(axis=1, keepdims=True) - (calibrated * is_decided).sum(axis=1, keepdims=True) + MARGIN
    share = gap / (1 + gap)
    return (1 - share) * calibrated + share * is_decided


def out_of_fold(
    validation: LabelledPredictions, as_trained: np.ndarray, decision: Decision, *, seed: int
) -> LabelledPredictions:
    """Give validation images what the decision gives images that its scaling was not fitted to, for sets to be calibrated on.

    The scaling of each fifth of the lesions is fitted to the other four (as cross-conformal prediction: Vovk, Ann. Math. Artif.
    Intell. 74, 9, 2015, doi:10.1007/s10472-013-9368-4). Of probabilities that were fitted to these very images sets come out too
    small: by 0.007 of coverage for the packaged model (docs/experiments.md). A temperature is one number, and left as it is.

    Args:
        validation: as the network gives them, decision included.
        as_trained: float (n, k), before scaling and rule.
        decision: of the network.
        seed: of the fifths.

    """
    if not decision.scale:
        return validation
    scaled = cross_fitted(fit_vector_scaling, validation.with_probabilities(as_trained), seed=seed)
    return validation.with_probabilities(apply_decision(scaled, dataclasses.replace(decision, scale=(), offset=())))


def calibrate(probabilities: np.ndarray, decision: Decision) -> np.ndarray:
    """Probabilities (n, k) after the temperature or the vector scaling, before the rule."""
    if decision.scale:
        return VectorScaling(decision.scale, decision.offset)(probabilities)
    return temper(probabilities, decision.temperature)


def fold_calibration(kernel: np.ndarray, bias: np.ndarray, decision: Decision) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the last layer, kernel (features, k) and bias (k,), whose softmax is calibrated.

    Vector scaling takes logits less their mean over the diagnoses, which is linear in the features too.
    """
    if not decision.scale:
        return kernel / decision.temperature, bias / decision.temperature
    scale, offset = np.array(decision.scale, np.float32), np.array(decision.offset, np.float32)
    return (kernel - kernel.mean(axis=1, keepdims=True)) * scale, (bias - bias.mean()) * scale + offset


def unfold_calibration(kernel: np.ndarray, bias: np.ndarray, decision: Decision) -> tuple[np.ndarray, np.ndarray]:
    """Undo `fold_calibration`, up to what the softmax does not see."""
    if not decision.scale:
        return kernel * decision.temperature, bias * decision.temperature
    scale, offset = np.array(decision.scale, np.float32), np.array(decision.offset, np.float32)
    return kernel / scale, (bias - offset) / scale


def read_decision(facts: Mapping[str, Any]) -> Decision:
    """Read what `metrics.json` holds under `decision`."""
    names = {field.name for field in dataclasses.fields(Decision)}
    return Decision(**{name: value for name, value in facts.items() if name in names})


def _log_prior(training_labels: np.ndarray, n_diagnoses: int) -> np.ndarray:
    counts = np.bincount(training_labels, minlength=n_diagnoses) + 0.5  # an absent diagnosis gets a small prior
    return np.log(counts / counts.sum())


def _shifted(probabilities: np.ndarray, log_shift: np.ndarray) -> np.ndarray:
    return VectorScaling((1.0,) * len(log_shift), tuple(log_shift))(probabilities)


def _balanced_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15))
    return float(np.mean([losses[labels == label].mean() for label in np.unique(labels)]))
