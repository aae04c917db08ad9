"""Where an adaptation starts: the old head in the diagnoses of the clinic.

A diagnosis that model and clinic both know has the old head's row. One that is new to the model starts without an opinion: from
the mean of the known rows. One that the clinic does not know is left out, and the others share its probability.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionlab.errors import UsageError
from lesionlab.model.export.head import Head
from lesionlab.taxonomy import Diagnosis, Taxonomy

NEW_LOGIT = -1.0  # of a diagnosis that is new, against the mean of the known ones: unlikely, until lesions show it


@dataclass(frozen=True)
class Start:
    """The old head in the clinic's diagnoses.

    Attributes:
        head: with a column for each diagnosis of the clinic; no decision rule.
        origin: (k,), the place of each in the model's taxonomy; -1 where it is new.
        taxonomy: the clinic's.

    """

    head: Head
    origin: tuple[int, ...]
    taxonomy: Taxonomy

    @property
    def new(self) -> tuple[str, ...]:
        """Codes of the diagnoses that the model does not know."""
        return tuple(dx for dx, place in zip(self.taxonomy.dx, self.origin, strict=True) if place < 0)

    def probabilities_of(self, old: np.ndarray) -> np.ndarray:
        """Give what the model answers, float (n, old k), in the clinic's diagnoses: float (n, k), 0 for new ones.

        What it gives to diagnoses that the clinic lacks is shared out among the others; one that the clinic divides is too.
        """
        origin = np.array(self.origin)
        taken = np.where(origin >= 0, origin, 0)
        times = np.bincount(origin[origin >= 0], minlength=old.shape[1])
        found = old[:, taken] / np.maximum(times[taken], 1) * (origin >= 0)
        sums = found.sum(axis=1, keepdims=True)
        return np.where(sums > 0, found / np.where(sums > 0, sums, 1), (origin >= 0) / (origin >= 0).sum())

    def counts_of(self, old: Sequence[float]) -> tuple[float, ...]:
        """Give how many images of each diagnosis (old k,) in the clinic's diagnoses; empty where they are not known."""
        return tuple((self.probabilities_of(np.array([old]))[0] * sum(old)).tolist()) if old else ()


def start_from(head: Head, model: Taxonomy, clinic: Taxonomy) -> Start:
    """Bring the head of a model into the diagnoses of a clinic.

    Args:
        head: of the model.
        model: its taxonomy.
        clinic: the taxonomy to answer in.

    Raises:
        UsageError: no diagnosis is in both, or one means two things.

    """
    origin = tuple(_place(diagnosis, model, clinic.name) for diagnosis in clinic.diagnoses)
    if all(place < 0 for place in origin):
        raise UsageError(
            f"None of the diagnoses of {clinic.name} ({', '.join(clinic.dx)}) is one of the model's ({', '.join(model.dx)}). "
            "Give them names or synonyms that the model knows in a taxonomy file (--taxonomy), or train anew by 'lesionlab run'."
        )
    places = np.array(origin)
    is_known = places >= 0
    kernel, bias = head.kernel.astype(np.float64), head.bias.astype(np.float64)
    middle, middle_bias = kernel[:, places[is_known]].mean(axis=1), bias[places[is_known]].mean()
    times = np.bincount(places[is_known], minlength=len(model))
    columns = np.where(is_known, kernel[:, np.where(is_known, places, 0)], middle[:, None]) - middle[:, None]
    offsets = (
        np.where(is_known, bias[places] - np.log(np.maximum(times[places], 1)), middle_bias + NEW_LOGIT) - middle_bias
    )
    made = Head(columns.astype(np.float32), offsets.astype(np.float32), np.zeros(len(clinic), np.float32))
    return Start(made, origin, clinic)


def _place(diagnosis: Diagnosis, model: Taxonomy, clinic: str) -> int:
    """Find a diagnosis of the clinic among the model's, by code, name, column and synonyms; -1 where it is new.

    Raises:
        UsageError: its code is one of the model's and its name another, or its synonyms are of two.

    """
    by_code, by_name = model.find(diagnosis.dx), model.find(diagnosis.name)
    if by_code and by_name and by_code != by_name:
        raise UsageError(
            f"In {clinic}, {diagnosis.dx!r} is {diagnosis.name!r}, which the model calls {by_name!r}; its own {by_code!r} is "
            f"{model.name_of[by_code]!r}. Give the diagnosis another dx in the taxonomy."
        )
    if found := by_code or by_name:
        return model.index_of[found]
    others = {word: model.find(word) for word in (diagnosis.column, *diagnosis.synonyms)}
    codes = sorted({code for code in others.values() if code})
    if len(codes) > 1:
        raise UsageError(
            f"In {clinic}, {diagnosis.dx!r} is called by words of two of the model's diagnoses, {' and '.join(codes)}: "
            f"{', '.join(word for word, code in others.items() if code)}. Keep those of one in the taxonomy."
        )
    return model.index_of[codes[0]] if codes else -1


def otherwise_malignant(start: Start, model: Taxonomy) -> tuple[str, ...]:
    """Codes of the diagnoses that only one of clinic and model counts as malignant; the new file follows the clinic."""
    known = zip(start.taxonomy.diagnoses, start.origin, strict=True)
    return tuple(d.dx for d, place in known if place >= 0 and d.is_malignant != model.is_malignant[place])
