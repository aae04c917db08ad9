"""A linear head on features that stay as they are: multinomial logistic regression, its strength chosen on validation data.

In: features of the training and validation part, and labels. Out: weights of a dense layer before a softmax, and what each
strength of L2 came to. scikit-learn; no Keras.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from lesionlab.evaluation.logistic_weights import weights_of_all
from lesionlab.evaluation.metrics import headline
from lesionlab.progress import track

# The mean loss of an image plus strength / 2 times the sum of squared weights.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_ABSENT = -20.0  # bias of a diagnosis that is not trained on: its probability is nearly 0
_ITERATIONS = 300


@dataclass(frozen=True)
class Strength:
    """What a strength of L2 came to: losses and shares of the training and the validation part."""

    l2: float
    loss: float
    val_loss: float
    accuracy: float
    val_accuracy: float
    val_balanced_accuracy: float


@dataclass(frozen=True)
class LinearHead:
    """Logits are features (n, d) times `kernel` (d, k) plus `bias` (k,), float32; `tried` has what strengths were fitted."""

    kernel: np.ndarray
    bias: np.ndarray
    l2: float
    tried: tuple[Strength, ...]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probabilities of features (n, d): float64 (n, k), rows sum to 1."""
        return softmax(features.astype(np.float64) @ self.kernel + self.bias, axis=1)


def fit_linear_head(
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    n_diagnoses: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
) -> LinearHead:
    """Fit a head for each strength of L2, the strongest first, until the log loss on the validation part rises; keep the best.

    Weak strengths take the most steps, and past the least loss are fitted for nothing. Features are standardised by the
    training part first; that is folded into the weights.

    Args:
        training: features float32 (n, d), and labels, integers (n,) of at least two diagnoses.
        validation: likewise.
        n_diagnoses: k; those without an image in the training part are never predicted.
        strengths: of L2.

    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    features, labels = training
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation > 0, deviation, 1)
    standard = ((features - mean) / deviation).astype(np.float32)
    fitted: list[LinearHead] = []
    tried: list[Strength] = []
    for l2 in track(sorted(strengths, reverse=True), "fitting heads"):
        regression = LogisticRegression(C=1 / (l2 * len(labels)), max_iter=_ITERATIONS, tol=1e-3)
        with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):  # more threads wait for each other
            warnings.simplefilter("ignore", ConvergenceWarning)  # a weak strength is near enough after as many steps
            regression.fit(standard, labels)
        kernel, bias = weights_of_all(regression, n_diagnoses, absent=_ABSENT)
        kernel = kernel / deviation[:, None]
        head = LinearHead(kernel.astype(np.float32), (bias - mean @ kernel).astype(np.float32), l2, ())
        fitted.append(head)
        tried.append(_measured(head, training, validation))
        if len(tried) > 1 and tried[-1].val_loss > tried[-2].val_loss:
            break
    best = int(np.argmin([strength.val_loss for strength in tried]))
    return LinearHead(fitted[best].kernel, fitted[best].bias, fitted[best].l2, tuple(tried))


def _measured(
    head: LinearHead, training: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]
) -> Strength:
    (own, labels), (other, other_labels) = training, validation
    found, held_out = head.probabilities(own), head.probabilities(other)
    figures = headline(other_labels, held_out)
    return Strength(
        l2=head.l2,
        loss=_log_loss(labels, found),
        val_loss=_log_loss(other_labels, held_out),
        accuracy=float((found.argmax(axis=1) == labels).mean()),
        val_accuracy=float((held_out.argmax(axis=1) == other_labels).mean()),
        val_balanced_accuracy=figures.balanced_accuracy,
    )


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15)).mean())
