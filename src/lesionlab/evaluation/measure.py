"""Everything that is measured of a model's predictions, whether a run asks or `lesionlab evaluate`.

In: `LabelledPredictions` of the test part and, where there is one, of a validation part that thresholds are chosen on. Without
it, thresholds are chosen and promises made on one part of the lesions and evaluated on another, in turn: nothing is evaluated
where it was chosen. Out: `Metrics`, as `metrics.json` holds them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd

from lesionlab.evaluation import abstention, conformal, operating_points
from lesionlab.evaluation.abstention import RISKS
from lesionlab.evaluation.calibration import calibration
from lesionlab.evaluation.costs import expected_cost
from lesionlab.evaluation.intervals import in_words
from lesionlab.evaluation.label_errors import suspects
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import HEADLINE, curves, evaluate_part, headline, title
from lesionlab.evaluation.metrics_file import DecisionFacts, Metrics, Robustness, as_written
from lesionlab.evaluation.prediction_sets import Conformal
from lesionlab.evaluation.set_values import RepeatedSets, SetFigures
from lesionlab.evaluation.subgroups import subgroups
from lesionlab.evaluation.tasks import MALIGNANT, as_task, tasks_of
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.evaluation.values import (
    Abstention,
    ChosenThreshold,
    EvaluatedFigures,
    HistologyFigures,
    ModelThreshold,
    NetBenefit,
    Stage,
    TaskFigures,
)
from lesionlab.evaluation.vector_scaling import cross_fitted, fit_vector_scaling, fitted_temperature

CONFIRMED = "histo"
GIVEN = ("as the model gives them", "as the model gives them, with age, sex and site")  # without, and with metadata
OWN = "threshold of predict"  # what `predict` calls malignant by


@dataclass(frozen=True, eq=False)
class Parts:
    """What is measured.

    Attributes:
        table: of the test part, in the order of its predictions: `image_id` and the columns of `lesionlab.evaluation.subgroups`.
        test: evaluated.
        validation: thresholds are chosen and promises made on it; None to do both within the test part, crosswise.
        train: of a run.
        sets_on: the validation part as it is predicted by a scaling that was not fitted to it: what prediction sets are
            calibrated on; None where validation is so itself.

    """

    table: pd.DataFrame
    test: LabelledPredictions
    validation: LabelledPredictions | None = None
    train: LabelledPredictions | None = None
    sets_on: LabelledPredictions | None = None


@dataclass(frozen=True, eq=False)
class Stages:
    """Probabilities (n, k) of the test part at other stages than as they are given.

    Attributes:
        probabilities: by key of `Metrics.stages`, from the network's own on.
        labels: what was done to each, in words, by the same key.
        given: what was done to the probabilities as they are given, in words.
        calibrated: key of those that decision curves take, which must be calibrated.

    """

    probabilities: Mapping[str, np.ndarray]
    labels: Mapping[str, str]
    given: str
    calibrated: str


@dataclass(frozen=True, eq=False)
class ModelChoices:
    """What a model was stored with, to be evaluated on these images.

    Attributes:
        malignant: threshold from which `predict` calls an image malignant; None: it has none.
        uncertainty: above which `predict` calls an image uncertain; None: it never does.
        operating: thresholds that were chosen in the model's run.
        is_rejected: bool (n,), images that `predict` calls not dermatoscopic; None where the model has no such score.

    """

    malignant: float | None = None
    uncertainty: float | None = None
    operating: Sequence[ChosenThreshold] = ()
    is_rejected: np.ndarray | None = None


def measure(
    parts: Parts,
    stages: Stages,
    *,
    promise: Conformal | None,
    is_generated: bool,
    seed: int,
    decision: DecisionFacts | None = None,
    model: ModelChoices | None = None,
    costs: np.ndarray | None = None,
    risks: Sequence[float] = RISKS,
    robustness: Robustness | None = None,
) -> Metrics:
    """Take every figure.

    Args:
        parts: labelled predictions.
        stages: of the test part's probabilities.
        promise: of prediction sets; None where nothing is promised.
        is_generated: whether the lesions are of no patient.
        seed: of every random draw.
        decision: of a run; the thresholds of its operating points are added.
        model: of an evaluation elsewhere.
        costs: (k, k), as `lesionlab.evaluation.costs.read_costs` gives.
        risks: highest error rates allowed among answered images.
        robustness: as measured on the same images.

    """
    test, own = parts.test, model or ModelChoices()
    metrics = msgspec.structs.replace(
        _figures(parts, stages, promise, is_generated, seed, decision),
        abstention=_abstention(test, parts.validation, risks, seed),
        costs=None if costs is None else expected_cost(test, costs, seed=seed),
        model_thresholds=_model_thresholds(test, own),
        model_uncertain=_uncertain(test, own),
        model_rejected=None if own.is_rejected is None else int(own.is_rejected.sum()),
        robustness=robustness,
    )
    return as_written(metrics)


def _figures(
    parts: Parts,
    stages: Stages,
    promise: Conformal | None,
    is_generated: bool,
    seed: int,
    decision: DecisionFacts | None,
) -> Metrics:
    """Take the figures that every part has, whoever predicted it; the others are absent."""
    test, validation, taxonomy = parts.test, parts.validation, parts.test.taxonomy
    points = _operating_points(test, validation, seed)
    return Metrics(
        is_generated=is_generated,
        diagnoses=list(taxonomy.dx),
        malignant=list(taxonomy.malignant),
        focus=taxonomy.focus,
        train=None if parts.train is None else evaluate_part(parts.train, seed=seed),
        validation=None if parts.train is None or validation is None else evaluate_part(validation, seed=seed),
        test=EvaluatedFigures(
            **msgspec.structs.asdict(evaluate_part(test, seed=seed)), calibration=calibration(test, seed=seed)
        ),
        chosen_on="crosswise" if validation is None else "validation",
        decision=decision and msgspec.structs.replace(decision, operating=chosen_thresholds(points)),
        stages=_stages(test, stages, seed),
        given=stages.given,
        histology=histology(parts.table, test, seed=seed),
        subgroups=subgroups(parts.table, test, seed=seed),
        operating_points=points,
        decision_curves=_decision_curves(test.with_probabilities(stages.probabilities[stages.calibrated])),
        decision_curves_of=stages.labels[stages.calibrated],
        conformal=None if promise is None else conformal.measure(test, promise),
        conformal_raps=_raps(test, validation if parts.sets_on is None else parts.sets_on),
        conformal_repeated=_repeated(test, validation, seed),
        risk_coverage=abstention.risk_coverage(test, uncertainties(test.probabilities)),
        abstention=[],
        suspects=suspects(test, parts.table["image_id"].tolist()),
        curves=curves(test),
    )


def recalibrated(
    test: LabelledPredictions, validation: LabelledPredictions | None, *, seed: int, given: str = GIVEN[0]
) -> Stages:
    """Give the stages of an evaluation elsewhere: after a temperature and after vector scaling, chosen on other lesions."""
    found = {}
    for name, fit in (("temperature", fitted_temperature), ("vector", fit_vector_scaling)):
        if validation is not None:
            found[name] = fit(validation.labels, validation.probabilities)(test.probabilities)
        else:
            found[name] = cross_fitted(fit, test, seed=seed)
    labels = {"temperature": "after a temperature", "vector": "after vector scaling"}
    return Stages(found, labels, given=given, calibrated="vector")


def histology(table: pd.DataFrame, test: LabelledPredictions, *, seed: int) -> HistologyFigures | None:
    """Take the figures of the lesions confirmed by histology alone, None where none is known to be.

    The others were followed up, looked at by several people or under a confocal microscope: easier lesions, surer nevi.
    """
    if "dx_type" not in table or not (table["dx_type"] == CONFIRMED).any():
        return None
    found = evaluate_part(test.take((table["dx_type"] == CONFIRMED).to_numpy()), seed=seed)
    kept = set(HistologyFigures.__struct_fields__)
    figures = {name: value for name, value in msgspec.structs.asdict(found).items() if name in kept}
    return HistologyFigures(**figures, counts={dx: row.images for dx, row in found.per_class.items()})


def chosen_thresholds(tasks: Mapping[str, TaskFigures]) -> list[ChosenThreshold]:
    """Give the thresholds of the operating points, as a model file carries them."""
    return [
        ChosenThreshold(task=name, wanted=point.wanted, at_least=point.at_least, threshold=point.threshold)
        for name, task in tasks.items()
        for point in task.points
    ]


def headline_in_words(metrics: Metrics) -> list[str]:
    """Word the headline figures of the test part, a line each."""
    test, k = metrics.test, len(metrics.diagnoses)
    titles = {name: title(name, k).replace("AUC", "auc") for name in HEADLINE}
    width = max(18, *map(len, titles.values()))
    return [f"{titles[name]:{width}} {in_words(getattr(test, name), test.intervals[name])}" for name in HEADLINE]


def _stages(test: LabelledPredictions, stages: Stages, seed: int) -> dict[str, Stage]:
    found = {}
    for name, probabilities in stages.probabilities.items():
        figures = msgspec.structs.asdict(headline(test.labels, probabilities))
        errors = calibration(test.with_probabilities(probabilities), seed=seed)
        found[name] = Stage(label=stages.labels[name], **figures, calibration=errors)
    return found


def _decision_curves(part: LabelledPredictions) -> dict[str, list[NetBenefit]]:
    return {
        name: operating_points.net_benefit(*as_task(part, codes)) for name, codes in tasks_of(part.taxonomy).items()
    }


def _operating_points(
    test: LabelledPredictions, validation: LabelledPredictions | None, seed: int
) -> dict[str, TaskFigures]:
    if validation is None:
        return operating_points.cross_evaluated(test, seed=seed)
    return operating_points.operating_points(validation, test, seed=seed)


def _abstention(
    test: LabelledPredictions, validation: LabelledPredictions | None, risks: Sequence[float], seed: int
) -> list[Abstention]:
    if validation is None:
        return abstention.cross_evaluated(test, seed=seed, risks=risks)
    return abstention.abstention(validation, test, risks)


def _raps(test: LabelledPredictions, calibrated_on: LabelledPredictions | None) -> SetFigures | None:
    if calibrated_on is None:
        return None
    return conformal.measure(test, conformal.calibrate(calibrated_on, penalty=conformal.RAPS_PENALTY))


def _repeated(
    test: LabelledPredictions, validation: LabelledPredictions | None, seed: int
) -> dict[str, RepeatedSets] | None:
    """Measure both kinds of sets on random halves of all images that were not trained on; None of one lesion alone."""
    part = test if validation is None else validation.joined(test)
    if part.n_lesions < 2:
        return None
    return {
        name: conformal.repeated(part, seed=seed, penalty=penalty)
        for name, penalty in (("aps", 0.0), ("raps", conformal.RAPS_PENALTY))
    }


def _model_thresholds(test: LabelledPredictions, model: ModelChoices) -> list[ModelThreshold]:
    """Evaluate the thresholds stored in the model: that of `predict`, then those chosen in its run."""
    own = ChosenThreshold(task=MALIGNANT, wanted=OWN, at_least=None, threshold=model.malignant)
    tasks, rows = tasks_of(test.taxonomy), []
    for chosen in (own, *model.operating):
        if chosen.threshold is None or chosen.task not in tasks:
            continue
        is_positive, score = as_task(test, tasks[chosen.task])
        if is_positive.any() and not is_positive.all():
            shares = operating_points.evaluate_threshold(is_positive, score, chosen.threshold, test.lesions)
            rows.append(ModelThreshold(**msgspec.structs.asdict(chosen), **shares))
    return rows


def _uncertain(test: LabelledPredictions, model: ModelChoices) -> int:
    """Count the images that `predict` would call uncertain, those apart that it rejects."""
    if model.uncertainty is None:
        return 0
    is_unsure = uncertainties(test.probabilities) > model.uncertainty
    return int(is_unsure.sum() if model.is_rejected is None else (is_unsure & ~model.is_rejected).sum())
