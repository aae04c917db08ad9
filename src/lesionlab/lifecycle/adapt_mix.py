"""`lesionlab adapt --unlabelled` alone: a model corrected for a clinic's mix of diagnoses, which it estimates without labels.

In: a model file, and images without labels. Out: a new model file in the same diagnoses. Nothing is measured, and so nothing
promised: the correction is right where pictures of a diagnosis look alike at both places, and only their mix differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lesionlab._version import NOT_A_DEVICE
from lesionlab.errors import UsageError
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.facts import Facts
from lesionlab.lifecycle.adapt import PROVED_ON
from lesionlab.lifecycle.adapted_facts import facts_of_mix, own_rule, training_mix
from lesionlab.lifecycle.clinic_images import FEWEST_UNLABELLED, Unlabelled, reader, see_unlabelled
from lesionlab.lifecycle.new_head import write_with_head
from lesionlab.model.adapt.priors import RAREST, estimated_mix
from lesionlab.model.export.head import Head, read_head, refuse_without_onnx


@dataclass(frozen=True, eq=False)
class AdaptedMix:
    """A model that was corrected, not yet written: the shares (k,) of the diagnoses in training, and as estimated here.

    `rejected` are names of images that the model calls not dermatoscopic: they were left out of the estimate.
    """

    old: Bundle
    facts: Facts
    head: Head
    unlabelled: Unlabelled
    mix_before: np.ndarray
    mix_after: np.ndarray
    rejected: tuple[str, ...] = ()

    @property
    def too_rare(self) -> tuple[str, ...]:
        """Codes of the diagnoses whose share was left as it was, since it cannot be estimated."""
        return tuple(
            dx for dx, share in zip(self.old.facts.taxonomy.dx, self.mix_before, strict=True) if share < RAREST
        )

    @property
    def is_counted(self) -> bool:
        """Whether the old file counts its training images; else their mix is worked out from what else it tells."""
        return bool(self.old.facts.diagnosis_counts)


def adapt_mix(model: str | Path | None, unlabelled: Sequence[str | Path]) -> AdaptedMix:
    """Correct a model for the mix of diagnoses of unlabelled images; `write_mix` writes it.

    Raises:
        UsageError: the package onnx is missing, fewer than 50 images that can be read, a model whose head cannot be replaced, or
            one that does not say in which mix it was trained.

    """
    refuse_without_onnx("lesionlab adapt")
    bundle = open_bundle(model).with_features()
    old, rule = read_head(bundle.data, own_rule(bundle.facts), bundle.facts.name), own_rule(bundle.facts)
    before = training_mix(bundle.facts)
    if before is None:
        raise UsageError(
            f"{bundle.facts.name} does not say in which mix of diagnoses it was trained, so that it cannot be corrected without "
            "labels. Label ten lesions or more and give them by --data."
        )
    seen = see_unlabelled(bundle, unlabelled)
    is_kept = np.ones(len(seen.images), bool) if seen.seen.is_rejected is None else ~seen.seen.is_rejected
    number, rejected = int(is_kept.sum()), tuple(np.array(seen.images)[~is_kept].tolist())
    if seen.seen.features is None or number < FEWEST_UNLABELLED:
        without = f" (without {len(rejected)} that the model calls not dermatoscopic)" if rejected else ""
        raise UsageError(
            f"{number} unlabelled images{without} are too few to estimate the mix of diagnoses from: give {FEWEST_UNLABELLED} "
            "or more, or labelled ones by --data."
        )
    features = seen.seen.features[is_kept]
    after = estimated_mix(replace(old, log_shift=np.zeros_like(old.log_shift)).probabilities(features), before)
    moved, exponent = np.log(after / before), float(bundle.facts.decision.get("exponent") or 0.0)
    shift = rule - exponent * moved if rule.any() else rule
    head = Head(old.kernel, (old.bias + moved).astype(np.float32), shift.astype(np.float32))
    described = f"{number:,} images without labels"
    facts = facts_of_mix(
        bundle.facts,
        head,
        head.probabilities(features),
        data=described,
        card=_card(bundle.facts, described),
        counts=after * number,
    )
    return AdaptedMix(bundle, facts, head, seen, before, after, rejected)


def write_mix(adapted: AdaptedMix, out: Path) -> float:
    """Write the new model file, whole or not at all; return as `lesionlab.lifecycle.adapt.write_model`."""
    old, head, seen = adapted.old, adapted.head, adapted.unlabelled
    return write_with_head(
        old,
        head,
        adapted.facts,
        out,
        reader(old, seen.files),
        head.probabilities(np.asarray(seen.seen.features)[:PROVED_ON]),
    )


def _card(old: Facts, data: str) -> str:
    return (
        f"# Model card: {old.name}, corrected for a mix of diagnoses\n\n**{NOT_A_DEVICE}**\n\nCorrected for the mix of diagnoses "
        f"of {data}, estimated by expectation maximisation (doi:10.1162/089976602753284446). Nothing was measured: there were no "
        "labels. The prediction sets and operating points of the old model are left out, since they hold for its mix alone.\n\n"
        f"## The model that was corrected\n\nIt says of its training: {old.training_data}. Licence: {old.licence}.\n"
    )
