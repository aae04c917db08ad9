"""Find how far age, sex and site speak for each diagnosis, and whether they say more than the image does.

In: patients and labels of the training part, and a validation part with its probabilities. Out: `PatientTerms`, or None where
they do not help there. scikit-learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from lesionlab.data.patient import SEXES, SITES, Patient
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.logistic_weights import weights_of_all
from lesionlab.evaluation.patient_terms import PatientTerms, with_patients

YEARS = (10.0, 25.0, 40.0, 55.0, 70.0, 85.0)
SHARES = (0.25, 0.5, 0.75, 1.0)
FEWEST = 50  # lesions with anything known, of training or of validation, below which nothing is said
_SOURCE_WEIGHT = 5.0  # of the column of each source: its mix is hardly held back, and so is not taken for age
_ITERATIONS = 2000


@dataclass(frozen=True, eq=False)
class KnownPatients:
    """The training part: of each image its patient, its label (0 to k - 1), its lesion, and where it comes from."""

    patients: Sequence[Patient]
    labels: np.ndarray
    lesions: np.ndarray
    sources: np.ndarray


def choose_patient_terms(
    training: KnownPatients, validation: LabelledPredictions, patients: Sequence[Patient]
) -> PatientTerms | None:
    """Fit the log odds on the training part, and choose the share of them that validation data bear.

    Args:
        training: labels of k diagnoses.
        validation: its probabilities (n, k) as the model gives them.
        patients: of the validation images.

    Returns:
        The share of the log odds with the least log loss on the validation part; None where too little is known, or where that
        gains no more than its standard error over the lesions.

    """
    if n_known(training.lesions, training.patients) < FEWEST or n_known(validation.lesions, patients) < FEWEST:
        return None
    whole = fit_patient_terms(training, validation.n_diagnoses)
    shares = [whole.scaled(share) for share in SHARES]
    best = max(shares, key=lambda terms: float(gains_of_lesions(terms, validation, patients).mean()))
    return best if do_help(best, validation, patients) else None


def do_help(terms: PatientTerms, part: LabelledPredictions, patients: Sequence[Patient]) -> bool:
    """Whether the log loss of lesions falls, on average by more than its standard error; not of fewer than `FEWEST`.

    Lesions of whose patient nothing is known have no say.
    """
    gains = gains_of_lesions(terms, part, patients)
    return len(gains) >= FEWEST and float(gains.mean()) > float(gains.std(ddof=1) / np.sqrt(len(gains)))


def fit_patient_terms(training: KnownPatients, n_diagnoses: int) -> PatientTerms:
    """Fit multinomial logistic regression to age (piecewise linear), sex and site; a lesion counts once.

    The sources have a column each, which is left out of what is given back: data sets differ in their mix of diagnoses, and that
    is no matter of the patient's.
    """
    from sklearn.linear_model import LogisticRegression

    columns = _columns(training.patients)
    _, of_source = np.unique(training.sources, return_inverse=True)
    _, of_lesion, images = np.unique(training.lesions, return_inverse=True, return_counts=True)
    weights = 1 / images[of_lesion]
    mean = np.average(columns, axis=0, weights=weights)
    sources = _SOURCE_WEIGHT * np.eye(of_source.max() + 1)[of_source]
    with threadpool_limits(1, user_api="blas"):  # more threads wait for each other
        regression = LogisticRegression(max_iter=_ITERATIONS).fit(
            np.hstack([columns - mean, sources]), training.labels, sample_weight=weights
        )
    kernel, _ = weights_of_all(regression, n_diagnoses)
    return _as_terms(kernel[: columns.shape[1]], mean)


def _columns(patients: Sequence[Patient]) -> np.ndarray:
    """Give a row a patient: shares of the two nearest of `YEARS`, a column a sex and a site; of what is unknown the mean."""
    ages = np.array([np.nan if one.age is None else one.age for one in patients])
    hats = np.stack([np.interp(ages, YEARS, row) for row in np.eye(len(YEARS))], axis=1)
    sexes = _one_hot([one.sex for one in patients], list(SEXES))
    sites = _one_hot([one.site for one in patients], list(SITES))
    return np.hstack([_filled(block) for block in (hats, sexes, sites)])


def _one_hot(words: Sequence[str | None], known: Sequence[str]) -> np.ndarray:
    return np.array([[float(word == one) for one in known] if word else [np.nan] * len(known) for word in words])


def _filled(block: np.ndarray) -> np.ndarray:
    """Put the mean of what is known in place of what is not; 0 where nothing is."""
    is_unknown = np.isnan(block[:, 0])
    mean = np.zeros(block.shape[1]) if is_unknown.all() else block[~is_unknown].mean(axis=0)
    return np.where(is_unknown[:, None], mean, block)


def _as_terms(kernel: np.ndarray, mean: np.ndarray) -> PatientTerms:
    """Split the weights (d, k) into those of age, sex and site, each less what it comes to on average (d,)."""
    ends = np.cumsum([len(YEARS), len(SEXES), len(SITES)])
    blocks = [
        weights - share @ weights
        for weights, share in zip(np.split(kernel, ends[:-1]), np.split(mean, ends[:-1]), strict=True)
    ]
    age, sex, site = [[tuple(row) for row in block.tolist()] for block in blocks]
    return PatientTerms(YEARS, tuple(age), dict(zip(SEXES, sex, strict=True)), dict(zip(SITES, site, strict=True)))


def gains_of_lesions(terms: PatientTerms, part: LabelledPredictions, patients: Sequence[Patient]) -> np.ndarray:
    """By how much the log loss of each lesion falls, the mean of its images; of those with a known patient."""
    moved = with_patients(part.probabilities, patients, terms)
    gains = _losses(part.labels, part.probabilities) - _losses(part.labels, moved)
    is_known = np.array([patient.is_known for patient in patients], dtype=bool)
    _, of_lesion = np.unique(part.lesions[is_known], return_inverse=True)
    return np.bincount(of_lesion, gains[is_known]) / np.bincount(of_lesion)


def n_known(lesions: np.ndarray, patients: Sequence[Patient]) -> int:
    """Count the lesions of whose patient anything is known."""
    return len({lesion for lesion, patient in zip(lesions, patients, strict=True) if patient.is_known})


def _losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15))
