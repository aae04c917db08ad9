"""The choice among the ways to adapt a model, by cross-validation over lesions, and what it promises.

Each candidate is fitted to four fifths of the lesions and predicts the last one, in turn; with few lesions several times over.
A candidate's loss is the mean of its log loss and its balanced log loss (the mean over the diagnoses of each one's own), since
both the probabilities and the rare diagnoses matter. Few lesions cannot tell ten candidates apart, so that the one that is
usually best stands unless another is better by more than one standard error over lesions; and the model is left as it is unless
that one is better by more than one standard error. What is promised is measured on predictions by a head that was not fitted
to the lesion, and by a rule that was chosen on the other folds; of a model that is left as it is, on its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from lesionlab.cluster.threads import in_order
from lesionlab.evaluation.intervals import folds as deal
from lesionlab.model.adapt.candidates import USUAL, Candidate, ClinicImages, Fitted, candidates
from lesionlab.model.decision_rule import Decision, apply_decision
from lesionlab.model.export.head import Head
from lesionlab.progress import track

FOLDS = 5
_REPEATS_BELOW = ((300, 3),)  # groups, and how often they are dealt anew
_EXPONENTS = (0.75, 0.875, 1.0)  # how much of the mix the rule takes out
_KEPT = 0.5  # how much of the mix the probabilities keep: with all of it the rule has more to move, which costs AUC
_KEEP_RULE = ("as it is", "temperature")
_LEAST = 1e-6  # probability that a log loss counts with


@dataclass(frozen=True)
class Score:
    """How a candidate did: its loss, and by how much it is better than the model as it is, with the standard error of that."""

    name: str
    words: str
    loss: float
    gain: float
    error: float


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, and what cross-validation saw.

    Attributes:
        name: of the candidate; `words` say what it does.
        head: fitted to all images, with its rule.
        kept: how much of the clinic's mix the probabilities keep, 0 to 1; `exponent` how much the rule takes out.
        out_of_fold: float64 (n, k), of each image by a head that was fitted, and a rule that was chosen, without its lesion.
        scores: of all candidates, the simplest first.

    """

    name: str
    words: str
    head: Head
    kept: float
    exponent: float
    out_of_fold: np.ndarray
    scores: tuple[Score, ...]

    @property
    def rule_exponent(self) -> float:
        """Share of the mix that is left in the probabilities, which the rule takes out; 0 to 1."""
        given = min(1 - self.kept, self.exponent)
        return (self.exponent - given) / (1 - given)

    @property
    def has_own_rule(self) -> bool:
        """Whether the rule is the one that the model had."""
        return self.name in _KEEP_RULE

    @property
    def is_changed(self) -> bool:
        """Whether the model is changed at all."""
        return self.name != self.scores[0].name


@dataclass(frozen=True)
class _Tried:
    """Logits (repeats, n, k) of one candidate, out of fold, and the shifts (repeats, n, k) of its rules."""

    logits: np.ndarray
    shifts: np.ndarray


def choose(images: ClinicImages, *, seed: int = 0) -> Choice:
    """Choose how to adapt a model to a clinic's images, and adapt it.

    Args:
        images: of ten lesions or more, of two diagnoses or more.
        seed: of the folds.

    """
    with threadpool_limits(1):  # of matrices so small, more threads wait for each other most of the time
        return _choose(images, seed)


def _choose(images: ClinicImages, seed: int) -> Choice:
    ways, fold = candidates(images), _deal(images, seed)
    tried = [_Tried(np.empty((*fold.shape, images.k)), np.empty((*fold.shape, images.k))) for _ in ways]
    _ = images.coordinates  # made once, before the threads ask for them

    def try_all(job: tuple[int, int]) -> None:
        repeat, number = job
        inside, outside = np.flatnonzero(fold[repeat] == number), np.flatnonzero(fold[repeat] != number)
        for way, found in zip(ways, tried, strict=True):
            fitted = way.fit(images, outside)
            found.logits[repeat, inside] = fitted.head.logits(images.features[inside])
            found.shifts[repeat, inside] = fitted.shift

    jobs = [(repeat, number) for repeat in range(len(fold)) for number in np.unique(fold[repeat])]
    for _ in track(in_order(try_all, jobs), "cross-validating", total=len(jobs)):
        pass
    losses = np.array([_losses(found, images.labels) for found in tried])  # (candidates, n)
    usual = next(number for number, way in enumerate(ways) if way.name == USUAL)
    best = _best(losses, images.lesions, usual)
    # Where the file is left as it is, what it says of each image is known, and was not fitted to it.
    picked = _picked_without(losses, images.lesions, fold[0], usual) if best else np.zeros(len(fold[0]), int)
    logits, shifts = (
        np.array([getattr(tried[way], name)[0, row] for row, way in enumerate(picked)]) for name in ("logits", "shifts")
    )
    out_of_fold = np.empty_like(logits)
    for number in np.unique(fold[0]):
        inside, others = fold[0] == number, fold[0] != number
        way = ways[picked[inside][0]]
        kept, exponent = _rule(way, images.labels[others], images.lesions[others], logits[others], shifts[others])
        out_of_fold[inside] = _decided(logits[inside], shifts[inside], kept, exponent)
    way, scores = ways[best], _scores(ways, losses, images.lesions)
    kept, exponent = _rule(way, images.labels, images.lesions, logits, shifts)
    head = _with_rule(way.fit(images, np.arange(len(images.labels))), kept, exponent)
    return Choice(way.name, way.words, head, kept, exponent, out_of_fold, scores)


