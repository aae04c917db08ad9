"""How little an image is like the dermatoscopic images that a network was trained on: NumPy alone.

Four looks are taken at an image: the network's `features`, which tell diagnoses apart; `middle`, mean and spread of each
channel of a layer half-way, which tell pictures apart; a thumbnail (where which colour is); and its texture (how sharp and how
busy it is). Of each a Gaussian is fitted to training images: its leading principal axes, and one variance for all others, so
that a covariance of 1,024 features needs no megabytes. The squared Mahalanobis distances (Lee et al., "A simple unified
framework for detecting out-of-distribution samples", NeurIPS 2018; the rest as in probabilistic PCA, Tipping and Bishop, J. R.
Stat. Soc. B 61, 1999) are standardised in the logarithm on validation images that the Gaussians have not seen. The score is the
root of the sum of squares of what lies above the ordinary (softplus): one strange look is enough.

The last layer alone has learnt to look past all that is no diagnosis; the middle one alone knows no diagnosis from another:
`docs/scorecard-images.md` has the comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CELLS = 12  # of the thumbnail, a side
AXES = {"features": 64, "middle": 64, "thumbnail": 32, "texture": 3}
REFUSED = 0.02  # of validation images; at most 5 % of other dermatoscopic images are to be
LEAST_IMAGES = 50  # to choose the threshold on
TEXTURE_FLOOR = 1e-3
SPREAD_FLOOR = 1e-3
DISTANCE_FLOOR = 1e-6
_RIDGE = 1e-3  # of the mean variance


@dataclass(frozen=True)
class Descriptor:
    """A Gaussian of one look at an image, and how far training-like images lie from it.

    Attributes:
        mean: float32 (d,).
        axes: float32 (d, k), orthonormal within 16 bits: the leading principal axes.
        precision: float32 (k,), of the coordinates along them.
        rest_precision: of every other direction; 0 where there is none.
        log_mean: of the logarithm of the squared distance, on reference images; `log_std` its standard deviation.

    """

    mean: np.ndarray
    axes: np.ndarray
    precision: np.ndarray
    rest_precision: float
    log_mean: float = 0.0
    log_std: float = 1.0


@dataclass(frozen=True)
class OodScore:
    """The looks by name, in `AXES`'s order; above `threshold` lies `refused_share` of the `images` it was chosen on."""

    looks: Mapping[str, Descriptor]
    threshold: float
    refused_share: float
    images: int


def see_image(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Take the looks that need no network.

    Args:
        pixels: uint8 (n, height, width, 3), RGB, as the network takes them.

    Returns:
        `thumbnail`: float32 (n, rows * columns * 3), means of cells, 0 to 1; `texture`: float32 (n, 3), logarithms of the
        mean step in grey downwards and to the right, and of the mean standard deviation within a cell.

    """
    parts = [_see_block(pixels[at : at + 64]) for at in range(0, len(pixels), 64)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def fit_ood_score(
    training: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], origin: np.ndarray | None = None
) -> OodScore:
    """Fit Gaussians to training images, and choose the threshold on reference images that they have not seen.

    Args:
        training: looks at training images, float (n, d) each, by a name in `AXES`.
        reference: the same looks at other dermatoscopic images, (m, d) each.
        origin: integers (m,), which data set each of these is from. The threshold then rejects at most `REFUSED` of each
            that has `LEAST_IMAGES` or more: the small set beside a large one is not rejected for being different.

    """
    looks = {}
    for name in AXES:
        if name in training:
            looks[name] = _standardised(_fit(training[name], AXES[name]), reference[name])
    scores = _score(looks, reference)
    sets = [] if origin is None else [scores[origin == one] for one in np.unique(origin)]
    sets = [scores, *(one for one in sets if len(one) >= LEAST_IMAGES)]
    threshold = max(float(np.quantile(one, 1 - REFUSED, method="higher")) for one in sets)
    return OodScore(looks, threshold, float((scores > threshold).mean()), len(scores))


def ood_scores(model: OodScore, seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """Score images by their looks (n, d): float (n,), 0 or more, higher for what is less like a dermatoscopic image."""
    return _score(model.looks, seen)


def cell_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a thumbnail's cell in pixels; what is left over at the lower and right edge is not looked at."""
    return max(1, height // CELLS), max(1, width // CELLS)


def _see_block(pixels: np.ndarray) -> dict[str, np.ndarray]:
    image = pixels.astype(np.float32) / 255
    n, height, width, _ = image.shape
    high, wide = cell_size(height, width)
    rows, columns = height // high, width // wide
    cells = image[:, : rows * high, : columns * wide].reshape(n, rows, high, columns, wide, 3)
    means, squares = cells.mean(axis=(2, 4)), (cells**2).mean(axis=(2, 4))  # (n, rows, columns, 3)
    spread = np.sqrt(np.maximum(squares - means**2, 0)).mean(axis=(1, 2, 3))
    grey = image.mean(axis=3)
    steps = [np.abs(np.diff(grey, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2)]
    texture = np.log(np.stack([*steps, spread], axis=1) + TEXTURE_FLOOR)
    return {"thumbnail": means.reshape(n, -1), "texture": texture.astype(np.float32)}


def _fit(values: np.ndarray, most_axes: int) -> Descriptor:
    values = values.astype(np.float64)
    mean = values.mean(axis=0)
    covariance = np.cov(values, rowvar=False, bias=True)
    variances, axes = np.linalg.eigh(covariance)  # ascending
    variances, axes = np.maximum(variances[::-1], 0), axes[:, ::-1]
    k = min(most_axes, values.shape[1], max(1, len(values) // 4))
    ridge = _RIDGE * variances.mean() + 1e-12
    rest = variances[k:].mean() + ridge if k < len(variances) else np.inf
    rounded = axes[:, :k].astype(np.float16).astype(np.float32)  # stored in 16 bits
    return Descriptor(
        mean.astype(np.float32), rounded, (1 / (variances[:k] + ridge)).astype(np.float32), float(1 / rest)
    )


def _standardised(look: Descriptor, reference: np.ndarray) -> Descriptor:
    logarithms = np.log(_squared_distance(look, reference) + DISTANCE_FLOOR)
    return Descriptor(
        look.mean,
        look.axes,
        look.precision,
        look.rest_precision,
        float(logarithms.mean()),
        float(max(logarithms.std(), 1e-3)),
    )


def _squared_distance(look: Descriptor, values: np.ndarray) -> np.ndarray:
    centred = values - look.mean
    along = centred @ look.axes  # (n, k)
    rest = centred - along @ look.axes.T
    return (along**2 * look.precision).sum(axis=1) + look.rest_precision * (rest**2).sum(axis=1)


def _score(looks: Mapping[str, Descriptor], seen: Mapping[str, np.ndarray]) -> np.ndarray:
    above = []
    for name, look in looks.items():
        distance = np.log(_squared_distance(look, seen[name]) + DISTANCE_FLOOR)
        above.append(np.logaddexp(0, (distance - look.log_mean) / look.log_std))  # softplus
    return np.sqrt(np.sum(np.square(above), axis=0))
