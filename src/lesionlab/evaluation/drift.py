"""Whether images of one folder come from where those of another come: features, predictions and the look of the pictures.

In: what a model makes of both, and the lesion of each image. Out: an energy distance of the features with a permutation test, and
differences of shares and means with intervals. A lesion stays whole in every permutation and every draw.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from lesionlab.evaluation.intervals import draw_weights, sums_over_draws

PERMUTATIONS, MOST_LESIONS, LEAST_LESIONS = 999, 1500, 10
LEVEL = 0.05
_RESAMPLES = 1000


@dataclass(frozen=True)
class FeatureShift:
    """How far apart the features of two folders are.

    Attributes:
        coefficient: energy distance over twice the mean distance between the folders: 0 where both are of one distribution, 1
            where each holds one point of its own (Székely and Rizzo, J. Stat. Plan. Inference 143, 2013).
        p: share of the permutations of lesions with a distance as large, the one seen among them.
        permuted: float (PERMUTATIONS,), the coefficients of these.
        lesions: of each folder, that were compared.

    """

    coefficient: float
    p: float
    permuted: np.ndarray
    lesions: tuple[int, int]


@dataclass(frozen=True)
class FigureShift:
    """A mean or share in the first and the second folder, and their difference with its interval."""

    name: str
    first: float
    second: float
    interval: tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return self.interval[0] > 0 or self.interval[1] < 0


def feature_shift(
    first: np.ndarray, second: np.ndarray, lesions: tuple[np.ndarray, np.ndarray], *, seed: int = 0
) -> FeatureShift:
    """Test whether features of two folders are of one distribution.

    Args:
        first: float (n, d); of more than `MOST_LESIONS` lesions, as many are drawn.
        second: float (m, d), likewise.
        lesions: the lesion of each image, (n,) and (m,).
        seed: of what is drawn and permuted.

    """
    random = np.random.default_rng(seed)
    (a, groups_a), (b, groups_b) = (_drawn(*side, random) for side in ((first, lesions[0]), (second, lesions[1])))
    n_a, n_b = int(groups_a.max()) + 1, int(groups_b.max()) + 1
    groups = np.concatenate([groups_a, groups_b + n_a])
    sums, sizes = _distances(np.concatenate([a, b]), groups)
    seen = np.arange(n_a + n_b) < n_a
    assigned = np.stack([seen, *(random.permutation(seen) for _ in range(PERMUTATIONS))]).astype(np.float64)
    found = _coefficients(assigned, sums, sizes)
    p = float((found >= found[0] - 1e-12).mean())
    return FeatureShift(float(found[0]), p, found[1:], (n_a, n_b))


def _drawn(features: np.ndarray, lesions: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Give the features of at most `MOST_LESIONS` lesions, and the number of each image's, from 0."""
    _, groups = np.unique(lesions.astype(str), return_inverse=True)
    if groups.max() >= MOST_LESIONS:
        kept = np.isin(groups, random.choice(int(groups.max()) + 1, MOST_LESIONS, replace=False))
        features, groups = features[kept], np.unique(groups[kept], return_inverse=True)[1]
    return features, groups


def _distances(rows: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the distances between the images of each two lesions: (l, l); and count the images of each: (l,).

    Features keep their length: a paler picture may have the same ones, only smaller.
    """
    rows = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    squares = (rows**2).sum(axis=1)
    number = int(groups.max()) + 1
    member = np.zeros((len(rows), number))
    member[np.arange(len(rows)), groups] = 1
    sums = np.zeros((number, number))
    for at in range(0, len(rows), 500):
        block = slice(at, at + 500)
        distances = np.sqrt(np.maximum(0, squares[block, None] + squares - 2 * rows[block] @ rows.T))
        sums += member[block].T @ (distances @ member)
    return sums, member.sum(axis=0)


def _coefficients(assigned: np.ndarray, sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Energy coefficients of assignments (p, l) of lesions to the first folder: (p,)."""
    others = 1 - assigned
    n_a, n_b = assigned @ sizes, others @ sizes
    towards = assigned @ sums
    between = (towards * others).sum(axis=1) / (n_a * n_b)
    within_a = (towards * assigned).sum(axis=1) / n_a**2
    within_b = ((others @ sums) * others).sum(axis=1) / n_b**2
    return (2 * between - within_a - within_b) / np.where(between > 0, 2 * between, 1)


def changes(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    lesions: tuple[np.ndarray, np.ndarray],
    *,
    seed: int = 0,
) -> list[FigureShift]:
    """Compare means of two folders, each with an interval of its difference by bootstrap over lesions.

    The intervals hold together at 95 %: each is wider by Bonferroni's rule for how many there are. Draws of few lesions vary too
    little, above all in so far a tail, so that each is wider as Student's t is beside the normal distribution (Hesterberg, Am.
    Stat. 69, 2015, doi:10.1080/00031305.2015.1089789).

    Args:
        first: values of each image by name, float (n,); shares are means of zeros and ones.
        second: likewise (m,).
        lesions: the lesion of each image, (n,) and (m,).
        seed: of the draws.

    """
    if not first:
        return []
    tables = [np.stack([side[name] for name in first], axis=1).astype(np.float32) for side in (first, second)]
    drawn = []
    for number, (table, of) in enumerate(zip(tables, lesions, strict=True)):
        weights = draw_weights(of.astype(str), seed + number, _RESAMPLES)
        drawn.append(sums_over_draws(weights, table) / weights.sum(axis=1, keepdims=True))
    tail = LEVEL / len(first) / 2
    means = [table.mean(axis=0, dtype=np.float64) for table in tables]
    centre, fewest = means[1] - means[0], min(len(np.unique(of)) for of in lesions)
    wider = t.ppf(1 - tail, fewest - 1) / norm.ppf(1 - tail) * np.sqrt(fewest / (fewest - 1))
    bounds = np.quantile(drawn[1] - drawn[0], [tail, 1 - tail], axis=0)
    low, high = centre + wider * (bounds - centre)
    return [
        FigureShift(name, float(means[0][i]), float(means[1][i]), (float(low[i]), float(high[i])))
        for i, name in enumerate(first)
    ]
