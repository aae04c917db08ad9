"""How a model's predictions change when its images do: corruptions, flips and turns, drawn marks, covered lesions.

In: a function from pixels to probabilities, and labelled images of one part. Out: a `Robustness`. One
image of each lesion is taken, read once, at the model's size, and changed there in 93 ways. Of a large part so many lesions are
taken that each diagnosis has as equal a number as there is; shares over all diagnoses are weighted back to the part's own mix.
Balanced accuracy needs no weights.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019,
arXiv:1903.12261: their relative error, the error under corruption less the clean one, is `rise` here, of the balanced error.
They divide it by AlexNet's; here nothing is divided, as there is no such reference for these images. Covering the lesion
follows Bissoto et al., "(De)Constructing Bias on Skin Lesion Datasets", CVPR Workshops 2019, arXiv:1904.08818.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlab.environment import n_cores
from lesionlab.evaluation.corruptions import CORRUPTIONS, MARKS, SEVERITIES, corrupt, disc
from lesionlab.evaluation.intervals import RESAMPLES, percentile_interval
from lesionlab.evaluation.metrics_file import (
    CorruptionFigures,
    Robustness,
    RobustnessMean,
    RobustnessOverall,
    RobustnessRow,
)
from lesionlab.evaluation.tasks import malignant_columns
from lesionlab.evaluation.values import Figure
from lesionlab.progress import track
from lesionlab.taxonomy import Taxonomy

# uint8 pixels (b, height, width, 3) to probabilities (b, k), and scores (b,) of `lesionlab.evaluation.ood` where a model has them
Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]

LESIONS = 200  # of which the predictions are taken; 18,800 passes through the network
COVERED = (0.1, 0.3, 0.5, 0.7, 0.9)  # areas of the disc, or of all but it, over the image's; see `covered`
SYMMETRIES = (
    "mirrored",
    *(f"turned {angle}" + mirrored for angle in (90, 180, 270) for mirrored in ("", ", mirrored")),
)
_MARK_SEVERITY = 3
_BATCH = 8


@dataclass(frozen=True)
class ImageChange:
    """One way to change an image: `kind` of the table that it stands in, `name`, `level` (a severity, or one of `COVERED`)."""

    kind: str
    name: str
    level: float
    apply: Callable[[np.ndarray, int], np.ndarray]


def changes(is_square: bool = True) -> list[ImageChange]:
    """Every change that is measured, the unchanged image first; images that are no squares are not turned by quarters."""

    def corruption(name: str, severity: int) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda pixels, seed: corrupt(pixels, name, severity, seed)

    def cover(share: float, is_centre: bool) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda pixels, seed: covered(pixels, share, is_centre)

    severities, symmetries = range(1, SEVERITIES + 1), range(1, 8) if is_square else (1, 4, 5)
    return [
        ImageChange("none", "", 0, lambda pixels, seed: pixels),
        *(ImageChange("corruption", name, s, corruption(name, s)) for name in CORRUPTIONS for s in severities),
        *(ImageChange("symmetry", SYMMETRIES[n - 1], n, _symmetry(n)) for n in symmetries),
        ImageChange("mark", "scale bar", _MARK_SEVERITY, corruption("scale bar", _MARK_SEVERITY)),
        *(ImageChange("covered", "centre", share, cover(share, True)) for share in COVERED),
        *(ImageChange("covered", "border", share, cover(share, False)) for share in COVERED),
    ]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one part, not read yet.

    Attributes:
        names: of the n images; what is random is drawn from them and the seed.
        labels: integers (n,), places in `taxonomy`.
        lesions: (n,) lesion ids; one image of each is taken, so that intervals count lesions.
        taxonomy: the k diagnoses.
        read: gives the pixels of an image by its number: uint8 (height, width, 3) of the model's size.

    """

    names: Sequence[str]
    labels: np.ndarray
    lesions: np.ndarray
    taxonomy: Taxonomy
    read: Callable[[int], np.ndarray]


