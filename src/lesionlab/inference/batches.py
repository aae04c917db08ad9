"""The loop that runs a network over images: each thread decodes a small batch and runs it, and no core waits for another.

In: sources, the size that the network takes, and a function that runs it. Out: what the network makes of each image, or why
the image could not be read, in the order of the images. A bounded number of batches is under way, so that a million files
need no more memory than a hundred.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from lesionlab.cluster.threads import in_batches, in_order
from lesionlab.data.images import ImageError, read_image
from lesionlab.errors import UsageError
from lesionlab.inference.given_images import as_file, as_sources
from lesionlab.inference.image_sources import Source
from lesionlab.inference.predictions import Unreadable

BATCH_SIZE = 4  # stays in a core's cache: 8 is slower, and takes 1.6 times the memory

Result = TypeVar("Result")
Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class Frame(Protocol):
    """The size in px, and the crop, that images are read in: facts of a model, or of an encoder."""

    @property
    def height(self) -> int:
        """Of the input, in px."""

    @property
    def width(self) -> int:
        """Of the input, in px."""

    @property
    def crop(self) -> str:
        """As in `lesionlab.data.images.read_image`."""


def stream_batches(
    answer: Callable[[list[Source]], list[Result]], images: Any, *, batch_size: int, workers: int | None = None
) -> Iterator[Result]:
    """Have batches of images answered on several threads; give the answers one by one, in the order of the images.

    Args:
        answer: gives a result for each image of a batch; called from several threads.
        images: as in `lesionlab.inference.model.Model.predict`; an iterable is read as far as needed and no further.
        batch_size: images of a batch.
        workers: threads; by default one for each core, at most 8.

    Raises:
        UsageError: a number that is no count, or nothing that can be read as images.

    """
    if not isinstance(batch_size, int | np.integer):
        raise UsageError(f"batch_size must be a whole number of at least 1, not {batch_size!r}.")
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, not {batch_size}.")
    if workers is not None and not (isinstance(workers, int) and workers >= 1):
        raise UsageError(f"workers must be a whole number of at least 1, not {workers!r}.")
    return _one_by_one(in_order(answer, in_batches(as_sources(images), batch_size), workers=workers))


def _one_by_one(results: Generator[list[Result], None, None]) -> Iterator[Result]:
    with closing(results):  # with the caller's own end: threads do not outlive it
        for batch in results:
            yield from batch


def answer_batch(
    batch: Sequence[Source], frame: Frame, run: Run, word: Callable[[Source, Mapping[str, np.ndarray]], Result]
) -> list[Result | Unreadable]:
    """Decode one batch and run it, in the thread that calls.

    Args:
        batch: the images.
        frame: the size to read them in.
        run: from uint8 (b, height, width, 3) to outputs by name, a row an image.
        word: makes a result of an image and its row of each output.

    """
    decoded = [_read(source, frame) for source in batch]
    pixels = [item for item in decoded if isinstance(item, np.ndarray)]
    found = run(np.stack(pixels)) if pixels else {}
    rows = iter(range(len(pixels)))
    results: list[Result | Unreadable] = []
    for source, item in zip(batch, decoded, strict=True):
        if isinstance(item, ImageError):
            results.append(Unreadable(source.image, source.where, item.reason, item.code))
        else:
            row = next(rows)
            results.append(word(source, {name: values[row] for name, values in found.items()}))
    return results


def _read(source: Source, frame: Frame) -> np.ndarray | ImageError:
    try:
        given = source.given if isinstance(source.given, Path | bytes) else as_file(source.given)
        return read_image(given, frame.height, frame.width, frame.crop)
    except ImageError as error:
        return error
