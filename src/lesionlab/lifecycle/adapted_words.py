"""An adaptation in words: what was done, what it promises, what it cannot; for the terminal and for the report."""

from collections import Counter
from collections.abc import Sequence

from lesionlab.data.patient_table import patients_of
from lesionlab.evaluation.before_after import FEWEST_LESIONS
from lesionlab.evaluation.notebook_html import interval_text
from lesionlab.evaluation.patient_fit import FEWEST, n_known
from lesionlab.evaluation.prediction_sets import images_needed
from lesionlab.lifecycle.adapt import Adapted
from lesionlab.lifecycle.adapt_mix import AdaptedMix
from lesionlab.lifecycle.clinic_images import Unlabelled
from lesionlab.lifecycle.overlap import find_known
from lesionlab.model.adapt.start import otherwise_malignant

_FEW = 100  # lesions below which intervals are wide
_SHOWN = 5
_NOT_COUNTED = (
    "The model file does not count its training images: their mix is worked out from its decision rule, which takes rare "
    "diagnoses for less rare than they were."
)


def adapted_in_words(adapted: Adapted) -> list[str]:
    """Say what was adapted and what it brings, a line each."""
    choice, n = adapted.choice, adapted.after.n_lesions
    lines = [f"{len(adapted.after):,} labelled images of {n:,} lesions, {len(adapted.labelled.taxonomy)} diagnoses."]
    lines.append(f"Chosen by cross-validation: {choice.words}.")
    for gain in adapted.gains:
        interval = interval_text(gain.difference_interval, signed=True).replace("–", "no interval")
        lines.append(
            f"  {gain.name:32} {gain.before:.3f} -> {gain.after:.3f}   difference {gain.difference:+.3f} ({interval}): "
            f"{gain.verdict}"
        )
    return lines + remarks(adapted)


def remarks(adapted: Adapted) -> list[str]:
    """Say what the lesions can and cannot bear, and what the new file does otherwise, a sentence or two each."""
    found = [_on_number(adapted.after.n_lesions), _on_training(adapted), _on_groups(adapted)]
    found += [text for text in (_on_left_out(adapted), _on_names(adapted)) if text]
    few = [f"{d.dx} ({d.lesions})" for d in adapted.diagnoses if d.lesions < FEWEST_LESIONS]
    if few:
        found.append(
            f"No sensitivity is stated of diagnoses with fewer than {FEWEST_LESIONS} lesions: {', '.join(few)}. Label more."
        )
    found += [
        text
        for text in (
            _on_sets(adapted),
            _on_threshold(adapted),
            _on_malignant(adapted),
            _on_lacking(adapted),
            _on_ood(adapted),
            _on_patients(adapted),
        )
        if text
    ]
    return found


def mix_in_words(adapted: AdaptedMix) -> list[str]:
    """Say what a correction without labels has found, a line each."""
    taxonomy = adapted.old.facts.taxonomy
    pairs = zip(taxonomy.dx, adapted.mix_before, adapted.mix_after, strict=True)
    shares = ", ".join(f"{dx} {after:.1%} (in training {before:.1%})" for dx, before, after in pairs)
    return [
        f"{len(adapted.unlabelled.images):,} images without labels{_unreadable(adapted.unlabelled)}.",
        *_on_rejected(adapted.rejected),
        f"Estimated mix of diagnoses: {shares}.",
        *(
            [f"Too rare in training to be estimated, left as it was: {', '.join(adapted.too_rare)}."]
            if adapted.too_rare
            else []
        ),
        *([] if adapted.is_counted else [_NOT_COUNTED]),
        "Probabilities are corrected for it. Nothing is measured without labels, so that nothing is promised: prediction sets, "
        "operating points, and age, sex and site are left out. Label ten lesions or more, of two diagnoses or more, to measure.",
    ]


def _unreadable(unlabelled: Unlabelled) -> str:
    found = unlabelled.unreadable
    return f"; {len(found):,} more cannot be read ({found[0].source}: {found[0].reason})" if found else ""


def unlabelled_in_words(unlabelled: Unlabelled) -> str:
    """Say how many images were ranked, and what could not be read."""
    return f"{len(unlabelled.images):,} unlabelled images{_unreadable(unlabelled)}"


def _on_rejected(images: Sequence[str]) -> list[str]:
    if not images:
        return []
    return [
        f"{len(images):,} of them, which the model calls not dermatoscopic, are left out of the estimate: {_first(images)}. The "
        "new file calls them so as well."
    ]


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _on_number(lesions: int) -> str:
    if lesions < _FEW:
        return f"{lesions} lesions tell little: the figures may be off by as much as their intervals say. Label {_FEW} or more."
    return (
        "The figures hold for lesions of this clinic, taken with the same dermatoscopes, in the same mix of diagnoses."
    )


def _on_training(adapted: Adapted) -> str:
    old, table = adapted.old.facts, adapted.labelled.table
    known = find_known(adapted.labelled.cleaned, old.training_ids)
    if count := int(known.among(table).sum()):
        return (
            f"Before and after are too good: {count:,} of the {len(table):,} images show a lesion that {old.name} was trained "
            "on, by the ISIC ids in its file. Its features, and its own predictions, know them. Adapt to others."
        )
    if not known.untold:
        return f"{old.name} was trained on none of these lesions, by the ISIC ids in its file."
    told = f" {old.name} says of its training: {old.training_data}." if old.training_data else ""
    return (
        "Before and after are too good where the model was trained on these lesions, which only you can know: its features, and "
        f"its own predictions, know them.{told}"
    )