def robustness(
    predict: Predict,
    images: LabelledImages,
    *,
    threshold: float = 0.5,
    reject_above: float | None = None,
    seed: int,
    most: int | None = LESIONS,
) -> Robustness:
    """Take the figures of a model.

    Args:
        predict: the model; called from several threads.
        images: of one part.
        threshold: malignant from this probability on.
        reject_above: score from which the model rejects an image as not dermatoscopic; None where it has no such score.
        seed: of what is drawn, and of which lesions are taken.
        most: so many lesions at most; None for every one.

    Returns:
        `images` (one a lesion) and `images_in_all`, `counts` by diagnosis, `threshold`; `clean`, a row; `corruptions`: for each
        its `severities` (a row each) and their mean; `mean` over these; `marks`, `symmetries` and `covered`: rows; `consistent`:
        share of images with one prediction in all symmetries. `mean` has `rise_interval` and `changed_interval` too, 95 %, by
        bootstrap over the lesions of each diagnosis. A row has `balanced_accuracy`, `relative` (over the clean one), `rise` (of
        the balanced error), `changed` (share of predictions that are another diagnosis), `sensitivity` and `specificity` of
        malignant at the threshold, `specificity_drop`, and `rejected` as not dermatoscopic; None where it is not defined.

    """
    taken = chosen_images(images.labels, images.lesions, most, seed)
    kept, weights = images.labels[taken], _weights(images.labels, images.labels[taken])
    seeds = [zlib.crc32(f"{seed} {images.names[number]}".encode()) for number in taken]
    found = _predictions(predict, [images.read(int(number)) for number in taken], seeds)
    clean = found[0][1][0]
    measured = _Measured(kept, weights, malignant_columns(images.taxonomy), threshold, reject_above, clean)
    rows = [
        RobustnessRow(kind=change.kind, name=change.name, level=change.level, **measured.figures(*outputs))
        for change, outputs in found
    ]
    corruptions = []
    for name in CORRUPTIONS:
        severities = [row for row in rows if row.name == name]
        corruptions.append(CorruptionFigures(name=name, severities=severities, **_mean(severities)))
    predicted = np.stack(
        [outputs[0].argmax(axis=1) for change, outputs in found if change.kind in ("none", "symmetry")]
    )
    return Robustness(
        images=len(taken),
        images_in_all=len(images.labels),
        counts={dx: int((kept == index).sum()) for index, dx in enumerate(images.taxonomy.dx)},
        threshold=threshold,
        clean=rows[0],
        corruptions=corruptions,
        mean=RobustnessOverall(**_mean(corruptions), **_intervals(kept, weights, found, seed)),
        marks=[row for row in rows if row.name in MARKS and row.level == _MARK_SEVERITY],
        symmetries=[row for row in rows if row.kind == "symmetry"],
        consistent=float(weights @ (predicted == predicted[0]).all(axis=0)),
        covered=[row for row in rows if row.kind == "covered"],
    )


def chosen_images(labels: np.ndarray, lesions: np.ndarray, most: int | None, seed: int) -> np.ndarray:
    """Choose one image of each of `most` lesions, of each diagnosis as nearly as many as of the others: sorted numbers.

    One image of every lesion is taken where there are no more than `most`, or `most` is None.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    _, first = np.unique(lesions[order], return_index=True)
    candidates = order[np.sort(first)]  # one image of each lesion, in random order
    if most is None or len(candidates) <= most:
        return np.sort(candidates)
    place = np.empty(len(candidates), int)
    for index in np.unique(labels):
        of_class = labels[candidates] == index
        place[of_class] = np.arange(of_class.sum())
    return np.sort(candidates[np.argsort(place, kind="stable")[:most]])


def covered(pixels: np.ndarray, share: float, is_centre: bool) -> np.ndarray:
    """Cover a share of an image's area, a central disc or all around one, with the median colour of the image's edge.

    The image's edges cut a disc of 0.9: at that share 0.864 of the image is covered, and all around it, at 0.1, 0.136.
    """
    hidden = disc(pixels.shape, share) if is_centre else ~disc(pixels.shape, 1 - share)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return np.where(hidden[..., None], np.median(edge, axis=0).astype(np.uint8), pixels)


def _symmetry(number: int) -> Callable[[np.ndarray, int], np.ndarray]:
    turns, is_mirrored = divmod(number, 2)

    def apply(pixels: np.ndarray, seed: int) -> np.ndarray:
        turned = np.rot90(pixels, turns)
        return turned[:, ::-1] if is_mirrored else turned

    return apply


def _weights(whole: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Weights of the images kept that restore the mix of diagnoses of the whole part; they sum to 1."""
    counts = np.bincount(kept, minlength=whole.max() + 1)
    shares = np.bincount(whole) / np.maximum(counts, 1)
    return shares[kept] / shares[kept].sum()