def _rule(
    way: Candidate, labels: np.ndarray, lesions: np.ndarray, logits: np.ndarray, shifts: np.ndarray
) -> tuple[float, float]:
    """How much of the mix the probabilities of a candidate keep, and how much its rule takes out, chosen on these images."""
    return (1.0, 1.0) if way.name in _KEEP_RULE else (_KEPT, _exponent(labels, lesions, logits, shifts))


def _exponent(labels: np.ndarray, lesions: np.ndarray, logits: np.ndarray, shifts: np.ndarray) -> float:
    """Choose how much of the mix is taken out before the largest decides, by balanced log loss."""
    weight = _weights(labels)
    losses = np.array([weight * _log_losses(labels, logits + exponent * shifts) for exponent in _EXPONENTS])
    return _EXPONENTS[_least(losses, lesions, usual=_EXPONENTS.index(0.875))]


def _decided(logits: np.ndarray, shifts: np.ndarray, kept: float, exponent: float) -> np.ndarray:
    """Probabilities (n, k) as the model file gives them, of logits with the whole mix in."""
    given = min(1 - kept, exponent)
    found = softmax(logits + given * shifts, axis=1)
    result = np.empty_like(found)
    for shift in np.unique(shifts, axis=0):
        rows = (shifts == shift).all(axis=1)
        rule = Decision("prior-corrected", exponent, tuple(((exponent - given) * shift).tolist()))
        result[rows] = apply_decision(found[rows], rule)
    return result


def _with_rule(fitted: Fitted, kept: float, exponent: float) -> Head:
    given = min(1 - kept, exponent)
    bias = fitted.head.bias + given * fitted.shift
    shift = (exponent - given) * fitted.shift
    return replace(fitted.head, bias=bias.astype(np.float32), log_shift=shift.astype(np.float32))


def _deal(images: ClinicImages, seed: int) -> np.ndarray:
    """Deal the groups into fifths, each diagnosis in proportion where it has groups enough: integers (repeats, n)."""
    n_groups = len(np.unique(images.groups))
    repeats = next((times for below, times in _REPEATS_BELOW if n_groups < below), 1)
    number, fold = min(FOLDS, n_groups), np.empty((repeats, len(images.labels)), int)
    is_stratified = np.bincount(images.labels).max() >= number
    for repeat in range(repeats):
        if not is_stratified:
            fold[repeat] = deal(images.groups, number, seed=seed + repeat)
            continue
        splitter: GroupKFold = StratifiedGroupKFold(number, shuffle=True, random_state=seed + repeat)
        for f, (_, inside) in enumerate(_quietly(splitter, images)):
            fold[repeat, inside] = f
    return fold


def _quietly(splitter: GroupKFold, images: ClinicImages) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split; scikit-learn's warning that a diagnosis has fewer images than folds is of no use here: the report says so."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return list(splitter.split(images.features, images.labels, images.groups))


def _losses(found: _Tried, labels: np.ndarray) -> np.ndarray:
    """Loss of each image, mean over the repeats: half log loss, half log loss with the mix taken out, weighed by rarity."""
    weight, total = _weights(labels), np.zeros(len(labels))
    for logits, shifts in zip(found.logits, found.shifts, strict=True):
        total += (_log_losses(labels, logits) + weight * _log_losses(labels, logits + shifts)) / 2
    return total / len(found.logits)


def _weights(labels: np.ndarray) -> np.ndarray:
    """By what each image counts so that all diagnoses count alike: float (n,), of mean 1."""
    counts = np.bincount(labels)
    return len(labels) / (np.count_nonzero(counts) * counts[labels])


def _best(losses: np.ndarray, lesions: np.ndarray, usual: int) -> int:
    """Give the candidate of the least loss; the first, the model as it is, unless that is better by more than one error."""
    best = _least(losses, lesions, usual)
    gain, error = _gain(losses[0] - losses[best], lesions)
    return best if gain > error else 0


def _least(losses: np.ndarray, lesions: np.ndarray, usual: int) -> int:
    """Give the row of the least loss (rows, n), or the usual one where that is not worse by more than one standard error."""
    least = int(losses.mean(axis=1).argmin())
    gain, error = _gain(losses[usual] - losses[least], lesions)
    return least if gain > error else usual


def _picked_without(losses: np.ndarray, lesions: np.ndarray, fold: np.ndarray, usual: int) -> np.ndarray:
    """Which candidate is chosen for each image by the losses of the other folds alone: integers (n,)."""
    picked = np.zeros(len(fold), int)
    for number in np.unique(fold):
        others = fold != number
        picked[~others] = _best(losses[:, others], lesions[others], usual)
    return picked


def _scores(ways: Sequence[Candidate], losses: np.ndarray, lesions: np.ndarray) -> tuple[Score, ...]:
    found = []
    for way, own in zip(ways, losses, strict=True):
        gain, error = _gain(losses[0] - own, lesions)
        found.append(Score(way.name, way.words, float(own.mean()), gain, error))
    return tuple(found)


def _gain(differences: np.ndarray, lesions: np.ndarray) -> tuple[float, float]:
    """Mean of differences (n,), and its standard error over lesions."""
    _, lesion = np.unique(lesions, return_inverse=True)
    sums = np.bincount(lesion, differences - differences.mean())
    return float(differences.mean()), float(np.sqrt((sums**2).sum()) / len(differences))


def _log_losses(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(softmax(logits, axis=1)[np.arange(len(labels)), labels], _LEAST))
