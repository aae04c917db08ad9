"""How far age, sex and site speak for each diagnosis: log odds that are added to those of the image.

Taken as independent of the image, given the diagnosis (naive Bayes), and weighed down by a share that is chosen on validation
data, since they are not. What is unknown adds nothing. `lesionlab.evaluation.patient_fit` finds them.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from lesionlab.data.patient import Patient

_LEAST = 1e-9  # probability below which an image's own is not taken


class PatientTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Log odds of k diagnoses, in the taxonomy's order; their mean over the training lesions is 0.

    Attributes:
        years: ages of the rows of `age`, rising; between them rows are interpolated, beyond them the outer ones hold.
        age: a row an age, a number a diagnosis.
        sex: by `female` and `male`, a number a diagnosis.
        site: likewise, by the sites that `predict --metadata` reads.

    """

    years: tuple[float, ...]
    age: tuple[tuple[float, ...], ...]
    sex: dict[str, tuple[float, ...]]
    site: dict[str, tuple[float, ...]]

    def is_of(self, n_diagnoses: int) -> bool:
        """Whether each row has a number for each diagnosis, and `age` a row for each of `years`, which rise."""
        rows = (*self.age, *self.sex.values(), *self.site.values())
        is_rising = all(a < b for a, b in zip(self.years, self.years[1:], strict=False))
        is_finite = bool(np.isfinite([*self.years, *(value for row in rows for value in row)]).all())
        return (
            is_rising
            and len(self.age) == len(self.years)
            and all(len(row) == n_diagnoses for row in rows)
            and is_finite
        )

    def scaled(self, share: float) -> "PatientTerms":
        """Give a share of the log odds."""

        def times(row: Sequence[float]) -> tuple[float, ...]:
            return tuple(round(share * value, 6) for value in row)

        return PatientTerms(
            self.years,
            tuple(map(times, self.age)),
            {word: times(row) for word, row in self.sex.items()},
            {word: times(row) for word, row in self.site.items()},
        )


def log_odds(patient: Patient, terms: PatientTerms, n_diagnoses: int) -> np.ndarray:
    """Add up what is known of a patient: float64 (k,), 0 of one of whom nothing is."""
    total = np.zeros(n_diagnoses)
    if patient.age is not None and terms.years:
        total += [np.interp(patient.age, terms.years, column) for column in zip(*terms.age, strict=True)]
    total += terms.sex.get(patient.sex or "", 0.0)
    total += terms.site.get(patient.site or "", 0.0)
    return total


def with_patients(probabilities: np.ndarray, patients: Sequence[Patient], terms: PatientTerms) -> np.ndarray:
    """Move the probabilities of images by what is known of their patients.

    Args:
        probabilities: float (n, k), rows sum to 1; rows of NaN stay.
        patients: of the images, n.
        terms: of the k diagnoses.

    Returns:
        float64 (n, k), rows sum to 1; a row whose patient is not known at all is as it was, to the bit.

    """
    found = np.array(probabilities, dtype=np.float64)
    is_known = np.array([patient.is_known for patient in patients], dtype=bool)
    if is_known.any():
        shifts = [log_odds(patient, terms, found.shape[1]) for patient in patients if patient.is_known]
        odds = np.log(np.maximum(found[is_known], _LEAST)) + np.array(shifts)
        shares = np.exp(odds - odds.max(axis=1, keepdims=True))
        found[is_known] = shares / shares.sum(axis=1, keepdims=True)
    return found
