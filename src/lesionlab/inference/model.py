"""A model and images in, predictions out: ONNX Runtime, NumPy and Pillow; neither Keras nor pandas is imported.

>>> import lesionlab
>>> model = lesionlab.load_model()  # doctest: +SKIP
>>> for prediction in model.predict("photos"): print(prediction.image, prediction.name)  # doctest: +SKIP

Each thread decodes a small batch and runs it through the network on its own: no core waits for another, and a bounded
number of batches is under way, so that a million files need no more memory than a hundred.
"""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.cluster.threads import in_batches, in_order
from lesionlab.data.images import ImageError, read_image
from lesionlab.errors import UsageError
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.facts import Facts
from lesionlab.inference.given_images import as_file, as_sources
from lesionlab.inference.image_sources import Source
from lesionlab.inference.predictions import Prediction, Predictions, Unreadable, prediction_of

BATCH_SIZE = 4  # stays in a core's cache: 8 is slower, and takes 1.6 times the memory


@dataclass(frozen=True)
class Model:
    """A bundle that predicts."""

    bundle: Bundle

    @property
    def facts(self) -> Facts:
        """What the model file says of itself."""
        return self.bundle.facts

    def predict(self, images: Any, *, batch_size: int = BATCH_SIZE, explain: bool = False) -> Predictions:
        """Predict one image, many, or all of a folder.

        Args:
            images: a path (file, folder or pattern), bytes of an image file, a PIL image, RGB pixels uint8
                (height, width, 3) or (n, height, width, 3), or an iterable of these. Any size is cropped and scaled.
            batch_size: images that go through the network together.
            explain: keep the class activation maps.

        Raises:
            ImageError: the one image that was given cannot be read; of many, these are in `unreadable`.
            UsageError: nothing that can be predicted, a folder without images, or a model without activation maps.

        """
        results = list(self.stream(images, batch_size=batch_size, explain=explain))
        unreadable = tuple(item for item in results if isinstance(item, Unreadable))
        if unreadable and len(results) == 1:
            raise ImageError(unreadable[0].reason, unreadable[0].source, code=unreadable[0].code)
        predictions = tuple(item for item in results if isinstance(item, Prediction))
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
        if not isinstance(batch_size, int | np.integer):
            raise UsageError(f"batch_size must be a whole number of at least 1, not {batch_size!r}.")
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, not {batch_size}.")
        if workers is not None and not (isinstance(workers, int) and workers >= 1):
            raise UsageError(f"workers must be a whole number of at least 1, not {workers!r}.")
        if explain and not self.bundle.has_activation_maps:
            raise UsageError(
                f"The model {self.facts.name!r} has no activation maps: it does not end in a global average."
            )
        batches = in_batches(as_sources(images), batch_size)
        return self._stream(in_order(partial(self.predict_batch, explain=explain), batches, workers=workers))

    @staticmethod
    def _stream(results: Generator[list[Prediction | Unreadable], None, None]) -> Iterator[Prediction | Unreadable]:
        with closing(results):  # with the caller's own end: threads do not outlive it
            for batch in results:
                yield from batch

    def predict_batch(
        self, batch: Sequence[Source], *, explain: bool = False, features: bool = False
    ) -> list[Prediction | Unreadable]:
        """Decode one batch and run it, in the thread that calls; `stream` does so in several."""
        decoded = [self._read(source) for source in batch]
        pixels = [item for item in decoded if isinstance(item, np.ndarray)]
        found = self._run(pixels, explain, features) if pixels else {}
        rows = iter(range(len(pixels)))
        results: list[Prediction | Unreadable] = []
        for source, item in zip(batch, decoded, strict=True):
            if isinstance(item, ImageError):
                results.append(Unreadable(source.image, source.where, item.reason, item.code))
            else:
                row = next(rows)
                results.append(prediction_of(source, {name: values[row] for name, values in found.items()}, self.facts))
        return results

    def _read(self, source: Source) -> np.ndarray | ImageError:
        try:
            given = source.given if isinstance(source.given, Path | bytes) else as_file(source.given)
            return read_image(given, self.facts.height, self.facts.width, self.facts.crop)
        except ImageError as error:
            return error

    def _run(self, pixels: list[np.ndarray], explain: bool, features: bool) -> dict[str, np.ndarray]:
        """Give each output that was asked for, and the model has, a row an image; `probabilities` float64 (b, k)."""
        outputs = ["probabilities"]
        outputs += ["activation_maps"] if explain else []
        outputs += ["features"] if features else []
        outputs += ["ood_score"] if self.bundle.has_ood_score else []
        return self.bundle.run(outputs, np.stack(pixels))


def load_model(path: str | Path | None = None) -> Model:
    """Load a model file, or without one the model that comes with lesionlab; see `lesionlab.inference.bundle.open_bundle`."""
    if path is not None and not isinstance(path, str | os.PathLike):
        raise UsageError(f"{path!r} is no model: give the path of a .onnx file, or nothing for lesionlab's own model.")
    return Model(open_bundle(path))
