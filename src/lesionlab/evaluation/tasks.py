"""Questions with two answers that can be asked of a set of diagnoses: malignant or benign, and the focus or another.

A set without malignant diagnoses, or of malignant ones alone, has no figures of malignant against benign; one without a focus
has none of a focus. Of two diagnoses one is asked for: the other's figures are the same in a mirror.
"""

import numpy as np

from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.taxonomy import Taxonomy

MALIGNANT = "malignant"


def tasks_of(taxonomy: Taxonomy) -> dict[str, tuple[str, ...]]:
    """Give each task's name and the codes of the diagnoses that it calls positive; no two tasks ask the same.

    `malignant`, then the focus by its name (`melanoma`); of two diagnoses that have neither, the second by its name.
    """
    tasks = {MALIGNANT: taxonomy.malignant} if has_malignant_task(taxonomy) else {}
    focus = positive_of_two(taxonomy) or taxonomy.focus
    if focus and (focus,) not in tasks.values():
        tasks[taxonomy.name_of[focus].lower()] = (focus,)
    return tasks


def has_malignant_task(taxonomy: Taxonomy) -> bool:
    """Whether some of the diagnoses count as malignant and others do not."""
    return 0 < len(taxonomy.malignant) < len(taxonomy)


def positive_of_two(taxonomy: Taxonomy) -> str | None:
    """Give the code of the one of two diagnoses that is asked for (the malignant one, the focus or the second); None of more."""
    if len(taxonomy) != 2:
        return None
    return taxonomy.malignant[0] if has_malignant_task(taxonomy) else taxonomy.focus or taxonomy.dx[1]


def asked_for(taxonomy: Taxonomy) -> tuple[str, ...]:
    """Codes of the diagnoses that are each set against the rest: all, or one of two."""
    positive = positive_of_two(taxonomy)
    return (positive,) if positive else taxonomy.dx


def malignant_columns(taxonomy: Taxonomy) -> np.ndarray | None:
    """Places of the malignant diagnoses, integers; None where malignant against benign is not defined."""
    return np.flatnonzero(taxonomy.is_malignant) if has_malignant_task(taxonomy) else None


def as_task(part: LabelledPredictions, codes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Which images show one of the diagnoses, bool (n,), and the probability given to them together, float (n,)."""
    columns = [part.taxonomy.index_of[dx] for dx in codes]
    return np.isin(part.labels, columns), part.probabilities[:, columns].sum(axis=1)


def is_malignant(part: LabelledPredictions) -> np.ndarray:
    """Which images show a malignant lesion: bool (n,); none where malignant against benign is not defined."""
    columns = malignant_columns(part.taxonomy)
    return np.zeros(len(part), bool) if columns is None else np.isin(part.labels, columns)