def _predictions(
    predict: Predict, pixels: list[np.ndarray], seeds: list[int]
) -> list[tuple[ImageChange, tuple[np.ndarray, np.ndarray | None]]]:
    """Give for every change the probabilities (n, k), and where the model has them the scores of `lesionlab.evaluation.ood`."""
    height, width = pixels[0].shape[:2]
    every = changes(height == width)
    batches = [range(start, min(start + _BATCH, len(pixels))) for start in range(0, len(pixels), _BATCH)]

    def run(batch: range) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for change in every:
            yield predict(np.stack([change.apply(pixels[number], seeds[number]) for number in batch]))

    with ThreadPoolExecutor(min(_BATCH, n_cores()), thread_name_prefix="robustness") as pool:
        parts = list(track(pool.map(lambda batch: list(run(batch)), batches), "robustness", total=len(batches)))
    found = []
    for place, change in enumerate(every):
        probabilities = np.concatenate([part[place][0] for part in parts])
        scores = [score for part in parts if (score := part[place][1]) is not None]
        found.append((change, (probabilities, np.concatenate(scores) if scores else None)))
    return found


@dataclass(frozen=True)
class _Measured:
    """Takes the figures of changed predictions beside those of the images as they are, `clean` (n, k)."""

    labels: np.ndarray
    weights: np.ndarray
    malignant: np.ndarray | None
    threshold: float
    reject_above: float | None
    clean: np.ndarray

    def figures(self, probabilities: np.ndarray, score: np.ndarray | None) -> dict[str, Figure]:
        """Take the figures of one change; see `robustness`."""
        predicted, before = probabilities.argmax(axis=1), self.clean.argmax(axis=1)
        accuracy, unchanged = _balanced_accuracy(self.labels, predicted), _balanced_accuracy(self.labels, before)
        sensitivity, specificity = self._malignant(probabilities)
        _, at_first = self._malignant(self.clean)
        rejects = None if score is None or self.reject_above is None else score > self.reject_above
        return {
            "balanced_accuracy": accuracy,
            "relative": accuracy / unchanged if unchanged else None,
            "rise": unchanged - accuracy,
            "changed": float(self.weights @ (predicted != before)),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "specificity_drop": None if at_first is None or specificity is None else at_first - specificity,
            "rejected": None if rejects is None else float(self.weights @ rejects),
        }

    def _malignant(self, probabilities: np.ndarray) -> tuple[float | None, float | None]:
        """Sensitivity and specificity of malignant at the threshold; None where it is not defined."""
        if self.malignant is None:
            return None, None
        is_malignant = np.isin(self.labels, self.malignant)
        called = probabilities[:, self.malignant].sum(axis=1) >= self.threshold
        return self._share(called, is_malignant, wanted=True), self._share(called, ~is_malignant, wanted=False)

    def _share(self, called: np.ndarray, among: np.ndarray, *, wanted: bool) -> float | None:
        weight = self.weights[among]
        return float(weight @ (called[among] == wanted) / weight.sum()) if len(weight) else None


def _balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.mean([(predicted[labels == index] == index).mean() for index in np.unique(labels)]))


def _mean(rows: Sequence[RobustnessMean]) -> dict[str, Any]:
    columns = {name: [getattr(row, name) for row in rows] for name in RobustnessMean.__struct_fields__}
    return {name: None if None in values else float(np.mean(values)) for name, values in columns.items()}


def _intervals(
    labels: np.ndarray, weights: np.ndarray, found: list[tuple[ImageChange, Any]], seed: int
) -> dict[str, Any]:
    """Draw the images of each diagnosis anew and take the mean rise and the mean share changed of every draw."""
    predicted = np.stack(
        [outputs[0].argmax(axis=1) for change, outputs in found if change.kind in ("none", "corruption")]
    )
    changed, lost = (
        (predicted[1:] != predicted[0]).mean(axis=0),
        (predicted[0] == labels) - (predicted[1:] == labels).mean(axis=0),
    )
    rng = np.random.default_rng(seed)
    share, rises = np.zeros(RESAMPLES), []
    for index in np.unique(labels):
        rows = np.flatnonzero(labels == index)
        drawn = rng.integers(len(rows), size=(RESAMPLES, len(rows)))
        share += weights[rows].sum() * changed[rows][drawn].mean(axis=1)
        rises.append(lost[rows][drawn].mean(axis=1))
    return {
        "rise_interval": percentile_interval(np.mean(rises, axis=0)),
        "changed_interval": percentile_interval(share),
    }
