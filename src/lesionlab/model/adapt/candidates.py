"""The ways to adapt a head, from the simplest on; each is fitted to labelled images and gives a whole head.

In: `ClinicImages`. Out: a `Fitted` head whose probabilities are calibrated to the clinic's mix of diagnoses, and the shift that
takes that mix out again, for the decision rule. Old logits come with the old mix taken out (the shift of the model's own rule),
the clinic's mix is put in, and what is learnt is the rest (logit adjustment: Menon et al., ICLR 2021): so ten lesions, of which
nine are of one diagnosis, do not teach that all are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import softmax

from lesionlab.evaluation.vector_scaling import fit_temperature, fit_vector_scaling
from lesionlab.model.adapt.anchored import Coordinates, HeadChange, fit_change, make_coordinates
from lesionlab.model.adapt.priors import counted_mix
from lesionlab.model.adapt.start import Start
from lesionlab.model.export.head import Head

STRENGTHS = ((0, 3.0), (150, 1.0), (500, 0.3))  # groups from which a pull towards the old head may be so weak
USUAL = "held head, 3"  # what few lesions cannot prove wrong: on MILK10k from 50 lesions on not worse than any other
_MOST_DIRECTIONS = 300  # of features; on MILK10k 150 and 500 give the same
_NEVER = -30.0  # logit of a diagnosis that a model without it can never answer


@dataclass(frozen=True, eq=False)
class ClinicImages:
    """Labelled images of a clinic as a head sees them.

    Attributes:
        features: float32 (n, d).
        labels: integers (n,), in the order of the clinic's taxonomy.
        groups: (n,), what cross-validation keeps together: lesions, joined by near-duplicates and patients.
        lesions: (n,), what intervals count.
        start: the old head in the clinic's diagnoses.
        own_rule: (k,), the shift of the model's own rule, in the clinic's diagnoses; zeros where it has none.
        own_shift: (k,), takes the mix of the model's training images out of the old logits.

    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    lesions: np.ndarray
    start: Start
    own_rule: np.ndarray
    own_shift: np.ndarray

    @cached_property
    def k(self) -> int:
        """How many diagnoses there are."""
        return len(self.start.taxonomy)

    @cached_property
    def is_known(self) -> np.ndarray:
        """Which diagnoses the model knows: bool (k,)."""
        return np.array(self.start.origin) >= 0

    @cached_property
    def old_logits(self) -> np.ndarray:
        """Logits of the old head: float64 (n, k)."""
        return self.start.head.logits(self.features)

    @cached_property
    def directions(self) -> Coordinates:
        """Leading directions of the features."""
        return make_coordinates(self.features, _MOST_DIRECTIONS)

    @cached_property
    def coordinates(self) -> np.ndarray:
        """Features along them: float64 (n, r)."""
        return self.directions.of(self.features)


@dataclass(frozen=True)
class Fitted:
    """A head without a rule, and the shift (k,) that takes the mix of diagnoses out of its logits."""

    head: Head
    shift: np.ndarray


@dataclass(frozen=True)
class Candidate:
    """A way to adapt: its name, what it does in words, and how it is fitted to some of the images, integers (m,)."""

    name: str
    words: str
    fit: Callable[[ClinicImages, np.ndarray], Fitted]


def candidates(images: ClinicImages) -> list[Candidate]:
    """Give the ways to adapt a model to a clinic, the simplest first."""
    ways = [
        Candidate("as it is", "the model is left as it is", _as_it_is),
        Candidate("temperature", "probabilities made as sure as they are right, by one temperature", _temperature),
        Candidate("mix", "probabilities corrected for the clinic's mix of diagnoses", _mix),
        Candidate("vector", "probabilities rescaled by a scale and an offset for each diagnosis", _vector),
        Candidate(
            "mix and offsets", "corrected for the mix, with a scale, and an offset for each diagnosis", _mix_and_offsets
        ),
    ]
    new = " (a new one where a diagnosis is new)" if images.start.new else ""
    warm: dict[tuple[int, ...], HeadChange] = {}  # of the same images at the strength before
    n_groups = len(np.unique(images.groups))
    for strength in (strength for least, strength in STRENGTHS if n_groups >= least):
        words = f"a head that starts from the old one{new} and is held to it, strength {strength:g}"
        ways.append(Candidate(f"held head, {strength:g}", words, _Held(strength, warm)))
    return ways


