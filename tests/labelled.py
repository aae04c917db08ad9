"""Labelled predictions for the tests of the statistics."""

import numpy as np

from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.taxonomy import HAM10000, Diagnosis, Taxonomy


def labelled(
    labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray | None = None, taxonomy: Taxonomy = HAM10000
) -> LabelledPredictions:
    """Predictions of the seven diagnoses, or of others; an image a lesion where no lesions are given."""
    return LabelledPredictions(labels, probabilities, np.arange(len(labels)) if lesions is None else lesions, taxonomy)


def taxonomy_of(*codes: str, malignant: tuple[str, ...] = (), focus: str | None = None) -> Taxonomy:
    """A set of diagnoses named by their codes."""
    diagnoses = tuple(Diagnosis(dx, dx.upper(), f"{dx} lesion", dx in malignant) for dx in codes)
    return Taxonomy("made-up", diagnoses, focus)
