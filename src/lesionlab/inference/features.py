"""What a network makes of an image before it decides: features, a row of numbers an image, beside its probabilities.

In: images, and a model of lesionlab's or an image encoder of others (`lesionlab.inference.encoder`). Out: features float32
(n, d), in one pass of the network. Those of a lesionlab model are what goes into its last dense layer: the global average of its
last map, of joined networks those of all, side by side.

>>> import lesionlab
>>> made = lesionlab.embed("photos")  # doctest: +SKIP
>>> made.features.shape  # doctest: +SKIP
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.errors import UsageError
from lesionlab.inference.batches import BATCH_SIZE, answer_batch, stream_batches
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.encoder import Encoder, open_encoder
from lesionlab.inference.image_sources import Source
from lesionlab.inference.predictions import Unreadable
from lesionlab.progress import track


@dataclass(frozen=True)
class Embedded:
    """What a network makes of one image.

    Attributes:
        image: its name; `source` is the path as given.
        features: float32 (d,).
        probabilities: float64 (k,) in the order of the model's taxonomy; None of an encoder.
        ood_score: None where the model has none.
        file: the file to open; None where bytes or pixels were given.

    """

    image: str
    source: str
    features: np.ndarray = field(compare=False, repr=False)
    probabilities: np.ndarray | None = field(default=None, compare=False, repr=False)
    ood_score: float | None = None
    file: Path | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Embeddings:
    """Features of n images, in the order given; what could not be read stands apart.

    Attributes:
        image_id: names of the images; `path` where they were given.
        features: float32 (n, d).
        model: the name of the model or encoder that made them.
        model_sha256: its fingerprint: features of two models cannot be compared.
        unreadable: images that could not be read, and why.
        probabilities: float64 (n, k) in the order of the model's taxonomy; None of an encoder, or of a file without.

    """

    image_id: tuple[str, ...]
    path: tuple[str, ...]
    features: np.ndarray = field(repr=False)
    model: str
    model_sha256: str
    unreadable: tuple[Unreadable, ...] = ()
    probabilities: np.ndarray | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Count the images that have features."""
        return len(self.image_id)


@dataclass(frozen=True)
class Embedder:
    """A model, or an encoder, that gives features."""

    network: Bundle | Encoder

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as the network does, whose features are then found again."""
        return embedder_of, (self.network,)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.network.facts.name

    @cached_property
    def sha256(self) -> str:
        """The model's fingerprint."""
        return self.network.sha256

    @property
    def outputs(self) -> tuple[str, ...]:
        """What one pass of the network gives."""
        if isinstance(self.network, Encoder):
            return ("features",)
        return ("features", "probabilities", *(["ood_score"] if self.network.has_ood_score else []))

    def stream(
        self, images: Any, *, batch_size: int = BATCH_SIZE, workers: int | None = None
    ) -> Iterator[Embedded | Unreadable]:
        """Give the features of images as they come, in their order; arguments as of `lesionlab.inference.model.Model.stream`."""
        return stream_batches(self.embed_batch, images, batch_size=batch_size, workers=workers)

    def embed_batch(self, batch: Sequence[Source]) -> list[Embedded | Unreadable]:
        """Decode one batch and run it, in the thread that calls; `stream` does so in several."""
        return answer_batch(batch, self.network.facts, partial(self.network.run, self.outputs), _embedded)


def _embedded(source: Source, found: Mapping[str, np.ndarray]) -> Embedded:
    ood_score = found.get("ood_score")
    return Embedded(
        source.image,
        source.where,
        found["features"],
        found.get("probabilities"),
        None if ood_score is None else float(ood_score),
        source.given if isinstance(source.given, Path) else None,
    )


def load_embedder(path: str | Path | None = None) -> Embedder:
    """Open what gives features.

    Args:
        path: a model as of `lesionlab.inference.bundle.open_bundle`, the TOML file of an encoder, or None for the model that
            comes with lesionlab.

    Raises:
        UsageError: as of `open_bundle` and `lesionlab.inference.encoder.open_encoder`; a network without one last dense layer.

    """
    if path is not None and Path(path).suffix == ".toml":
        return embedder_of(open_encoder(path))
    return embedder_of(open_bundle(path))


def embedder_of(network: Bundle | Encoder) -> Embedder:
    """Have an open model give its features; raises UsageError where it has none."""
    return Embedder(network if isinstance(network, Encoder) else network.with_features())


def embed(images: Any, model: str | Path | None = None, *, batch_size: int = BATCH_SIZE) -> Embeddings:
    """Give the features of images.

    Args:
        images: a path (file, folder or pattern), bytes, a PIL image, RGB pixels, or an iterable of these, as
            `lesionlab.inference.model.Model.predict` takes them.
        model: as of `load_embedder`.
        batch_size: images that go through the network together.

    Raises:
        UsageError: nothing that can be read as images, none that could be read, or as of `load_embedder`.

    """
    return embeddings_of(load_embedder(model), images, batch_size=batch_size)


def embeddings_of(embedder: Embedder, images: Any, *, batch_size: int = BATCH_SIZE) -> Embeddings:
    """Give the features of images by an open model; see `embed`."""
    results = list(track(embedder.stream(images, batch_size=batch_size), "embedding"))
    return collected(embedder, results)


def collected(embedder: Embedder, results: Sequence[Embedded | Unreadable]) -> Embeddings:
    """Put what `Embedder.stream` gave together.

    Raises:
        UsageError: no image could be read.

    """
    made = [item for item in results if isinstance(item, Embedded)]
    unreadable = tuple(item for item in results if isinstance(item, Unreadable))
    if not made:
        why = f": {unreadable[0].source}: {unreadable[0].reason}" if unreadable else ""
        raise UsageError(
            f"None of {len(unreadable):,} images could be read{why}. Give images, or a folder that holds some."
        )
    rows = [item.probabilities for item in made if item.probabilities is not None]
    return Embeddings(
        tuple(item.image for item in made),
        tuple(item.source for item in made),
        np.stack([item.features for item in made]),
        embedder.name,
        embedder.sha256,
        unreadable,
        np.stack(rows) if rows else None,
    )