def _as_it_is(images: ClinicImages, rows: np.ndarray) -> Fitted:
    head = images.start.head
    bias = np.where(images.is_known, head.bias, _NEVER).astype(np.float32)
    return Fitted(replace(head, bias=bias), images.own_rule)


def _temperature(images: ClinicImages, rows: np.ndarray) -> Fitted:
    old, labels = _as_it_is(images, rows), images.labels[rows]
    kept = rows[images.is_known[labels]]
    found = (
        fit_temperature(images.labels[kept], softmax(old.head.logits(images.features[kept]), axis=1))
        if len(kept)
        else 1.0
    )
    bias = np.where(images.is_known, old.head.bias / found, _NEVER)
    return Fitted(
        replace(old.head, kernel=old.head.kernel / np.float32(found), bias=bias.astype(np.float32)), old.shift / found
    )


def _mix(images: ClinicImages, rows: np.ndarray) -> Fitted:
    none = HeadChange(1.0, np.zeros((0, images.k)), np.zeros(images.k))
    return _changed(images, rows, none)


def _vector(images: ClinicImages, rows: np.ndarray) -> Fitted:
    labels, head = images.labels[rows], images.start.head
    found = fit_vector_scaling(labels, softmax(images.old_logits[rows], axis=1))
    scale, offset = np.array(found.scale, np.float32), np.array(found.offset, np.float32)
    kernel = (head.kernel - head.kernel.mean(axis=1, keepdims=True)) * scale
    made = replace(head, kernel=kernel, bias=(head.bias - head.bias.mean()) * scale + offset)
    return Fitted(made, -np.log(counted_mix(labels, images.k)))


def _mix_and_offsets(images: ClinicImages, rows: np.ndarray) -> Fitted:
    old, log_mix = _without_mix(images)[rows], np.log(counted_mix(images.labels[rows], images.k))
    nothing = np.zeros((len(rows), 0))
    return _changed(images, rows, fit_change(nothing, old, images.labels[rows], 1.0, log_mix=log_mix))


@dataclass(frozen=True)
class _Held:
    """Fits a head that is held to the old one; begins where the strength before has ended on the same images."""

    strength: float
    warm: dict[tuple[int, ...], HeadChange]

    def __call__(self, images: ClinicImages, rows: np.ndarray) -> Fitted:
        old, log_mix = _without_mix(images)[rows], np.log(counted_mix(images.labels[rows], images.k))
        key = tuple(rows.tolist())
        found = fit_change(
            images.coordinates[rows], old, images.labels[rows], self.strength, log_mix=log_mix, start=self.warm.get(key)
        )
        self.warm[key] = found
        return _changed(images, rows, found)


def _without_mix(images: ClinicImages) -> np.ndarray:
    return images.old_logits + images.own_shift


def _changed(images: ClinicImages, rows: np.ndarray, change: HeadChange) -> Fitted:
    """Join the old head and its change into one head, with the mix of some images put in."""
    old, log_mix = images.start.head, np.log(counted_mix(images.labels[rows], images.k))
    kernel, bias = old.kernel * change.scale, (old.bias + images.own_shift) * change.scale + change.offset + log_mix
    if len(change.weights):
        along = images.directions.directions @ change.weights  # (d, k)
        kernel, bias = kernel + along, bias - images.directions.mean @ along
    made = Head(kernel.astype(np.float32), bias.astype(np.float32), old.log_shift)
    return Fitted(made, -log_mix)
