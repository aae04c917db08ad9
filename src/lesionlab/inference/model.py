"""A model and images in, predictions out: ONNX Runtime, NumPy and Pillow; neither Keras nor pandas is imported.

>>> import lesionlab
>>> model = lesionlab.load_model()  # doctest: +SKIP
>>> for prediction in model.predict("photos"): print(prediction.image, prediction.name)  # doctest: +SKIP
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.data.image_formats import without_suffix
from lesionlab.data.images import ImageError
from lesionlab.data.patient import Patient
from lesionlab.errors import UsageError
from lesionlab.inference.batches import BATCH_SIZE, answer_batch, stream_batches
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.facts import Facts
from lesionlab.inference.given_images import as_sources
from lesionlab.inference.image_sources import Source
from lesionlab.inference.predictions import Prediction, Predictions, Unreadable, prediction_of


@dataclass(frozen=True)
class Model:
    """A bundle that predicts."""

    bundle: Bundle

    @property
    def facts(self) -> Facts:
        """What the model file says of itself."""
        return self.bundle.facts

    @property
    def name(self) -> str:
        """Of the model."""
        return self.facts.name

    @property
    def sha256(self) -> str:
        """By which the model is known again."""
        return self.bundle.sha256

    def predict(
        self,
        images: Any,
        *,
        batch_size: int = BATCH_SIZE,
        explain: bool = False,
        metadata: str | Path | Mapping[str, Patient] | Patient | None = None,
    ) -> Predictions:
        """Predict one image, many, or all of a folder.

        Args:
            images: a path (file, folder or pattern), bytes of an image file, a PIL image, RGB pixels uint8
                (height, width, 3) or (n, height, width, 3), or an iterable of these. Any size is cropped and scaled.
            batch_size: images that go through the network together.
            explain: keep the class activation maps.
            metadata: age, sex and site: a table with a row an image, as `predict --metadata` takes; a `Patient` for each image
                name; or one for all images.

        Raises:
            ImageError: the one image that was given cannot be read; of many, these are in `unreadable`.
            UsageError: nothing that can be predicted, a folder without images, a model without activation maps, or metadata that
                cannot be read or that the model does not take.

        """
        given = images if metadata is None else self.with_metadata(images, metadata)
        results = list(self.stream(given, batch_size=batch_size, explain=explain))
        unreadable = tuple(item for item in results if isinstance(item, Unreadable))
        if unreadable and len(results) == 1:
            raise ImageError(unreadable[0].reason, unreadable[0].source, code=unreadable[0].code)
        predictions = tuple(item for item in results if isinstance(item, Prediction))
        if metadata is not None and not isinstance(
            metadata, Patient
        ):  # a patient of whom nothing is known is no mistake
            _refuse_metadata_of_others(predictions)
        return Predictions(predictions, unreadable, self.facts.taxonomy)

    def stream(
        self, images: Any, *, batch_size: int = BATCH_SIZE, explain: bool = False, workers: int | None = None
    ) -> Iterator[Prediction | Unreadable]:
        """Predict images as they come, in their order, holding no more than a few batches; see `predict`.

        Args:
            images: as in `predict`; an iterable is read as far as needed and no further.
            batch_size: as in `predict`.
            explain: as in `predict`.
            workers: threads; by default one for each core, at most 8.

        """
        if explain and not self.bundle.has_activation_maps:
            raise UsageError(
                f"The model {self.facts.name!r} has no activation maps: it does not end in a global average."
            )
        answer = partial(self.predict_batch, explain=explain)
        return stream_batches(answer, images, batch_size=batch_size, workers=workers)

    def refuse_metadata(self) -> None:
        """Raise UsageError where the model has learnt nothing of age, sex and site."""
        if self.facts.patient is None:
            raise UsageError(
                f"The model {self.name!r} does not take age, sex and site: its data did not hold them, its predictions would not "
                "have become better by them, it was adapted to other diagnoses, or it was made by an older lesionlab. "
                "Leave the metadata out."
            )

    def with_metadata(self, images: Any, metadata: str | Path | Mapping[str, Patient] | Patient) -> Iterator[Source]:
        """Put what is known of the patients to images, lazily, for `stream`.

        Args:
            images: as in `predict`.
            metadata: likewise. Of a table or a mapping an image has the row of its path, as far as the row names it
                (`a/b.jpg`, or `b`); an id that is a bare name stands for every file of that name.

        Raises:
            UsageError: the model takes none, the table cannot be read, or the mapping is none of ids to patients; before the
                first image is given.

        """
        self.refuse_metadata()
        sources = as_sources(images)
        if isinstance(metadata, Patient):
            return (replace(source, patient=metadata) for source in sources)
        if isinstance(metadata, str | os.PathLike):
            from lesionlab.data.patient_table import read_patient_table

            metadata = read_patient_table(Path(metadata)).patients
        known = _by_image(metadata)
        return (replace(source, patient=_first_of(known, source.ids)) for source in sources)

    def predict_batch(
        self, batch: Sequence[Source], *, explain: bool = False, features: bool = False
    ) -> list[Prediction | Unreadable]:
        """Decode one batch and run it, in the thread that calls; `stream` does so in several."""
        run = partial(self._run, explain=explain, features=features)
        return answer_batch(batch, self.facts, run, partial(prediction_of, facts=self.facts))

    def _run(self, pixels: np.ndarray, explain: bool, features: bool) -> dict[str, np.ndarray]:
        """Give each output that was asked for, and the model has, a row an image; `probabilities` float64 (b, k)."""
        outputs = ["probabilities"]
        outputs += ["activation_maps"] if explain else []
        outputs += ["features"] if features else []
        outputs += ["ood_score"] if self.bundle.has_ood_score else []
        return self.bundle.run(outputs, pixels)


def _refuse_metadata_of_others(predictions: Sequence[Prediction]) -> None:
    if predictions and not any(item.patient.is_known or item.patient.left_out for item in predictions):
        raise UsageError(
            f"metadata has nothing of any image; the first is {predictions[0].image!r}. Rows are found by the name of the file, "
            "without its suffix, or by its path."
        )


def _by_image(metadata: Any) -> dict[str, Patient]:
    if not isinstance(metadata, Mapping):
        raise UsageError(
            f"metadata must be the path of a table, a Patient for all images, or a mapping from image ids to Patient; got "
            f"{type(metadata).__name__}."
        )
    wrong = next((item for item in metadata.items() if not isinstance(item[1], Patient)), None)
    if wrong:
        raise UsageError(f"metadata: {wrong[0]!r} has {wrong[1]!r}; give a lesionlab.Patient(age=…, sex=…, site=…).")
    known: dict[str, Patient] = {}
    for image, patient in metadata.items():
        name = without_suffix(Path(image).as_posix())
        if known.setdefault(name, patient) != patient:
            raise UsageError(
                f"metadata has two patients for the image {name!r}: {known[name]} and {patient}. Keep one."
            )
    return known


def _first_of(known: Mapping[str, Patient], ids: Iterable[str]) -> Patient:
    return next((known[name] for name in ids if name in known), Patient())


def load_model(path: str | Path | None = None) -> Model:
    """Load a model file, or without one the model that comes with lesionlab; see `lesionlab.inference.bundle.open_bundle`."""
    if path is not None and not isinstance(path, str | os.PathLike):
        raise UsageError(f"{path!r} is no model: give the path of a .onnx file, or nothing for lesionlab's own model.")
    return Model(open_bundle(path))
