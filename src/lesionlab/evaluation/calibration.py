"""Whether probabilities mean what they say: whether of the predictions made with 0.8, 80 % are right.

In: `LabelledPredictions`. Out: a `Calibration`. The log loss stands with the headline figures. A calibration
error is never 0 on few images, however well calibrated a model is; so beside it stands what labels drawn from the model's own
probabilities would give (Broecker and Smith, "Increasing the reliability of reliability diagrams", Weather Forecast. 22, 2007).
"""

import numpy as np

from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.values import Bin, Calibration, DiagnosisCalibration

BINS = 15
_TRIALS = 200


def calibration(part: LabelledPredictions, *, seed: int = 0) -> Calibration:
    """Calibration errors of the prediction and of each diagnosis, and the Brier score; the seed is of `by_chance`.

    Returns:
        `ece` and `ece_focus`: expected calibration error of the prediction and of the focus's probability (Naeini et al.,
        "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015), 15 bins of equal width, 0
        (calibrated) to 1. `ace`: the same with 15 bins of equally many images (adaptive; Nguyen and O'Connor, EMNLP 2015).
        `classwise_ece` and `classwise_ace`: means over the diagnoses of each one's own error (Kull et al., NeurIPS 2019;
        Nixon et al., CVPR workshops 2019). `by_chance`: mean and 95th percentile of `ece` and of `ece_focus` if the
        probabilities were right. `brier`: squared error summed over the diagnoses, mean over the images (Brier, Mon.
        Weather Rev. 78, 1950), 0 to 2. `reliability`: for each bin of the prediction that holds images, how many, the
        mean `stated` probability and the share that `happened`. `per_class`: for each diagnosis `ece`, `ace` and
        `reliability`.

    """
    probabilities, focus = part.probabilities, part.taxonomy.focus
    stated, happened = probabilities.max(axis=1), part.is_right
    is_class = part.labels[:, None] == np.arange(part.n_diagnoses)
    per_class = {dx: _of_class(probabilities[:, i], is_class[:, i]) for i, dx in enumerate(part.taxonomy.dx)}
    return Calibration(
        ece=expected_calibration_error(stated, happened),
        ece_focus=per_class[focus].ece if focus else None,
        ace=adaptive_calibration_error(stated, happened),
        classwise_ece=float(np.mean([row.ece for row in per_class.values()])),
        classwise_ace=float(np.mean([row.ace for row in per_class.values()])),
        by_chance=_by_chance(part, seed),
        brier=float(((probabilities - is_class) ** 2).sum(axis=1).mean()),
        reliability=_reliability(stated, happened, _equal_widths(stated)),
        per_class=per_class,
    )


def expected_calibration_error(stated: np.ndarray, happened: np.ndarray) -> float:
    """Mean distance between stated probability (n,) and how often it happened (n,), over 15 bins weighted by size."""
    return _error(stated, happened, _equal_widths(stated))


def adaptive_calibration_error(stated: np.ndarray, happened: np.ndarray) -> float:
    """Give the expected calibration error over 15 bins that hold equally many images; equal probabilities share a bin."""
    return _error(stated, happened, _equal_masses(stated))


def _of_class(stated: np.ndarray, happened: np.ndarray) -> DiagnosisCalibration:
    return DiagnosisCalibration(
        ece=expected_calibration_error(stated, happened),
        ace=adaptive_calibration_error(stated, happened),
        reliability=_reliability(stated, happened, _equal_widths(stated)),
    )


def _by_chance(part: LabelledPredictions, seed: int) -> dict[str, list[float]]:
    """Take both errors of labels drawn from the probabilities themselves: mean and 95th percentile over the trials.

    Images of one lesion have one label, so that one number is drawn for them all.
    """
    rng = np.random.default_rng(seed)
    names, lesion = np.unique(part.lesions, return_inverse=True)
    sums, stated, focus = part.probabilities.cumsum(axis=1), part.probabilities.max(axis=1), part.taxonomy.focus
    place = part.taxonomy.index_of[focus] if focus else None
    found: dict[str, list[float]] = {"ece": [], **({"ece_focus": []} if focus else {})}
    for _ in range(_TRIALS):
        drawn = (rng.random((len(names), 1))[lesion] * sums[:, -1:] > sums).sum(axis=1)
        found["ece"].append(expected_calibration_error(stated, part.predicted == drawn))
        if place is not None:
            found["ece_focus"].append(expected_calibration_error(part.probabilities[:, place], drawn == place))
    return {name: [float(np.mean(errors)), float(np.percentile(errors, 95))] for name, errors in found.items()}


def _error(stated: np.ndarray, happened: np.ndarray, bins: np.ndarray) -> float:
    return float(np.abs(np.bincount(bins, stated - happened, minlength=BINS)).sum() / len(stated))


def _reliability(stated: np.ndarray, happened: np.ndarray, bins: np.ndarray) -> list[Bin]:
    groups = ((bins == number) for number in np.unique(bins))
    return [
        Bin(images=int(g.sum()), stated=float(stated[g].mean()), happened=float(happened[g].mean())) for g in groups
    ]


def _equal_widths(stated: np.ndarray) -> np.ndarray:
    return np.minimum((stated * BINS).astype(int), BINS - 1)


def _equal_masses(stated: np.ndarray) -> np.ndarray:
    """Number the bins 0 to 14 by rank; images of equal probability go into the bin of the first of them."""
    first_of_equals = np.searchsorted(np.sort(stated), stated)
    return first_of_equals * BINS // len(stated)
