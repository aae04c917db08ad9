"""A model and images in, predictions out: ONNX Runtime, NumPy and Pillow; neither Keras nor pandas is imported.

>>> import lesionlab
>>> model = lesionlab.load_model()  # doctest: +SKIP
>>> for prediction in model.predict("photos"): print(prediction.image, prediction.name)  # doctest: +SKIP

Each thread decodes a small batch and runs it through the network on its own: no core waits for another, and a bounded
number of batches is under way, so that a million files need no more memory than a hundred.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from lesionlab.data.images import ImageError, read_image, refuse_unknown_range
from lesionlab.environment import n_cores
from lesionlab.errors import UsageError
from lesionlab.evaluation.conformal import prediction_sets
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.inference.bundle import Bundle, Facts, open_bundle
from lesionlab.inference.image_sources import Source, find_images
from lesionlab.taxonomy import DX, IS_MALIGNANT, NAME_OF

BATCH_SIZE = 4  # stays in a core's cache: 8 is slower, and takes 1.6 times the memory
MOST_WORKERS = 8  # each holds a batch's activations
NOT_DERMATOSCOPIC = "not dermatoscopic"


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        image: its name: the file's name without folder and suffix.
        source: the path as given, or `image` where there is none.
        probabilities: of the seven diagnoses, by code in `DX` order; they sum to 1.
        dx: code of the likeliest diagnosis; `name` is its full name.
        malignant_probability: of melanoma, basal cell carcinoma and actinic keratosis together, 0 to 1.
        uncertainty: entropy of the probabilities over that of seven equal ones, 0 (sure) to 1 (knows nothing).
        decision: `malignant`, `benign` or `uncertain`, see `decide`; `not dermatoscopic` where that comes first: then nothing
            else here means anything.
        prediction_set: codes of the diagnoses that cannot be ruled out, the likeliest first; it holds the truth as often as
            the model's facts promise (`lesionlab.evaluation.conformal`). Empty where the model promises nothing.
        activation_maps: float32 (grid height, grid width, 7), how much each place speaks for each diagnosis (class
            activation maps, Zhou et al., CVPR 2016); None where not asked for.
        features: float32 (channels,), after the network's global average; None where not asked for.
        ood_score: how little the image is like a dermatoscopic one, 0 or more (`lesionlab.evaluation.ood`); None where the model
            has no such score.
        is_dermatoscopic: whether the score lies within the model's threshold; None where it has no score.
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
    file: Path | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON can hold, as `predict --json` prints it; of the maps nothing."""
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
        }


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read, and why: in words, and as the `code` of `lesionlab.data.images.ImageError`."""

    image: str
    source: str
    reason: str
    code: str


@dataclass(frozen=True)
class Predictions:
    """Predictions in the order of the images given; what could not be read stands apart."""

    items: tuple[Prediction, ...]
    unreadable: tuple[Unreadable, ...]

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
        """Probabilities of all predictions: float64 (n, 7) in `DX` order."""
        return np.array([list(item.probabilities.values()) for item in self.items]).reshape(-1, len(DX))


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
        return Predictions(tuple(item for item in results if isinstance(item, Prediction)), unreadable)

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
        return self._stream(_sources(images), batch_size, explain, workers or min(MOST_WORKERS, n_cores()))

    def _stream(
        self, sources: Iterable[Source], batch_size: int, explain: bool, workers: int
    ) -> Iterator[Prediction | Unreadable]:
        remaining = iter(sources)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="predict")
        under_way: deque[Future[list[Prediction | Unreadable]]] = deque()
        try:
            while batch := list(islice(remaining, batch_size)):
                under_way.append(pool.submit(self.answer, batch, explain))
                if len(under_way) > 2 * workers:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def answer(self, batch: Sequence[Source], explain: bool, features: bool = False) -> list[Prediction | Unreadable]:
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
                results.append(_prediction(source, {name: values[row] for name, values in found.items()}, self.facts))
        return results

    def _read(self, source: Source) -> np.ndarray | ImageError:
        try:
            given = source.given if isinstance(source.given, Path | bytes) else _as_file(source.given)
            return read_image(given, self.facts.height, self.facts.width, self.facts.crop)
        except ImageError as error:
            return error

    def _run(self, pixels: list[np.ndarray], explain: bool, features: bool) -> dict[str, np.ndarray]:
        """Give each output that was asked for, and the model has, a row an image; `probabilities` float64 (b, 7)."""
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


def short(value: float) -> float:
    """Round to nine significant digits: all that float32 holds, and rows still sum to 1 within 1e-8."""
    return float(f"{value:.9g}")


def decide(malignant_probability: float, uncertainty: float, thresholds: Mapping[str, float]) -> str:
    """Take the decision: `uncertain` above the threshold `uncertainty`, else `malignant` from `malignant` on, or `benign`.

    Where the model's facts set no threshold, nothing is uncertain, and what is more likely malignant than not is `malignant`.
    """
    if uncertainty > thresholds.get("uncertainty", 1.0):
        return "uncertain"
    return "malignant" if malignant_probability >= thresholds.get("malignant", 0.5) else "benign"


def _prediction(source: Source, found: Mapping[str, np.ndarray], facts: Facts) -> Prediction:
    """Word what the model gives for one image: `found` holds its row of each output."""
    row, ood_score = found["probabilities"], found.get("ood_score")
    dx = DX[int(row.argmax())]
    malignant = float(row[list(IS_MALIGNANT)].sum())
    uncertainty = float(uncertainties(row[None])[0])
    is_dermatoscopic = None if ood_score is None else bool(ood_score <= facts.ood["threshold"])
    decision = decide(malignant, uncertainty, facts.thresholds)
    return Prediction(
        image=source.image,
        source=source.where,
        probabilities=dict(zip(DX, row.tolist(), strict=True)),
        dx=dx,
        name=NAME_OF[dx],
        malignant_probability=malignant,
        uncertainty=uncertainty,
        decision=NOT_DERMATOSCOPIC if is_dermatoscopic is False else decision,
        prediction_set=_prediction_set(row, facts),
        activation_maps=found.get("activation_maps"),
        features=found.get("features"),
        ood_score=None if ood_score is None else float(ood_score),
        is_dermatoscopic=is_dermatoscopic,
        file=source.given if isinstance(source.given, Path) else None,
    )


def _prediction_set(row: np.ndarray, facts: Facts) -> tuple[str, ...]:
    if "thresholds" not in facts.conformal:
        return ()
    (is_in,) = prediction_sets(row[None], facts.conformal["thresholds"])
    return tuple(DX[index] for index in np.argsort(-row, kind="stable") if is_in[index])


def _sources(images: Any) -> Iterable[Source]:
    """Bring whatever `predict` takes to sources, lazily where an iterable was given."""
    if isinstance(images, str | Path):
        return map(Source.of_file, find_images([images]))
    is_one_array = isinstance(images, np.ndarray) and images.ndim in (0, 2, 3)
    if isinstance(images, bytes | bytearray | memoryview | Image.Image) or is_one_array or hasattr(images, "read"):
        return [_source(images, 1)]
    if not isinstance(images, Iterable) or isinstance(images, Mapping):
        raise UsageError(f"{type(images).__name__} is no image: give {_TAKEN}.")
    return _each_source(images)


def _each_source(images: Iterable[Any]) -> Iterator[Source]:
    for number, item in enumerate(images, start=1):
        if isinstance(item, Source):
            yield item
        elif isinstance(item, str | Path):
            yield from map(Source.of_file, find_images([item]))
        else:
            yield _source(item, number)


_WITH_ALPHA = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}  # other modes have no alpha
_TAKEN = "a path, bytes, a PIL image, uint8 RGB pixels (height, width, 3), or several of these"


def _source(item: Any, number: int) -> Source:
    name = f"image-{number}"
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim != 3 or item.shape[2] != 3:
            raise UsageError(f"{name}: pixels must be uint8 (height, width, 3), RGB; got {item.dtype} {item.shape}.")
    elif isinstance(item, Image.Image):
        name = Path(getattr(item, "filename", "") or name).stem
    elif hasattr(item, "read"):
        raise UsageError(f"{name}: an open file is no image: give its path, or its bytes, as its read() gives them.")
    elif isinstance(item, bytearray | memoryview):
        item = bytes(item)
    elif not isinstance(item, bytes):
        raise UsageError(f"{name}: {type(item).__name__} is no image: give {_TAKEN}.")
    return Source(name, name, item)


def _as_file(given: Image.Image | np.ndarray) -> bytes:
    """Pixels as an uncompressed PNG, so that they go the same way as a file: upright, sRGB, over white."""
    image = Image.fromarray(given) if isinstance(given, np.ndarray) else given
    refuse_unknown_range(image)
    try:
        if image.mode.startswith("I;16"):
            image = Image.fromarray(np.asarray(image).astype(np.uint16))
        elif image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            image = image.convert(_WITH_ALPHA.get(image.mode, "RGB"))
        file = BytesIO()
        image.save(file, "PNG", compress_level=0, exif=image.getexif())
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"the image cannot be read ({error})") from error
    return file.getvalue()