def _on_groups(adapted: Adapted) -> str:
    cleaned = adapted.labelled.cleaned
    if cleaned.is_by_points:
        return (
            "Photographs of one lesion that an earlier command found point by point "
            f"({len(cleaned.pairs):,} pairs) lie in one fold of the cross-validation."
        )
    return (
        "Photographs of one lesion that were turned or taken at another zoom were not looked for, and may lie in two folds: "
        "'lesionlab check' with the extra 'match' finds them in the same folder, then adapt again."
    )


def _on_patients(adapted: Adapted) -> str:
    if adapted.old.facts.patient is None:
        return ""
    if adapted.facts.patient:
        return (
            "Age, sex and site help these images too: the new file takes them as the old one does (predict --metadata)."
        )
    if adapted.old.facts.taxonomy.dx != adapted.facts.taxonomy.dx:
        why = "it predicts other diagnoses than the old one"
    elif not (n := n_known(adapted.labelled.lesions, patients_of(adapted.labelled.table))):
        why = "the data do not have them"
    elif n < FEWEST:
        why = f"they are known of {n} lesions, and of fewer than {FEWEST} it cannot be told whether they help"
    else:
        why = "what the old file knows of them does not help with these images"
    return f"The new file does not take age, sex and site: {why}."


def _on_sets(adapted: Adapted) -> str:
    promise = adapted.facts.conformal
    if promise is None:
        return ""
    needed = images_needed(promise.coverage)
    kept = [dx for dx, is_promised in zip(adapted.labelled.taxonomy.dx, promise.promised, strict=True) if is_promised]
    if not kept:
        return f"Prediction sets promise nothing: no diagnosis has the {needed} lesions that this needs."
    return (
        f"Prediction sets hold the true diagnosis in {promise.coverage:.0%} of the lesions of {', '.join(kept)}; of other "
        "diagnoses nothing is promised."
    )


def _on_left_out(adapted: Adapted) -> str:
    reasons = [str(reason) for reason in adapted.labelled.cleaned.set_aside["reason"]]
    reasons += ["cannot be read any more"] * (len(adapted.labelled.cleaned.table) - len(adapted.labelled.table))
    if not reasons:
        return ""
    counts = ", ".join(f"{count:,} ({reason})" for reason, count in Counter(reasons).most_common(_SHOWN))
    return f"{len(reasons):,} images were left out: {counts}. 'lesionlab check' lists them."


def _on_names(adapted: Adapted) -> str:
    """Say which diagnoses are the model's under another code, and which are new to it."""
    start, model = adapted.start, adapted.old.facts.taxonomy
    pairs = [(dx, place) for dx, place in zip(start.taxonomy.dx, start.origin, strict=True) if place >= 0]
    named = [f"{dx} is its {model.dx[place]}" for dx, place in pairs if dx != model.dx[place]]
    texts = [f"The model knows these under other codes: {', '.join(named)}."] if named else []
    texts += (
        [f"New to the model: {', '.join(start.new)}. It learns them from these lesions alone."] if start.new else []
    )
    return " ".join(texts)


def _on_threshold(adapted: Adapted) -> str:
    old, new = adapted.old.facts.thresholds.malignant, adapted.facts.thresholds.malignant
    if new is None:
        return ""
    moved = f"{new:.3f}" if old is None else f"from {old:.3f} to {new:.3f}"
    return (
        "Set anew by these lesions, also where the model is left as it is: the prediction sets, and the threshold from which on "
        f"predict says malignant, {moved}."
    )


def _on_malignant(adapted: Adapted) -> str:
    own = otherwise_malignant(adapted.start, adapted.old.facts.taxonomy)
    if not own:
        return ""
    return (
        f"{', '.join(own)}: only one of the model and {adapted.labelled.taxonomy.name} counts this as malignant; the new file "
        f"follows {adapted.labelled.taxonomy.name}. If that is not meant, change is_malignant in the taxonomy."
    )


def _on_lacking(adapted: Adapted) -> str:
    present = set(adapted.labelled.table["dx"])
    absent = [dx for dx in adapted.labelled.taxonomy.dx if dx not in present]
    if not absent:
        return ""
    said = f"No labelled lesion shows {', '.join(absent)}: what the file says of these was not measured, and "
    if adapted.choice.has_own_rule:
        return f"{said}is the old model's."
    return (
        f"{said}they count as half an image each, so that it finds them less likely than the old model did. Label some, or leave "
        "out of the taxonomy what the clinic does not see."
    )


def _on_ood(adapted: Adapted) -> str:
    strange, ood = adapted.not_dermatoscopic, adapted.facts.ood
    if ood is None:
        return "The model has no score of what is not dermatoscopic, so that the new file rejects nothing."
    said = f"The new file rejects {ood.refused_share:.1%} of the labelled images as not dermatoscopic."
    old = adapted.old.facts.ood
    if old is not None and ood.threshold > old.threshold:
        said += f" Its limit for that was raised by them, from a score of {old.threshold:.2f} to {ood.threshold:.2f}."
    if not strange:
        return said
    return (
        f"{len(strange):,} labelled images look unlike those that the model was trained on ({_first(strange)}): "
        f"look at them, take out those that are not dermatoscopic, and adapt again. {said}"
    )
