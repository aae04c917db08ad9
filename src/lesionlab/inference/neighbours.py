"""The nearest of many images by the cosine of their features: exact, and mostly without reading all of them.

In: features float32 (n, d). Out: places and cosines of the k nearest. A product with all of 500,000 x 1,024 numbers reads 2 GB.
Features of a network lie near a plane of far fewer dimensions, so each is kept a second time as its shadow on the first
`SHADOW` principal directions, and the length of what the shadow leaves out. By Cauchy and Schwarz a cosine differs from that of
the shadows by at most the product of the two lengths: only images that could still be among the nearest are read in full. Where
that are too many, as of features without structure, all are read.
"""

from dataclasses import dataclass, field

import numpy as np

from lesionlab.errors import UsageError

SHADOW = 128
_SAMPLE = 5000  # rows that the directions are fitted to
_LEAST = 20_000  # rows from which a shadow is worth it
_MOST_SHARE = 0.2  # of the rows, read one by one: of more, reading all in order is faster
_TOLERANCE = 1e-5  # of float32 arithmetic


@dataclass(frozen=True)
class NeighbourIndex:
    """Features of n images, ready to be searched.

    Attributes:
        rows: float32 (n, d), each of length 1.
        directions: float32 (d, SHADOW), orthonormal; None where there are too few rows for a shadow.
        shadow: float32 (n, SHADOW), the rows in these directions; `rest` (n,) the length of what is left of each.

    """

    rows: np.ndarray = field(repr=False)
    directions: np.ndarray | None = field(default=None, repr=False)
    shadow: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32), repr=False)
    rest: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32), repr=False)

    def nearest(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the k nearest rows of one query.

        Args:
            query: float (d,), of any length but 0.
            k: of n or more, all are given.

        Returns:
            Places int64 (k,) and cosines float32 (k,), the nearest first.

        Raises:
            UsageError: the query has other features than the rows.

        """
        if query.shape != self.rows.shape[1:]:
            raise UsageError(
                f"A query of {query.shape} features does not fit rows of {self.rows.shape[1:]}: embed both with one model."
            )
        unit, k = unit_rows(query[None])[0], min(k, len(self.rows))
        chosen = None if self.directions is None or k == 0 else self._candidates(unit, k)
        cosines = self.rows @ unit if chosen is None else self.rows[chosen] @ unit
        best = _largest(cosines, k)
        return (best if chosen is None else chosen[best]), cosines[best]

    def _candidates(self, unit: np.ndarray, k: int) -> np.ndarray | None:
        """Give the rows that may be among the k nearest; None where they are too many."""
        query = unit @ self.directions  # (SHADOW,)
        left_out = np.sqrt(max(0.0, 1 - float(query @ query)))
        bound = self.shadow @ query  # (n,)
        sure = _largest(bound, k)
        least = float((self.rows[sure] @ unit).min()) - _TOLERANCE  # the k nearest are at least so near
        bound += self.rest * np.float32(left_out)
        chosen = np.flatnonzero(bound >= least)
        return None if len(chosen) > _MOST_SHARE * len(self.rows) else chosen


def neighbour_index(features: np.ndarray, *, seed: int = 0) -> NeighbourIndex:
    """Make features (n, d) ready to be searched; those of length 0 are near nothing."""
    rows = unit_rows(features)
    if len(rows) < _LEAST or rows.shape[1] <= SHADOW:
        return NeighbourIndex(rows)
    sample = rows[np.random.default_rng(seed).choice(len(rows), min(_SAMPLE, len(rows)), replace=False)].astype(
        np.float64
    )
    _, vectors = np.linalg.eigh(sample.T @ sample)  # the largest last
    directions = np.ascontiguousarray(vectors[:, -SHADOW:], np.float32)
    shadow = rows @ directions
    rest = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", shadow, shadow)))
    return NeighbourIndex(rows, directions, shadow, rest)


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Bring rows (n, d) to length 1, float32; those of length 0 stay."""
    rows = np.asarray(features, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Give the places of the k largest, the largest first; of equal ones the first."""
    if k < len(values):
        chosen = np.sort(np.argpartition(-values, k - 1)[:k]) if k else np.zeros(0, np.int64)
    else:
        chosen = np.arange(len(values))
    return chosen[np.argsort(-values[chosen], kind="stable")]
