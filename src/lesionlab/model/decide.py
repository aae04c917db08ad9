"""The decision rule: chosen on validation data only, then folded into the network's last layer.

A network trained on 67 % nevi prefers nevi; balanced accuracy does not. Dividing its probabilities by the training
priors to a power moves the decision towards rare diagnoses (Menon et al., ICLR 2021, post-hoc logit adjustment). The
power is taken from a coarse grid, because a validation part holds few images of rare diagnoses.
"""

from dataclasses import dataclass

import numpy as np

from lesionlab.diagnosis import DX

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Decision:
    """`exponent` of the priors, `log_shift` float (7,) to add to the logits; both zero where the rule is argmax."""

    rule: str
    exponent: float
    log_shift: tuple[float, ...]


def choose_decision(rule: str, labels: np.ndarray, probabilities: np.ndarray, training_labels: np.ndarray) -> Decision:
    """Choose the exponent on the validation part, by balanced accuracy and the one-standard-error rule.

    The smallest exponent whose balanced accuracy is within one standard error of the best is taken (Breiman et al.,
    "Classification and Regression Trees", 1984): a correction costs accuracy and ranking, so it must earn its place.

    Args:
        rule: `argmax` or `prior-corrected`.
        labels: integers (n,) of the validation part.
        probabilities: float (n, 7) of the validation part.
        training_labels: integers of the training part; their shares are the priors.
    """
    counts = np.bincount(training_labels, minlength=len(DX)) + 0.5  # an absent diagnosis gets a small prior
    log_prior = np.log(counts / counts.sum())
    exponent = 0.0
    if rule == "prior-corrected":
        scores = [_balanced_accuracy(labels, _shifted(probabilities, -power * log_prior)) for power in EXPONENTS]
        best, error = max(scores)
        exponent = next(power for power, (score, _) in zip(EXPONENTS, scores, strict=True) if score >= best - error)
    return Decision(rule, exponent, tuple((-exponent * log_prior).tolist()))


def apply_decision(probabilities: np.ndarray, decision: Decision) -> np.ndarray:
    """Shift probabilities (n, 7) as the network does once the decision is folded into it."""
    return _shifted(probabilities, np.array(decision.log_shift))


def _shifted(probabilities: np.ndarray, log_shift: np.ndarray) -> np.ndarray:
    weighted = probabilities * np.exp(log_shift)
    return weighted / weighted.sum(axis=1, keepdims=True)


def _balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    """Balanced accuracy and its standard error, from the binomial variance of each recall."""
    hits = probabilities.argmax(axis=1) == labels
    present = np.unique(labels)
    recalls = np.array([hits[labels == label].mean() for label in present])
    counts = np.array([(labels == label).sum() for label in present])
    variance = recalls * (1 - recalls) / counts
    return float(recalls.mean()), float(np.sqrt(variance.sum()) / len(present))
