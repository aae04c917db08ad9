"""What a model says of images: one `Prediction` each, or why one could not be read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np

from lesionlab.data.patient import Patient
from lesionlab.evaluation.patient_terms import with_patients
from lesionlab.evaluation.prediction_sets import prediction_sets
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.inference.facts import Facts, Thresholds
from lesionlab.inference.image_sources import Source
from lesionlab.inference.notebook_html import image_row, images_table
from lesionlab.taxonomy import Taxonomy

NOT_DERMATOSCOPIC = "not dermatoscopic"
_MOST_SHOWN = 12  # images, in a notebook


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        image: its name: the file's name without folder and suffix.
        source: the path as given, or `image` where there is none.
        probabilities: of the diagnoses, by code, in the order of the model's taxonomy; they sum to 1.
        dx: code of the likeliest diagnosis; `name` is its full name.
        malignant_probability: of the diagnoses that the taxonomy counts as malignant, together, 0 to 1.
        uncertainty: entropy of the probabilities over that of equal ones, 0 (sure) to 1 (knows nothing).
        decision: `malignant`, `benign` or `uncertain`, see `decide`; `not dermatoscopic` where that comes first: then nothing
            else here means anything.
        prediction_set: codes of the diagnoses that cannot be ruled out, the likeliest first; it holds the truth as often as
            the model's facts promise (`lesionlab.evaluation.conformal`). Empty where the model promises nothing.
        activation_maps: float32 (grid height, grid width, k), how much each place speaks for each diagnosis (class
            activation maps, Zhou et al., CVPR 2016); None where not asked for.
        features: float32 (channels,), after the network's global average; None where not asked for.
        ood_score: how little the image is like a dermatoscopic one, 0 or more (`lesionlab.evaluation.ood`); None where the model
            has no such score.
        is_dermatoscopic: whether the score lies within the model's threshold; None where it has no score.
        patient: what was known of the patient, and is in the probabilities; its `left_out` says what was given and is not.
        file: the file to open, which `source` may not name byte for byte; None where bytes or pixels were given.

    """

    image: str
    source: str
    probabilities: dict[str, float]
    dx: str
    name: str
    malignant_probability: float
    uncertainty: float
    decision: str
    prediction_set: tuple[str, ...] = ()
    activation_maps: np.ndarray | None = field(default=None, compare=False, repr=False)
    features: np.ndarray | None = field(default=None, compare=False, repr=False)
    ood_score: float | None = None
    is_dermatoscopic: bool | None = None
    patient: Patient = Patient()
    file: Path | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, object]:
        """Give what JSON can hold, as `predict --json` prints it; of the maps nothing. `metadata` where any counts."""
        known: dict[str, object] = {"metadata": self.patient.as_dict()} if self.patient.is_known else {}
        known |= {"left_out": self.patient.left_out} if self.patient.left_out else {}
        return {
            "image": self.image,
            "path": self.source,
            "dx": self.dx,
            "name": self.name,
            "probabilities": {dx: short(p) for dx, p in self.probabilities.items()},
            "malignant_probability": short(self.malignant_probability),
            "uncertainty": short(self.uncertainty),
            "decision": self.decision,
            "prediction_set": self.prediction_set,
            "ood_score": None if self.ood_score is None else short(self.ood_score),
            "is_dermatoscopic": self.is_dermatoscopic,
            **known,
        }

    def _repr_html_(self) -> str:
        """Show the image and its probabilities in a notebook."""
        return images_table([self.as_row()], [])

    def as_row(self) -> tuple[str, str, str]:
        """Give the row of a notebook's table: cells of HTML."""
        answer = [self.decision, self.name, f"malignant {self.malignant_probability:.3f}"]
        if self.prediction_set:
            answer.append(f"not ruled out: {', '.join(self.prediction_set)}")
        return image_row(self.image, self.file, answer, self.probabilities)


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read, and why: in words, and as the `code` of `lesionlab.data.images.ImageError`."""

    image: str
    source: str
    reason: str
    code: str


@dataclass(frozen=True)
class Predictions:
    """Predictions in the order of the images given; what could not be read stands apart; the diagnoses are the model's."""

    items: tuple[Prediction, ...]
    unreadable: tuple[Unreadable, ...]
    taxonomy: Taxonomy

    def __len__(self) -> int:
        """Count the predictions."""
        return len(self.items)

    def __iter__(self) -> Iterator[Prediction]:
        """Go through the predictions."""
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, index: int | slice) -> Prediction | tuple[Prediction, ...]:
        """Take one prediction, or several."""
        return self.items[index]

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities of all predictions: float64 (n, k) in the order of the taxonomy."""
        return np.array([list(item.probabilities.values()) for item in self.items]).reshape(-1, len(self.taxonomy))

    def _repr_html_(self) -> str:
        """Show the first twelve images, and what could not be read, in a notebook."""
        more = len(self) - _MOST_SHOWN
        beside = [f"and {more:,} more"] if more > 0 else []
        beside += [f"not read: {item.source}: {item.reason}" for item in self.unreadable[:_MOST_SHOWN]]
        return images_table([item.as_row() for item in self.items[:_MOST_SHOWN]], beside)


def short(value: float) -> float:
    """Round to nine significant digits: all that float32 holds, and rows still sum to 1 within 1e-8."""
    return float(f"{value:.9g}")


def decide(malignant_probability: float, uncertainty: float, thresholds: Thresholds) -> str:
    """Take the decision: `uncertain` above the threshold `uncertainty`, else `malignant` from `malignant` on, or `benign`.

    Where the model's facts set no threshold, nothing is uncertain, and what is more likely malignant than not is `malignant`.
    """
    if thresholds.uncertainty is not None and uncertainty > thresholds.uncertainty:
        return "uncertain"
    line = 0.5 if thresholds.malignant is None else thresholds.malignant
    return "malignant" if malignant_probability >= line else "benign"


def prediction_of(source: Source, found: Mapping[str, np.ndarray], facts: Facts) -> Prediction:
    """Word what the model gives for one image, and with what is known of the patient: `found` holds its row of each output."""
    row, ood_score, taxonomy = found["probabilities"], found.get("ood_score"), facts.taxonomy
    patient = source.patient if facts.patient else Patient()
    if facts.patient:
        (row,) = with_patients(row[None], [patient], facts.patient)
    dx = taxonomy.dx[int(row.argmax())]
    malignant = float(row[list(taxonomy.is_malignant)].sum())
    uncertainty = float(uncertainties(row[None])[0])
    is_dermatoscopic = None if ood_score is None or facts.ood is None else bool(ood_score <= facts.ood.threshold)
    decision = decide(malignant, uncertainty, facts.thresholds)
    return Prediction(
        image=source.image,
        source=source.where,
        probabilities=dict(zip(taxonomy.dx, row.tolist(), strict=True)),
        dx=dx,
        name=taxonomy.name_of[dx],
        malignant_probability=malignant,
        uncertainty=uncertainty,
        decision=NOT_DERMATOSCOPIC if is_dermatoscopic is False else decision,
        prediction_set=_prediction_set(row, facts),
        activation_maps=found.get("activation_maps"),
        features=found.get("features"),
        ood_score=None if ood_score is None else float(ood_score),
        is_dermatoscopic=is_dermatoscopic,
        patient=patient,
        file=source.given if isinstance(source.given, Path) else None,
    )


def _prediction_set(row: np.ndarray, facts: Facts) -> tuple[str, ...]:
    if facts.conformal is None:
        return ()
    (is_in,) = prediction_sets(row[None], facts.conformal.thresholds)
    return tuple(facts.taxonomy.dx[index] for index in np.argsort(-row, kind="stable") if is_in[index])
