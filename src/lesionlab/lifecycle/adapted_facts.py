"""What an adapted model file says of itself: thresholds, sets and the score of what is not dermatoscopic set anew."""

import dataclasses
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from lesionlab._version import __version__
from lesionlab.evaluation import conformal
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.operating_points import WANTED, choose_threshold
from lesionlab.evaluation.tasks import as_task, tasks_of
from lesionlab.evaluation.values import ChosenThreshold
from lesionlab.inference.facts import ON_ALL, Facts, Ood, Thresholds
from lesionlab.model.decision_rule import choose_thresholds
from lesionlab.model.export.head import Head
from lesionlab.taxonomy import Taxonomy

MOST_REJECTED = 0.01  # of the clinic's own pictures; at most 3 % of its other pictures are to be
_IMAGINED = 0.5  # of an image of each diagnosis, so that none is impossible
_FEWEST = 34  # images from which the largest score of all rejects less than 3 % of others


def own_rule(facts: Facts) -> np.ndarray:
    """Give the shift (k,) of a model's decision rule; zeros where the likeliest diagnosis decides."""
    shift = np.asarray(facts.decision.get("log_shift") or np.zeros(len(facts.taxonomy)), np.float64)
    return shift if shift.shape == (len(facts.taxonomy),) else np.zeros(len(facts.taxonomy))


def training_mix(facts: Facts) -> np.ndarray | None:
    """Give the shares (k,) of the diagnoses where the model was trained; None where the file does not tell.

    Files that do not count them hold them in their decision rule, which takes rare diagnoses for less rare than they are; else
    the images that the prediction sets were calibrated on have about the same.
    """
    if facts.diagnosis_counts:
        counts = np.array(facts.diagnosis_counts) + _IMAGINED
        return counts / counts.sum()
    exponent, shift = float(facts.decision.get("exponent") or 0.0), own_rule(facts)
    if exponent > 0 and shift.any():
        weights = np.exp(-shift / exponent)
        return weights / weights.sum()
    if facts.conformal is not None and any(facts.conformal.images):
        counts = np.array(facts.conformal.images) + _IMAGINED
        return counts / counts.sum()
    return None


def facts_of_adapted(
    old: Facts,
    taxonomy: Taxonomy,
    head: Head,
    exponent: float,
    out_of_fold: LabelledPredictions,
    ood_scores: np.ndarray | None,
    *,
    data: str,
    card: str,
    counts: Sequence[float],
) -> Facts:
    """Give the facts of a file that was adapted to labelled images.

    Args:
        old: of the model that was adapted.
        taxonomy: the clinic's.
        head: the new one.
        exponent: share of the mix in its logits that its rule takes out.
        out_of_fold: predictions of the clinic's images by heads that have not seen their lesions.
        ood_scores: (n,) of the images; None where the model has no such score.
        data: what it was adapted to, in words.
        card: the model card.
        counts: as `Facts.diagnosis_counts`; empty where the rule tells the mix that the probabilities hold.

    """
    return dataclasses.replace(
        old,
        name=f"{old.name}-adapted",
        lesionlab=__version__,
        temperature=1.0,
        decision=_decision(head, exponent) | {"operating": _operating(out_of_fold)},
        thresholds=Thresholds(**choose_thresholds(out_of_fold)),
        conformal=conformal.calibrate(out_of_fold),
        training_data=f"adapted to {data}; made of {old.name}, trained on {_without_end(old.training_data)}{ON_ALL}",
        licence=f"{old.licence}; and that of the clinic's images",
        card=card,
        taxonomy=taxonomy,
        ood=ood_of(old.ood, ood_scores),
        patient=None,  # until they are seen to help the new head's answers too
        diagnosis_counts=tuple(counts),
    )


def facts_of_mix(
    old: Facts,
    head: Head,
    probabilities: np.ndarray,
    *,
    data: str,
    card: str,
    counts: np.ndarray,
) -> Facts:
    """Give the facts of a file that was corrected for the mix of unlabelled images.

    The new probabilities of these are given (n, k), and how many of each diagnosis they are, as estimated (k,).

    Without labels nothing can be promised: there are no sets and no operating points, and what is not dermatoscopic is told as
    before, since nobody says that these images are. The threshold of malignant is where the probabilities themselves expect nine
    of ten malignant images to lie above it.
    """
    from lesionlab.evaluation.uncertainty import uncertainties

    chosen = {"uncertainty": float(np.quantile(uncertainties(probabilities), 0.9))}
    malignant = np.sort(probabilities[:, list(old.taxonomy.is_malignant)].sum(axis=1))[::-1]
    if malignant.sum() > 0 and old.thresholds.malignant is not None:
        found = int(np.searchsorted(np.cumsum(malignant), 0.9 * malignant.sum()))
        chosen["malignant"] = float(min(1.0, malignant[min(found, len(malignant) - 1)]))
    return dataclasses.replace(
        old,
        name=f"{old.name}-adapted",
        lesionlab=__version__,
        temperature=1.0,
        decision=_decision(head, float(old.decision.get("exponent") or 0.0)),
        thresholds=Thresholds(**chosen),
        conformal=None,
        training_data=f"corrected for the mix of diagnoses of {data}; made of {old.name}, trained on {old.training_data}",
        card=card,
        patient=None,  # without labels nothing says whether they help
        diagnosis_counts=tuple(counts.tolist()),
    )


def ood_of(old: Ood | None, scores: np.ndarray | None) -> Ood | None:
    """Set the threshold of what is not dermatoscopic by a clinic's own pictures (n,): 1 % of them lies above it.

    It is never lowered: pictures that are like the training images are dermatoscopic at every clinic. With few pictures nothing
    is known of the rare ones; the largest of their scores stands for them, with a margin below 34 pictures.
    """
    if old is None or scores is None:
        return old
    ordered = np.sort(scores)
    allowed = int(np.floor(MOST_REJECTED * (len(ordered) + 1)))
    found = float(ordered[-1 - allowed]) if allowed else float(ordered[-1])
    if len(ordered) < _FEWEST:
        found += float(np.std(ordered))
    threshold = max(old.threshold, found)
    return Ood(threshold, old.score, float((scores > threshold).mean()), len(scores))


def _decision(head: Head, exponent: float) -> dict[str, object]:
    shift = head.log_shift.astype(np.float64)
    rule = {"rule": "prior-corrected", "exponent": exponent} if shift.any() else {"rule": "argmax", "exponent": 0.0}
    return rule | {"log_shift": shift.tolist(), "temperature": 1.0, "chosen_on": "out of fold"}


def _operating(part: LabelledPredictions) -> list[Mapping[str, object]]:
    """Choose thresholds for what operating points are wanted, on out-of-fold predictions."""
    found = []
    for name, codes in tasks_of(part.taxonomy).items():
        is_positive, score = as_task(part, codes)
        if not is_positive.any() or is_positive.all():
            continue
        for wanted, at_least in WANTED:
            threshold = float(choose_threshold(is_positive, score, wanted, at_least))
            chosen = ChosenThreshold(task=name, wanted=wanted, at_least=at_least, threshold=threshold)
            found.append(msgspec.to_builtins(chosen))
    return found


def _without_end(text: str) -> str:
    return text.removesuffix(ON_ALL)
