"""Step 14: what a model's probabilities are worth on one part of the data, with intervals.

In: `LabelledPredictions` of n images, of any number of diagnoses k. Out: the values of `lesionlab.evaluation.values`.
Balanced accuracy is the mean of the sensitivities (recalls) of the diagnoses that occur; macro AUC the mean of their
one-against-rest areas. An undefined figure is NaN (null in JSON), and its support stands beside it.
"""

from typing import Any

import msgspec
import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_curve

from lesionlab.evaluation.answers import UNDECIDED, answers_of
from lesionlab.evaluation.intervals import (
    AT_SPECIFICITY,
    CLASS_FIGURES,
    FEW_LESIONS,
    auc_interval,
    bootstrap,
    effective_number,
    percentile_interval,
    ranking,
    wilson_interval,
)
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.tasks import asked_for
from lesionlab.evaluation.values import (
    Curves,
    DiagnosisFigures,
    Figure,
    Headline,
    Interval,
    PartFigures,
    PrecisionRecallCurve,
    RocCurve,
)

_CURVE_POINTS = 200
HEADLINE = ("balanced_accuracy", "macro_auc", "accuracy")  # what runs are compared by
_WITH_INTERVAL = (*HEADLINE, "log_loss")
_RATES = ("sensitivity", "specificity", "ppv", "npv")  # shares of lesions, of which Wilson's interval can be taken


def title(name: str, n_diagnoses: int) -> str:
    """Word a headline figure; of two diagnoses, balanced accuracy is that of one threshold, and this says so."""
    words = name.replace("_", " ").replace("auc", "AUC")
    if n_diagnoses == 2:
        return {"macro_auc": "AUC"}.get(name, f"{words} at 0.5")
    return words


def evaluate_part(part: LabelledPredictions, *, seed: int) -> PartFigures:
    """Every figure of one part.

    Args:
        part: its images; the bootstrap draws lesions, not images.
        seed: of the bootstrap.

    Returns:
        What `metrics.json` holds for a part; shares 0 to 1, NaN where undefined. `undecided` counts ties, which are wrong and
        which `confusion` leaves out. `intervals` are those of the bootstrap; where no draw differs (all predictions right),
        accuracy has Wilson's and the others none; of one lesion alone there are none. In `per_class` so has a share that no
        draw moves (0 of 5, 9 of 9); an AUC of few lesions, or that no draw moves, has Newcombe's, and average precision none;
        `sensitivity_interval` is Wilson's always. All count lesions.

    """
    confusion = confusion_matrix(part.labels, part.predicted, labels=range(part.n_diagnoses))
    counts = np.bincount(part.labels, minlength=part.n_diagnoses)
    draws = bootstrap(part, seed=seed)
    focus = part.taxonomy.focus
    place = part.taxonomy.index_of[focus] if focus else None
    return PartFigures(
        images=len(part),
        lesions=part.n_lesions,
        undecided=int((part.predicted == UNDECIDED).sum()),
        **msgspec.structs.asdict(headline(part.labels, part.probabilities)),
        focus_at_90=None if place is None else sensitivity_at(part.labels == place, part.probabilities[:, place]),
        majority_accuracy=float(counts.max() / counts.sum()),
        intervals=_headline_intervals(part, draws, place),
        per_class={dx: _of_diagnosis(part, index, draws) for index, dx in enumerate(part.taxonomy.dx)},
        confusion=confusion.tolist(),
    )


def _headline_intervals(
    part: LabelledPredictions, draws: dict[str, np.ndarray], focus: int | None
) -> dict[str, Interval]:
    none: list[Figure] = [float("nan")] * 2
    of_draws = {name: draws[name] for name in _WITH_INTERVAL}
    if focus is not None:
        of_draws["focus_at_90"] = draws["sensitivity_at_90"][:, focus]
    bounds = {name: percentile_interval(values) for name, values in of_draws.items()}
    intervals: dict[str, Interval] = {name: [low, high] for name, (low, high) in bounds.items()}
    if np.isnan(bounds["accuracy"][0]) and part.n_lesions > 1:
        intervals["accuracy"] = wilson_interval(float(part.is_right.mean()), effective_number(part.lesions)) or none
    if focus is not None and len(np.unique(part.lesions[part.labels == focus])) < FEW_LESIONS:
        intervals["focus_at_90"] = none
    return intervals


def sensitivity_at(is_positive: np.ndarray, score: np.ndarray, specificity: float = AT_SPECIFICITY) -> float:
    """Read the sensitivity at a specificity off the ROC curve of these very images; NaN where one side is empty."""
    return float(ranking(is_positive, score, np.ones((1, len(score)), np.float32), specificity)[2][0])


