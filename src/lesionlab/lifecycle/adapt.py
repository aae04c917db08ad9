"""`lesionlab adapt`: a model file adapted to the images of a clinic; without Keras.

In: a model file, and labelled images, or images without labels. Out: a new model file that answers in the clinic's diagnoses, a
report, and tables of what to label next and of labels to look at again.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lesionlab.data.isic_ids import joined_ids, written_ids
from lesionlab.data.patient_table import patients_of
from lesionlab.errors import UsageError
from lesionlab.evaluation.before_after import DiagnosisGain, Gain, before_after, by_diagnosis
from lesionlab.evaluation.label_errors import suspects
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics_file import Suspect
from lesionlab.evaluation.patient_fit import do_help
from lesionlab.evaluation.patient_terms import PatientTerms
from lesionlab.folders import as_data
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.facts import Facts
from lesionlab.lifecycle.adapted_facts import facts_of_adapted, own_rule, training_mix
from lesionlab.lifecycle.clinic_images import Labelled, read_labelled, reader
from lesionlab.lifecycle.new_head import write_with_head
from lesionlab.lifecycle.prepare import fingerprint
from lesionlab.model.adapt.candidates import ClinicImages
from lesionlab.model.adapt.choose import Choice, choose
from lesionlab.model.adapt.start import Start, start_from
from lesionlab.model.export.head import Head, read_head, refuse_without_onnx
from lesionlab.report.adapted_card import adapted_card
from lesionlab.taxonomy import Taxonomy

PROVED_ON = 32  # images
_USUAL_EXPONENT = 0.875  # of a mix that the model's rule does not tell


@dataclass(frozen=True, eq=False)
class Adapted:
    """A model that was adapted, not yet written.

    Attributes:
        old: the model; `facts` of the new file.
        labelled: the clinic's images; `start` is the old head in their diagnoses.
        choice: what cross-validation chose.
        before: what the old model says of the images; `after` what heads say that have not seen them.
        gains: every figure before and after, with intervals over lesions.

    """

    old: Bundle
    facts: Facts
    labelled: Labelled
    start: Start
    choice: Choice
    before: LabelledPredictions
    after: LabelledPredictions
    gains: list[Gain]

    @cached_property
    def diagnoses(self) -> list[DiagnosisGain]:
        """The sensitivity of each diagnosis before and after."""
        return by_diagnosis(self.before, self.after)

    @cached_property
    def suspects(self) -> list[Suspect]:
        """Labels that may be wrong, the most suspect first."""
        return suspects(self.after, list(self.labelled.table["image_id"]))

    @property
    def not_dermatoscopic(self) -> list[str]:
        """Ids of the labelled images that the old model calls not dermatoscopic, the strangest first."""
        rejected, scores = self.labelled.seen.is_rejected, self.labelled.seen.ood_scores
        if rejected is None or scores is None:
            return []
        order = np.argsort(-scores, kind="stable")
        return list(self.labelled.table["image_id"].to_numpy()[order[rejected[order]]])


def adapt(
    model: str | Path | None,
    data: Path | str | Sequence[Path | str],
    *,
    taxonomy: Taxonomy | None = None,
    image_types: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Adapted:
    """Adapt a model to the labelled images of a clinic; `write_model` writes it.

    Args:
        model: as of `lesionlab.inference.bundle.open_bundle`.
        data: labelled images, a folder or several, in any layout that `lesionlab run` reads.
        taxonomy: the diagnoses to answer in; None for those of the data.
        image_types: kinds of image to use, see `read_collection`.
        seed: of the folds.

    Raises:
        UsageError: the package onnx is missing; a model whose head cannot be replaced; data of one diagnosis, of fewer than ten
            lesions, or of diagnoses that the model knows none of.

    """
    refuse_without_onnx("lesionlab adapt")
    bundle = open_bundle(model).with_features()
    head = read_head(bundle.data, own_rule(bundle.facts), bundle.facts.name)
    if taxonomy is not None:
        start_from(head, bundle.facts.taxonomy, taxonomy)  # refuses what does not fit, before any image is read
    labelled = read_labelled(as_data(data), bundle, taxonomy, image_types)
    images = images_of(bundle.facts, head, labelled)
    return _adapted(bundle, labelled, images, choose(images, seed=seed), seed)


def images_of(facts: Facts, head: Head, labelled: Labelled) -> ClinicImages:
    """Give labelled images as the choice among heads takes them."""
    start = start_from(head, facts.taxonomy, labelled.taxonomy)
    features = labelled.seen.features
    if features is None or features.shape[1] != len(head.kernel):
        raise UsageError(f"The features are not those that the head of {facts.name} takes: they are of another model.")
    rule, shift = in_clinic(own_rule(facts), start), in_clinic(mix_shift(facts), start)
    table = labelled.table
    return ClinicImages(features, labelled.labels, table["group"].to_numpy(), labelled.lesions, start, rule, shift)


def mix_shift(facts: Facts) -> np.ndarray:
    """Give the shift (k,) that takes the mix of the training images out of a model's logits; zeros where it is not known."""
    rule, mix = own_rule(facts), training_mix(facts)
    return rule if rule.any() or mix is None else -_USUAL_EXPONENT * np.log(mix)


