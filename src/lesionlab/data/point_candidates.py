"""Local features of pictures in, pairs of pictures worth matching point by point out.

The points of all pictures are sorted into words (k-means in two stages, about `_PER_WORD` points a word). Each point then votes
for another picture: the one with the point that is most like it, of those in its word; once as it is and once mirrored. Pictures
of one lesion, at another zoom or by another camera, give each other tens of votes, strangers one or two: a detail in common
shows in votes, and not in a likeness of the whole. The work grows with the number of points, since words grow in number with it.
"""

import numpy as np
from scipy import sparse

from lesionlab.data.local_features import MIRRORED, MOST, VALUES, LocalFeatures, as_root
from lesionlab.data.threads import in_threads

CANDIDATES = 8  # of a picture
MIN_VOTES = 6
MIN_LIKENESS = 0.85  # correlation of two points

_PER_WORD = 100
_COARSE = 64  # words of the first stage
_MOST_FINE = 1024  # words of the second, in each of the first
_SAMPLE = 20  # points a word from which words are found
_ROUNDS = 5
_BLOCK = 16_384  # points
_ASKERS = 1024  # of one word, at a time


def point_candidates(features: LocalFeatures) -> np.ndarray:
    """Pair pictures that may show one lesion.

    Returns:
        int (m, 3): row of the first, row of the second, larger than the first, and whether the second is mirrored (0 or 1).
    """
    rows = np.flatnonzero(np.arange(MOST) < features.counts[:, None])  # of the points, picture by picture
    if not len(rows):
        return np.empty((0, 3), np.intp)
    all_points = features.descriptors.reshape(-1, VALUES)
    vocabulary = _vocabulary(all_points, rows)
    words = _words(all_points, rows, vocabulary, None)
    pairs = [
        _best(features, rows, words, words if way is None else _words(all_points, rows, vocabulary, way), way)
        for way in (None, MIRRORED)
    ]
    found = [np.column_stack([pair, np.full(len(pair), number)]) for number, pair in enumerate(pairs)]
    return np.concatenate(found)


def _vocabulary(points: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Centres (64, 128) of the coarse words, and of the fine words (k, 128) of each."""
    fine = int(np.clip(len(rows) / _PER_WORD / _COARSE, 1, _MOST_FINE))
    rng = np.random.default_rng(0)
    sample = rng.choice(rows, min(len(rows), _SAMPLE * fine * _COARSE), replace=False)
    values = as_root(points[sample])
    coarse = _centres(values[: _BLOCK * 4], _COARSE, rng)
    word = np.concatenate([_nearest(values[start : start + _BLOCK], coarse) for start in range(0, len(values), _BLOCK)])
    inside = [values[word == number] for number in range(len(coarse))]
    fines = in_threads(lambda of_word: _centres(of_word, fine, np.random.default_rng(0)), inside, "sorting points")
    return coarse, list(fines)


def _centres(values: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Centres (k, 128) of values (n, 128), by k-means on the sphere; k is `number` or fewer, where there are fewer values."""
    centres = values[rng.choice(len(values), min(number, len(values)), replace=False)]
    for _ in range(_ROUNDS if len(values) > number else 0):
        near = _nearest(values, centres)
        member = sparse.csr_array(
            (np.ones(len(values), np.float32), (near, np.arange(len(values)))), shape=(len(centres), len(values))
        )
        sums = member @ values
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-6), centres)
    return centres


def _nearest(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return (values @ centres.T).argmax(axis=1)


def _words(
    points: np.ndarray, rows: np.ndarray, vocabulary: tuple[np.ndarray, list[np.ndarray]], way: np.ndarray | None
) -> np.ndarray:
    """The word (n,) of each point, `way` telling the order of its values."""
    coarse, fines = vocabulary

    def read(start: int) -> np.ndarray:
        values = as_root(_ordered(points[rows[start : start + _BLOCK]], way))
        first = _nearest(values, coarse)
        words = np.empty(len(values), np.int64)
        for number in np.unique(first):
            chosen = first == number
            words[chosen] = number * _MOST_FINE + _nearest(values[chosen], fines[number])
        return words

    return np.concatenate(list(in_threads(read, range(0, len(rows), _BLOCK), "reading points")))


def _ordered(values: np.ndarray, way: np.ndarray | None) -> np.ndarray:
    return values if way is None else values[..., way]


def _best(
    features: LocalFeatures, rows: np.ndarray, words: np.ndarray, asked: np.ndarray, way: np.ndarray | None
) -> np.ndarray:
    """Pairs (m, 2) of pictures with the most votes, those of the points taken in another order (`way`)."""
    points, picture_of = features.descriptors.reshape(-1, VALUES), rows // MOST
    members, askers = _by_word(words), _by_word(asked)

    def vote(word: int) -> np.ndarray:
        inside = members[word]
        values = as_root(points[rows[inside]])
        votes = [np.empty((0, 2), np.int64)]
        for start in range(0, len(askers[word]), _ASKERS):
            asking = askers[word][start : start + _ASKERS]
            likeness = as_root(_ordered(points[rows[asking]], way)) @ values.T
            likeness[picture_of[asking][:, None] == picture_of[inside]] = -1
            best = likeness.argmax(axis=1)
            counts = likeness[np.arange(len(asking)), best] >= MIN_LIKENESS
            votes.append(np.column_stack([picture_of[asking], picture_of[inside[best]]])[counts])
        return np.concatenate(votes)

    both = [word for word in members if word in askers]
    votes = np.concatenate([np.empty((0, 2), np.int64), *in_threads(vote, both, "looking for like points")])
    return _most_voted(votes, len(features.counts))


def _by_word(words: np.ndarray) -> dict[int, np.ndarray]:
    """The places of each word's points."""
    order = np.argsort(words, kind="stable")
    found, starts = np.unique(words[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, starts[1:]), strict=True))


def _most_voted(votes: np.ndarray, n: int) -> np.ndarray:
    """The pairs (m, 2), smaller row first, that are among the `CANDIDATES` with the most votes of one of the two."""
    low, high = votes.min(axis=1, initial=n), votes.max(axis=1, initial=0)
    keys, counts = np.unique(low * n + high, return_counts=True)
    keys, counts = keys[counts >= MIN_VOTES], counts[counts >= MIN_VOTES]
    ends, twice = np.concatenate([keys // n, keys % n]), np.concatenate([counts, counts])
    order = np.lexsort((-twice, ends))
    place = np.arange(len(ends)) - np.searchsorted(ends[order], ends[order])
    chosen = np.unique(np.tile(keys, 2)[order][place < CANDIDATES])
    return np.column_stack([chosen // n, chosen % n])
