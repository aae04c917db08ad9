"""What a model makes of images inside: its features and where it looks, taken in the same pass as its probabilities.

In: an open bundle and a way to read each image. Out: arrays, a row an image. Networks that do not end in a global average
have neither features nor activation maps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lesionlab.cluster.threads import in_batches, in_order
from lesionlab.inference.batches import BATCH_SIZE
from lesionlab.inference.bundle import Bundle
from lesionlab.progress import track

_OUTPUTS = {"probabilities": np.float64, "features": np.float32, "activation_maps": np.float32, "ood_score": np.float64}


@dataclass(frozen=True)
class ModelOutputs:
    """What a model makes of n images; NaN in the rows of images that could not be read.

    Attributes:
        probabilities: float64 (n, k), rows sum to 1, or nearly where a table has rounded them.
        features: float32 (n, channels), after the global average; None where the network has none.
        maps: float32 (n, grid height, grid width, k), class activation maps; None where the network has none.
        is_rejected: bool (n,), what `predict` calls not dermatoscopic; None where the model has no score of it.
        ood_scores: float64 (n,), by which it does so; None likewise.
        frame: height and width in px, and crop, of the input that the maps cover.

    """

    probabilities: np.ndarray
    features: np.ndarray | None = None
    maps: np.ndarray | None = None
    frame: tuple[int, int, str] = (1, 1, "centre")
    is_rejected: np.ndarray | None = None
    ood_scores: np.ndarray | None = None

    def take(self, chosen: np.ndarray) -> "ModelOutputs":
        """Take some of the images: bool or integers (m,)."""
        features, maps, is_rejected, ood_scores = (
            None if values is None else values[chosen]
            for values in (self.features, self.maps, self.is_rejected, self.ood_scores)
        )
        return ModelOutputs(self.probabilities[chosen], features, maps, self.frame, is_rejected, ood_scores)


def see(
    bundle: Bundle, number: int, read: Callable[[int], np.ndarray | None], *, has_maps: bool = True
) -> ModelOutputs:
    """Run a model on images and keep what it makes of them.

    Args:
        bundle: an open model.
        number: of images.
        read: gives the pixels of an image by its number, uint8 (height, width, 3) of the bundle's size, or None where it
            cannot be read; called from several threads.
        has_maps: whether to keep the activation maps, which are the most of it.

    Raises:
        LesionlabError: as of `Bundle.run`.

    """
    wanted = _OUTPUTS.keys() if has_maps else _OUTPUTS.keys() - {"activation_maps"}
    shapes = {output.name: output.shape[1:] for output in bundle.session.get_outputs() if output.name in wanted}
    made = {name: np.full((number, *shape), np.nan, _OUTPUTS[name]) for name, shape in shapes.items()}

    def run(rows: list[int]) -> None:
        pixels = {row: read(row) for row in rows}
        images = {row: image for row, image in pixels.items() if image is not None}
        if images:
            for name, values in bundle.run(list(shapes), np.stack(list(images.values()))).items():
                made[name][list(images)] = values

    batches = in_order(run, in_batches(range(number), BATCH_SIZE))
    for _ in track(batches, "predicting", total=-(-number // BATCH_SIZE)):
        pass
    frame = (bundle.facts.height, bundle.facts.width, bundle.facts.crop)
    ood = bundle.facts.ood
    scores = made["ood_score"] if ood and bundle.has_ood_score else None
    is_rejected = scores > ood.threshold if ood and scores is not None else None
    maps = made.get("activation_maps")
    return ModelOutputs(made["probabilities"], made.get("features"), maps, frame, is_rejected, scores)
