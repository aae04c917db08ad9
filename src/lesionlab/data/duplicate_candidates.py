"""Coarse prints of images in, pairs worth a closer look out: the nearest of each image in any flip or quarter turn.

Up to `MOST_EXACT` images every print is compared with every other. Beyond, prints are put into cells, each around a centre
and turned as it fits the centre best, and an image is compared only with those in the `PROBES` cells nearest to it. There are
`_CELLS` times the square root of n cells, so that the work of an image grows with the square root of n.

Measured on prints of the 5,987 images of HAM10000, of pictures made of them by turns of 17 to 73 degrees, and of 500 altered
copies (JPEG of quality 30, darker, brighter, cropped to 90 %, turned by 5 degrees); processor time on one busy core:

| images | all with all | in cells | pairs of image and copy: all with all, of these in cells |
| --- | --- | --- | --- |
| 10,000 | 2.5 s | 2.0 s | |
| 20,000 | 10.1 s | 4.7 s | 485 of 500, all (21,487 images) |
| 40,000 | | 11.6 s | |
| 54,383 | | 16.9 s | 478 of 500, all but 1 |

The near-duplicates of HAM10000 itself are the same either way. What is lost as n grows is lost by both: the three nearest of
more images are more often strangers; of copies turned by 5 degrees 92 % were found among 21,487 and 87 % among 54,383.
"""

import numpy as np

from lesionlab.progress import track

NEIGHBOURS = 3
MOST_EXACT = 20_000
PROBES = 64  # cells that are searched for an image

_CELLS = 4  # times the square root of n
_SAMPLE = 20  # images a cell from which its centre is found
_ROUNDS = 4
_EXACT_BLOCK = 256
_BLOCK = 2048


def turned(images: np.ndarray, turn: int) -> np.ndarray:
    """Flip or turn (..., side, side) by one of the 8 symmetries of the square, 0 to 7; 0 leaves it."""
    if turn & 4:
        images = images.swapaxes(-1, -2)
    if turn & 2:
        images = images[..., ::-1]
    return images[..., ::-1, :] if turn & 1 else images


def candidates(prints: np.ndarray) -> np.ndarray:
    """Pair each image with those nearest to it.

    Args:
        prints: float32 (n, side, side) of length one, n at least 2.

    Returns:
        int (m, 3): row of the first, row of the second, larger than the first, and the turn that brings the second over;
        in order.
    """
    n = len(prints)
    nearest = _nearest_of_all(prints) if n <= MOST_EXACT else _nearest_in_cells(prints)  # (n, NEIGHBOURS), -1 for none
    rows = np.repeat(np.arange(n), nearest.shape[1])
    others = nearest.ravel()
    rows, others = rows[others >= 0], others[others >= 0]
    pairs = np.unique(np.minimum(rows, others) * n + np.maximum(rows, others))
    first, second = pairs // n, pairs % n
    return np.stack([first, second, _turns(prints, first, second)], axis=1)


