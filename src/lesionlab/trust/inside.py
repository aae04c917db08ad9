"""What a model makes of images inside: its features and where it looks, taken in the same pass as its probabilities.

In: an open bundle and a way to read each image. Out: arrays, a row an image. Networks that do not end in a global average
have neither features nor activation maps.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lesionlab.bundle import Bundle
from lesionlab.diagnosis import DX
from lesionlab.environment import n_cores
from lesionlab.progress import track

_BATCH = 8
_MOST_WORKERS = 8


@dataclass(frozen=True)
class Seen:
    """What a model makes of n images; NaN in the rows of images that could not be read.

    Attributes:
        probabilities: float64 (n, 7), rows sum to 1.
        features: float32 (n, channels), after the global average; None where the network has none.
        maps: float32 (n, grid height, grid width, 7), class activation maps; None where the network has none.
        frame: height and width in px, and crop, of the input that the maps cover.

    """

    probabilities: np.ndarray
    features: np.ndarray | None = None
    maps: np.ndarray | None = None
    frame: tuple[int, int, str] = (1, 1, "centre")

    def take(self, chosen: np.ndarray) -> "Seen":
        """Take some of the images: bool or integers (m,)."""
        features, maps = (None if values is None else values[chosen] for values in (self.features, self.maps))
        return Seen(self.probabilities[chosen], features, maps, self.frame)


def see(bundle: Bundle, number: int, read: Callable[[int], np.ndarray | None]) -> Seen:
    """Run a model on images and keep what it makes of them.

    Args:
        bundle: an open model.
        number: of images.
        read: gives the pixels of an image by its number, uint8 (height, width, 3) of the bundle's size, or None where it
            cannot be read; called from several threads.

    Raises:
        LesionlabError: as of `Bundle.run`.

    """
    there = {output.name for output in bundle.session.get_outputs()}
    outputs = [name for name in ("probabilities", "features", "activation_maps") if name in there]
    batches = [range(start, min(start + _BATCH, number)) for start in range(0, number, _BATCH)]
    found: list[list[np.ndarray | None]] = []
    with ThreadPoolExecutor(min(_MOST_WORKERS, n_cores()), thread_name_prefix="see") as pool:
        under_way: deque[Future[list[np.ndarray | None]]] = deque()
        for batch in track(batches, "predicting"):
            under_way.append(pool.submit(_see_batch, bundle, outputs, batch, read))
            if len(under_way) > 2 * _MOST_WORKERS:
                found.append(under_way.popleft().result())
        found += [future.result() for future in under_way]
    columns = {name: _joined([part[index] for part in found], found) for index, name in enumerate(outputs)}
    probabilities = columns["probabilities"]
    if probabilities is None:  # not one image could be read
        return Seen(np.full((number, len(DX)), np.nan))
    facts = bundle.facts
    frame = (facts.height, facts.width, facts.crop)
    return Seen(probabilities, columns.get("features"), columns.get("activation_maps"), frame)


def _see_batch(
    bundle: Bundle, outputs: list[str], batch: range, read: Callable[[int], np.ndarray | None]
) -> list[np.ndarray | None]:
    """Run one batch: an array for each output, with rows of NaN for unreadable images, None if all are; last, which are there."""
    images = [read(number) for number in batch]
    is_there = np.array([image is not None for image in images])
    if not is_there.any():
        return [*[None] * len(outputs), is_there]
    answers = bundle.run(outputs, np.stack([image for image in images if image is not None]))
    rows: list[np.ndarray | None] = []
    for answer in answers.values():
        row = np.full((len(images), *answer.shape[1:]), np.nan, answer.dtype)
        row[is_there] = answer
        rows.append(row)
    return [*rows, is_there]


def _joined(parts: list[np.ndarray | None], found: list[list[np.ndarray | None]]) -> np.ndarray | None:
    shape = next((part.shape[1:] for part in parts if part is not None), None)
    if shape is None:
        return None
    filled = []
    for part, row in zip(parts, found, strict=True):
        size = len(row[-1]) if row[-1] is not None else 0
        filled.append(part if part is not None else np.full((size, *shape), np.nan, np.float32))
    return np.concatenate(filled)