def write_model(adapted: Adapted, out: Path) -> float:
    """Write the new model file, whole or not at all; return the largest difference from its head in NumPy on real images.

    Raises:
        LesionlabError: the file answers otherwise than the head that was chosen; nothing is written then.

    """
    old, head, features = adapted.old, adapted.choice.head, adapted.labelled.seen.features
    read = reader(old, list(adapted.labelled.table["path"]))
    return write_with_head(old, head, adapted.facts, out, read, head.probabilities(np.asarray(features)[:PROVED_ON]))


def in_clinic(values: np.ndarray, start: Start) -> np.ndarray:
    """Bring a value of each of the model's diagnoses (old k,) to those of the clinic (k,); new ones have the mean, 0."""
    origin = np.array(start.origin)
    is_known = origin >= 0
    found = np.where(is_known, values[np.where(is_known, origin, 0)], 0.0)
    return np.where(is_known, found - found[is_known].mean(), 0.0)


def _kept_terms(old: Facts, labelled: Labelled, after: LabelledPredictions) -> PatientTerms | None:
    """Keep what the model knows of age, sex and site where it helps the new answers too, in the same diagnoses."""
    if old.patient is None or old.taxonomy.dx != labelled.taxonomy.dx:
        return None
    return old.patient if do_help(old.patient, after, patients_of(labelled.table)) else None


def _adapted(bundle: Bundle, labelled: Labelled, images: ClinicImages, choice: Choice, seed: int) -> Adapted:
    taxonomy, lesions, labels = labelled.taxonomy, labelled.lesions, labelled.labels
    old = images.start.probabilities_of(labelled.seen.probabilities)
    before, after = (LabelledPredictions(labels, p, lesions, taxonomy) for p in (old, choice.out_of_fold))
    exponent = float(bundle.facts.decision.get("exponent") or 0.0) if choice.has_own_rule else choice.rule_exponent
    kept = labelled.table
    described = (
        f"{len(kept):,} images of {kept['lesion_id'].nunique():,} lesions, fingerprint {fingerprint(kept)[:16]}, read as "
        f"{labelled.collection.layout}"
    )
    counts = images.start.counts_of(bundle.facts.diagnosis_counts) if choice.has_own_rule else ()
    seen = labelled.seen.ood_scores
    facts = facts_of_adapted(
        bundle.facts, taxonomy, choice.head, exponent, after, seen, data=described, card="", counts=counts
    )
    ids = joined_ids(bundle.facts.training_ids, written_ids(kept["image_id"]))
    facts = dataclasses.replace(facts, training_ids=ids, patient=_kept_terms(bundle.facts, labelled, after))
    made = Adapted(bundle, facts, labelled, images.start, choice, before, after, before_after(before, after, seed=seed))
    card = adapted_card(
        old=bundle.facts,
        data=described,
        words=choice.words,
        new=images.start.new,
        gains=made.gains,
        diagnoses=made.diagnoses,
    )
    return dataclasses.replace(made, facts=dataclasses.replace(facts, card=card))