def _turns(prints: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The turn of each second print that makes it most like the first."""
    turns = np.empty(len(first), np.intp)
    for block in _blocks(len(first), _BLOCK):
        one = prints[first[block]].reshape(len(first[block]), -1)
        turns[block] = np.argmax(
            [np.einsum("mk,mk->m", one, other) for other in _all_turns(prints[second[block]])], axis=0
        )
    return turns


def _all_turns(prints: np.ndarray) -> np.ndarray:
    """(8, n, side * side)."""
    return np.stack([turned(prints, turn).reshape(len(prints), -1) for turn in range(8)])


def _blocks(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _likeness(turns: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The highest correlation (n, m) of (8, n, k), the turns of n prints, with the m prints (m, k)."""
    best = turns[0] @ others.T
    for one in turns[1:]:
        np.maximum(best, one @ others.T, out=best)
    return best


def _take_nearest(likeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns (n, k) of the highest values and the values, k being `NEIGHBOURS` or less; `likeness` is used up."""
    k = min(NEIGHBOURS, likeness.shape[1])
    at = np.arange(len(likeness))
    columns, values = np.empty((len(at), k), np.intp), np.empty((len(at), k), np.float32)
    for place in range(k):
        columns[:, place] = likeness.argmax(axis=1)
        values[:, place] = likeness[at, columns[:, place]]
        likeness[at, columns[:, place]] = -2
    return columns, values


def _nearest_of_all(prints: np.ndarray) -> np.ndarray:
    n = len(prints)
    flat = prints.reshape(n, -1)
    nearest = np.empty((n, min(NEIGHBOURS, n - 1)), np.intp)
    for block in track(_blocks(n, _EXACT_BLOCK), "looking for like images"):
        likeness = _likeness(_all_turns(prints[block]), flat)
        np.fill_diagonal(likeness[:, block], -2)
        nearest[block] = _take_nearest(likeness)[0][:, : nearest.shape[1]]
    return nearest


def _nearest_in_cells(prints: np.ndarray) -> np.ndarray:
    n = len(prints)
    centres = _centres(prints)
    home = np.concatenate(
        [_likeness(_all_turns(prints[block]), centres).argmax(axis=1) for block in _blocks(n, _BLOCK)]
    )
    used, home = np.unique(home, return_inverse=True)
    centres = centres[used]
    order = np.argsort(home, kind="stable")  # images of a cell lie together: they probe the same cells
    prints = prints[order]
    edges = np.searchsorted(home[order], np.arange(len(used) + 1))
    nearest = np.empty((n, NEIGHBOURS), np.intp)
    for block in track(_blocks(n, _BLOCK), "looking for like images"):
        found = _probe(prints, centres, edges, block)
        nearest[order[block]] = np.where(found >= 0, order[found], -1)
    return nearest


def _centres(prints: np.ndarray) -> np.ndarray:
    """Centres (c, k) of cells, by k-means of a sample in which every print is turned as it fits its centre best."""
    n = len(prints)
    count = round(_CELLS * np.sqrt(n))
    sample = np.random.default_rng(0).choice(n, min(n, _SAMPLE * count), replace=False)
    centres = prints[sample[:count]].reshape(count, -1)
    for _ in range(_ROUNDS):
        sums = np.zeros_like(centres)
        for block in _blocks(len(sample), _EXACT_BLOCK):
            turns = _all_turns(prints[sample[block]])
            fits = np.stack([one @ centres.T for one in turns], axis=1).reshape(turns.shape[1], -1)  # (n, 8 * c)
            turn, cell = np.divmod(fits.argmax(axis=1), count)
            np.add.at(sums, cell, turns[turn, np.arange(len(turn))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-6), centres)
    return centres


def _probe(prints: np.ndarray, centres: np.ndarray, edges: np.ndarray, block: slice) -> np.ndarray:
    """Rows (b, NEIGHBOURS) of the nearest of a block of images in the cells nearest to each, -1 for none.

    Args:
        prints: (n, side, side), cell by cell.
        centres: (c, k).
        edges: (c + 1,), where each cell begins in `prints`.
        block: of rows.
    """
    flat, turns = prints.reshape(len(prints), -1), _all_turns(prints[block])
    probes = min(PROBES, len(centres))
    cells = np.argpartition(-_likeness(turns, centres), probes - 1, axis=1)[:, :probes].ravel()  # (b * probes,)
    rows = np.full((len(cells), NEIGHBOURS), -1)
    values = np.full((len(cells), NEIGHBOURS), -2, np.float32)
    by_cell = np.argsort(cells, kind="stable")
    for visits in np.split(by_cell, np.flatnonzero(np.diff(cells[by_cell])) + 1):
        start, stop = edges[cells[visits[0]]], edges[cells[visits[0]] + 1]
        visitors = visits // probes
        likeness = _likeness(turns[:, visitors], flat[start:stop])
        own = np.flatnonzero((visitors + block.start >= start) & (visitors + block.start < stop))
        likeness[own, visitors[own] + block.start - start] = -2
        columns, highest = _take_nearest(likeness)
        rows[visits, : columns.shape[1]] = columns + start
        values[visits, : columns.shape[1]] = highest
    values = values.reshape(-1, probes * NEIGHBOURS)
    rows = np.where(values > -2, rows.reshape(values.shape), -1)
    best = np.argpartition(-values, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    return np.take_along_axis(rows, best, axis=1)
