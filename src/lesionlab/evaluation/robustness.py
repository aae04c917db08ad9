"""How a model's answers change when its images do: corruptions, flips and turns, drawn marks, and what lies around the lesion.

In: a model file and labelled images of one part. Out: plain numbers for metrics.json. One image of each lesion is taken,
read once, at the model's size, and changed there in 93 ways. Of a large part so many lesions are taken that each diagnosis
has as equal a number as there is; shares over all diagnoses are weighted back to the part's own mix. Balanced accuracy
needs no weights.

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
from lesionlab.inference.bundle import Bundle
from lesionlab.progress import track
from lesionlab.taxonomy import DX, IS_MALIGNANT

LESIONS = 200  # of which the answers are taken; 18,800 passes through the network
COVERED = (0.1, 0.3, 0.5, 0.7, 0.9)  # areas of the disc, or of all but it, over the image's; see `covered`
SYMMETRIES = (
    "mirrored",
    *(f"turned {angle}" + mirrored for angle in (90, 180, 270) for mirrored in ("", ", mirrored")),
)
_MARK_SEVERITY = 3
_BATCH = 8
_IS_MALIGNANT = np.array(IS_MALIGNANT)


@dataclass(frozen=True)
class Change:
    """One way to change an image: `kind` of the table that it stands in, `name`, `level` (a severity, or one of `COVERED`)."""

    kind: str
    name: str
    level: float
    apply: Callable[[np.ndarray, int], np.ndarray]


def changes(is_square: bool = True) -> list[Change]:
    """Every change that is measured, the unchanged image first; images that are no squares are not turned by quarters."""

    def corruption(name: str, severity: int) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda pixels, seed: corrupt(pixels, name, severity, seed)

    def cover(share: float, is_centre: bool) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda pixels, seed: covered(pixels, share, is_centre)

    severities = range(1, SEVERITIES + 1)
    return [
        Change("none", "", 0, lambda pixels, seed: pixels),
        *(Change("corruption", name, s, corruption(name, s)) for name in CORRUPTIONS for s in severities),
        *(Change("symmetry", SYMMETRIES[n - 1], n, _symmetry(n)) for n in range(1, 8) if is_square or n in (1, 4, 5)),
        Change("mark", "scale bar", _MARK_SEVERITY, corruption("scale bar", _MARK_SEVERITY)),
        *(Change("covered", "centre", share, cover(share, True)) for share in COVERED),
        *(Change("covered", "border", share, cover(share, False)) for share in COVERED),
    ]


def robustness(
    bundle: Bundle, images: Sequence[str], labels: np.ndarray, lesions: np.ndarray, read: Callable[[int], np.ndarray],
    *, seed: int, most: int | None = LESIONS,
) -> dict[str, Any]:  # fmt: skip
    """Take the figures of a model.

    Args:
        bundle: an open model.
        images: names of the n images; what is random is drawn from them and the seed.
        labels: integers (n,) in `DX` order.
        lesions: (n,) lesion ids; one image of each is taken, so that intervals count lesions.
        read: gives the pixels of an image by its number: uint8 (height, width, 3) of the model's size.
        seed: of what is drawn, and of which lesions are taken.
        most: so many lesions at most; None for every one.

    Returns:
        `images` (one a lesion) and `images_in_all`, `counts` by diagnosis, `line` (malignant from this probability on);
        `clean`, a row; `corruptions`: for each its `severities` (a row each) and their mean; `mean` over these; `marks`,
        `symmetries` and `covered`: rows; `consistent`: share of images with one answer to all symmetries. `mean` has
        `rise_interval` and `changed_interval` too, 95 %, by bootstrap over the lesions of each diagnosis. A row has
        `balanced_accuracy`, `relative` (over the clean one), `rise` (of the balanced error), `changed` (share of answers
        that are another diagnosis), `sensitivity` and `specificity` of malignant at the model's line, `specificity_drop`, and
        `refused` as not dermatoscopic; None where it is not defined.

    """
    taken = chosen_images(labels, lesions, most, seed)
    kept, weights = labels[taken], _weights(labels, labels[taken])
    own, ood = bundle.facts.thresholds.malignant, bundle.facts.ood
    line = 0.5 if own is None else own
    seeds = [zlib.crc32(f"{seed} {images[number]}".encode()) for number in taken]
    found = _answers(bundle, [read(int(number)) for number in taken], seeds)
    judge = _Judge(kept, weights, line, ood.threshold if ood else None, found[0][1][0])
    rows = [
        {"kind": change.kind, "name": change.name, "level": change.level} | judge.row(*answer)
        for change, answer in found
    ]
    corruptions = [_over_severities(name, [row for row in rows if row["name"] == name]) for name in CORRUPTIONS]
    answers = np.stack([answer[0].argmax(axis=1) for change, answer in found if change.kind in ("none", "symmetry")])
    return {
        "images": len(taken),
        "images_in_all": len(labels),
        "counts": {dx: int((kept == index).sum()) for index, dx in enumerate(DX)},
        "line": line,
        "clean": rows[0],
        "corruptions": corruptions,
        "mean": _mean(corruptions) | _intervals(kept, weights, found, seed),
        "marks": [row for row in rows if row["name"] in MARKS and row["level"] == _MARK_SEVERITY],
        "symmetries": [row for row in rows if row["kind"] == "symmetry"],
        "consistent": float(weights @ (answers == answers[0]).all(axis=0)),
        "covered": [row for row in rows if row["kind"] == "covered"],
    }


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
    for index in range(len(DX)):
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
    counts = np.bincount(kept, minlength=len(DX))
    shares = np.bincount(whole, minlength=len(DX)) / np.maximum(counts, 1)
    return shares[kept] / shares[kept].sum()


def _answers(
    bundle: Bundle, pixels: list[np.ndarray], seeds: list[int]
) -> list[tuple[Change, tuple[np.ndarray, np.ndarray | None]]]:
    """Give for every change the probabilities (n, 7), and where the model has them the scores of `lesionlab.evaluation.ood`."""
    outputs = ["probabilities", *(["ood_score"] if bundle.has_ood_score else [])]
    every = changes(bundle.facts.height == bundle.facts.width)
    batches = [range(start, min(start + _BATCH, len(pixels))) for start in range(0, len(pixels), _BATCH)]

    def run(batch: range) -> Iterator[list[np.ndarray]]:
        for change in every:
            changed = np.stack([change.apply(pixels[number], seeds[number]) for number in batch])
            yield list(bundle.run(outputs, changed).values())

    with ThreadPoolExecutor(min(_BATCH, n_cores()), thread_name_prefix="robustness") as pool:
        parts = list(track(pool.map(lambda batch: list(run(batch)), batches), "robustness", total=len(batches)))
    found = []
    for place, change in enumerate(every):
        columns = [np.concatenate([part[place][index] for part in parts]) for index in range(len(outputs))]
        found.append((change, (columns[0], columns[1] if len(columns) > 1 else None)))
    return found


@dataclass(frozen=True)
class _Judge:
    """Takes the figures of changed answers beside those to the images as they are, `clean` (n, 7)."""

    labels: np.ndarray
    weights: np.ndarray
    line: float
    refusal: float | None
    clean: np.ndarray

    def row(self, probabilities: np.ndarray, score: np.ndarray | None) -> dict[str, float | None]:
        """Take the figures of one change; see `robustness`."""
        answers, before = probabilities.argmax(axis=1), self.clean.argmax(axis=1)
        accuracy, unchanged = _balanced_accuracy(self.labels, answers), _balanced_accuracy(self.labels, before)
        is_benign, called = ~_IS_MALIGNANT[self.labels], self._is_called(probabilities)
        specificity = self._share(called, is_benign, wanted=False)
        at_first = self._share(self._is_called(self.clean), is_benign, wanted=False)
        return {
            "balanced_accuracy": accuracy,
            "relative": accuracy / unchanged if unchanged else None,
            "rise": unchanged - accuracy,
            "changed": float(self.weights @ (answers != before)),
            "sensitivity": self._share(called, _IS_MALIGNANT[self.labels], wanted=True),
            "specificity": specificity,
            "specificity_drop": None if at_first is None or specificity is None else at_first - specificity,
            "refused": None if score is None or self.refusal is None else float(self.weights @ (score > self.refusal)),
        }

    def _is_called(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities[:, _IS_MALIGNANT].sum(axis=1) >= self.line

    def _share(self, called: np.ndarray, among: np.ndarray, *, wanted: bool) -> float | None:
        weight = self.weights[among]
        return float(weight @ (called[among] == wanted) / weight.sum()) if len(weight) else None


def _balanced_accuracy(labels: np.ndarray, answers: np.ndarray) -> float:
    return float(np.mean([(answers[labels == index] == index).mean() for index in np.unique(labels)]))


_FIGURES = (
    "balanced_accuracy",
    "relative",
    "rise",
    "changed",
    "sensitivity",
    "specificity",
    "specificity_drop",
    "refused",
)


def _mean(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    columns = {name: [row[name] for row in rows] for name in _FIGURES}
    return {name: None if None in values else float(np.mean(values)) for name, values in columns.items()}


def _over_severities(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "severities": rows} | _mean(rows)


def _intervals(labels: np.ndarray, weights: np.ndarray, found: list[tuple[Change, Any]], seed: int) -> dict[str, Any]:
    """Draw the images of each diagnosis anew and take the mean rise and the mean share changed of every draw."""
    answers = np.stack([answer[0].argmax(axis=1) for change, answer in found if change.kind in ("none", "corruption")])
    changed, lost = (
        (answers[1:] != answers[0]).mean(axis=0),
        (answers[0] == labels) - (answers[1:] == labels).mean(axis=0),
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