def _of_diagnosis(part: LabelledPredictions, index: int, draws: dict[str, np.ndarray]) -> DiagnosisFigures:
    """Take the figures of a diagnosis, by its place, against the rest; see `evaluate_part`."""
    is_positive, is_predicted, lesions = part.labels == index, part.predicted == index, part.lesions
    figures = _class_figures(is_positive, part.probabilities[:, index], is_predicted)
    of_class = {name: draws[name][:, index] for name in CLASS_FIGURES}
    return DiagnosisFigures(
        images=int(is_positive.sum()),
        lesions=len(np.unique(lesions[is_positive])),
        **figures,
        sensitivity_interval=wilson_interval(figures["sensitivity"], effective_number(lesions[is_positive])),
        intervals=_class_intervals(is_positive, is_predicted, lesions, of_class, figures),
    )


def _class_intervals(
    is_positive: np.ndarray,
    is_predicted: np.ndarray,
    lesions: np.ndarray,
    draws: dict[str, np.ndarray],
    figures: dict[str, float],
) -> dict[str, Interval]:
    """Interval of each of `CLASS_FIGURES`, see `evaluate_part`."""
    whole = {"sensitivity": is_positive, "specificity": ~is_positive, "ppv": is_predicted, "npv": ~is_predicted}
    intervals: dict[str, Interval] = {}
    for name in CLASS_FIGURES:
        low, high = percentile_interval(draws[name])
        intervals[name] = [low, high]
        if np.isnan(low):
            number = effective_number(lesions[whole[name]]) if name in _RATES else 0
            intervals[name] = wilson_interval(figures[name], number)
    sides = effective_number(lesions[is_positive]), effective_number(lesions[~is_positive])
    if min(sides) < FEW_LESIONS:
        intervals["average_precision"] = None
    if min(sides) < FEW_LESIONS or intervals["auc"] is None:
        intervals["auc"] = auc_interval(figures["auc"], *sides)
    return intervals


def headline(labels: np.ndarray, probabilities: np.ndarray) -> Headline:
    """Accuracy, balanced accuracy, macro AUC and log loss (natural logarithm, probabilities clipped at 1e-15).

    Args:
        labels: integers (n,), 0 to k - 1.
        probabilities: float (n, k), rows sum to 1; the largest is the prediction, a tie is none.

    """
    predicted = answers_of(probabilities)
    hits = predicted == labels
    recalls = [hits[labels == index].mean() for index in np.unique(labels)]
    aucs = [auc(labels == index, probabilities[:, index]) for index in np.unique(labels)]
    chosen = probabilities[np.arange(len(labels)), labels]
    return Headline(
        accuracy=float(hits.mean()),
        balanced_accuracy=float(np.mean(recalls)),
        macro_auc=float(np.mean(aucs)),
        log_loss=float(-np.log(np.maximum(chosen, 1e-15)).mean()),
    )


def auc(is_positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney); ties count half; NaN where one side is empty."""
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def curves(part: LabelledPredictions) -> Curves:
    """ROC and precision-recall curves of each diagnosis that occurs, of two of one; thinned to at most 200 points."""
    roc, precision_recall = {}, {}
    for dx in asked_for(part.taxonomy):
        index = part.taxonomy.index_of[dx]
        is_positive, score = part.labels == index, part.probabilities[:, index]
        if not is_positive.any() or is_positive.all():
            continue
        fpr, tpr, _ = roc_curve(is_positive, score)
        precision, recall, _ = precision_recall_curve(is_positive, score)
        roc[dx] = RocCurve(fpr=thin(fpr), tpr=thin(tpr))
        precision_recall[dx] = PrecisionRecallCurve(sensitivity=thin(recall), ppv=thin(precision))
    return Curves(roc=roc, precision_recall=precision_recall)


def _class_figures(is_positive: np.ndarray, score: np.ndarray, is_predicted: np.ndarray) -> dict[str, float]:
    true_positives = int((is_positive & is_predicted).sum())
    recall = _ratio(true_positives, is_positive.sum())
    precision = _ratio(true_positives, is_predicted.sum())
    return {
        "ppv": precision,
        "sensitivity": recall,
        "specificity": _ratio((~is_positive & ~is_predicted).sum(), (~is_positive).sum()),
        "npv": _ratio((~is_positive & ~is_predicted).sum(), (~is_predicted).sum()),
        "f1": _ratio(2 * true_positives, is_positive.sum() + is_predicted.sum()) if is_positive.any() else float("nan"),
        "auc": auc(is_positive, score),
        "average_precision": float(average_precision_score(is_positive, score)) if is_positive.any() else float("nan"),
        "misclassified": 1 - recall,
    }


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")


def thin(values: np.ndarray) -> list[float]:
    """Take at most 200 of the points of a curve (n,), evenly, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(values) - 1, min(len(values), _CURVE_POINTS)).round().astype(int))
    return [round(float(value), 6) for value in values[chosen]]
