"""`metrics.json`: every key with what it means, once. A run and an evaluation elsewhere write the same.

Figures that are not defined are null there; the pieces stand in `lesionlab.evaluation.values`.
"""

from typing import Annotated, Any

import msgspec

from lesionlab.evaluation.patient_terms import PatientTerms
from lesionlab.evaluation.prediction_sets import Conformal
from lesionlab.evaluation.set_values import RepeatedSets, SetFigures
from lesionlab.evaluation.values import (
    Abstention,
    ChosenThreshold,
    Curves,
    EvaluatedFigures,
    Figure,
    HistologyFigures,
    Interval,
    ModelThreshold,
    NetBenefit,
    PartFigures,
    RiskCoverage,
    Stage,
    Subgroup,
    TaskFigures,
    doc,
)
from lesionlab.files import without_nan
from lesionlab.taxonomy import HAM10000


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one way to predict costs."""

    cost: Annotated[float, doc("mean cost an image, in the matrix's unit")]
    interval: Annotated[Interval, doc("bootstrap over lesions")]
    saved: Annotated[Figure, doc("cost of `constant` less this one; null of `constant`")] = None
    saved_interval: Annotated[Interval, doc("paired bootstrap over lesions")] = None


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What three ways to predict cost."""

    matrix: Annotated[
        list[list[float]], doc("cost of each predicted diagnosis (column) for each true diagnosis (row), as given")
    ]
    dx: Annotated[str, doc("the one prediction that costs least on these images")]
    model: Annotated[Cost, doc("of the likeliest diagnosis")]
    cheapest: Annotated[Cost, doc("of the least expected cost by the model's probabilities")]
    constant: Annotated[Cost, doc("of always predicting `dx`")]


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A label that may be wrong."""

    row: Annotated[int, doc("place among the images of the part, from 0")]
    image: Annotated[str, doc("image id")]
    given: Annotated[str, doc("the label, by code")]
    suggested: Annotated[str, doc("what the model holds instead")]
    margin: Annotated[float, doc("probability of the label less that of the suggestion, -1 to 0")]


class RobustnessMean(msgspec.Struct, frozen=True, kw_only=True):
    """Figures on changed images."""

    balanced_accuracy: Annotated[Figure, doc("on changed images")]
    relative: Annotated[Figure, doc("that over the one on images as they are")]
    rise: Annotated[Figure, doc("by how much the balanced error rises")]
    changed: Annotated[Figure, doc("share of images predicted as another diagnosis than before")]
    sensitivity: Annotated[Figure, doc("of malignant at `threshold`")]
    specificity: Annotated[Figure, doc("likewise")]
    specificity_drop: Annotated[Figure, doc("by how much the specificity falls")]
    rejected: Annotated[Figure, doc("share rejected as not dermatoscopic; null where the model has no such score")]


class RobustnessOverall(RobustnessMean, frozen=True, kw_only=True):
    """Over all corruptions."""

    rise_interval: Annotated[Interval, doc("bootstrap over the lesions of each diagnosis")]
    changed_interval: Annotated[Interval, doc("likewise")]


class RobustnessRow(RobustnessMean, frozen=True, kw_only=True):
    """Of one change."""

    kind: Annotated[str, doc("`none`, `corruption`, `symmetry`, `mark` or `covered`")]
    name: Annotated[str, doc("of the change")]
    level: Annotated[float, doc("severity 1 to 5, or share of the image that is covered")]


class CorruptionFigures(RobustnessMean, frozen=True, kw_only=True):
    """Mean over the severities, and each."""

    name: Annotated[str, doc("of the corruption")]
    severities: Annotated[list[RobustnessRow], doc("1 to 5")]


class Robustness(msgspec.Struct, frozen=True, kw_only=True):
    """How predictions change when images do."""

    images: Annotated[int, doc("images, one a lesion")]
    images_in_all: Annotated[int, doc("images of the part")]
    counts: Annotated[dict[str, int], doc("images of each diagnosis")]
    threshold: Annotated[float, doc("malignant from this probability on")]
    clean: Annotated[RobustnessRow, doc("images as they are")]
    corruptions: Annotated[list[CorruptionFigures], doc("each of 15, in 5 severities")]
    mean: Annotated[RobustnessOverall, doc("over the corruptions")]
    marks: Annotated[list[RobustnessRow], doc("drawn ruler, ink and scale bar")]
    symmetries: Annotated[list[RobustnessRow], doc("flips and turns")]
    consistent: Annotated[float, doc("share of images with one prediction in all symmetries")]
    covered: Annotated[list[RobustnessRow], doc("the middle or the border covered")]


class DecisionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has chosen on its validation part."""

    rule: Annotated[str, doc("`argmax` or `prior-corrected`")]
    exponent: Annotated[float, doc("of the training priors that probabilities are divided by")]
    log_shift: Annotated[list[float], doc("added to the logits before the largest decides")]
    temperature: Annotated[float, doc("that the logits are divided by")]
    scale: Annotated[list[float], doc("of vector scaling; empty where there is none")]
    offset: Annotated[list[float], doc("likewise")]
    thresholds: Annotated[dict[str, float], doc("`malignant` and `uncertainty`, by which `predict` decides")]
    conformal: Annotated[
        Conformal, doc("promise of the prediction sets: `coverage`, `thresholds`, `images`, `penalty`")
    ]
    chosen_on: Annotated[str, doc("the part that all of this was chosen on")]
    operating: Annotated[list[ChosenThreshold], doc("thresholds of `operating_points`, as the model file carries them")]
    patient: Annotated[
        PatientTerms | None, doc("log odds by age, sex and site; null where they are not known or do not help")
    ] = None


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """All of `metrics.json`."""

    is_generated: Annotated[bool, doc("whether the lesions are generated, of no patient")]
    diagnoses: Annotated[list[str], doc("codes of the diagnoses, in the order of every matrix")]
    malignant: Annotated[
        list[str], doc("those that count as malignant; figures of malignant need some that do and some that do not")
    ]
    focus: Annotated[str | None, doc("the diagnosis with figures of its own (melanoma); null: none")]
    train: Annotated[PartFigures | None, doc("training part; null of an evaluation elsewhere")] = None
    validation: Annotated[PartFigures | None, doc("validation part; likewise")] = None
    test: Annotated[EvaluatedFigures, doc("test part")]
    chosen_on: Annotated[
        str, doc("where thresholds were chosen: `validation`, or `crosswise` on other lesions of the test part")
    ]
    decision: Annotated[DecisionFacts | None, doc("what the run has chosen on its validation part")] = None
    stages: Annotated[
        dict[str, Stage],
        doc(
            "the test part with other probabilities: `as_trained`, `before_rule`, `temperature`, `vector`, `neighbours`, "
            "`patient` (with age, sex and site)"
        ),
    ]
    given: Annotated[str, doc("what was done to the probabilities that `test` is of, in words")]
    histology: Annotated[
        HistologyFigures | None, doc("lesions confirmed by histology alone; null where none is known to be")
    ]
    subgroups: Annotated[list[Subgroup], doc("groups of 20 lesions or more")]
    operating_points: Annotated[
        dict[str, TaskFigures], doc("thresholds between malignant and benign, and of the focus")
    ]
    decision_curves: Annotated[dict[str, list[NetBenefit]], doc("net benefit of each task, by threshold")]
    decision_curves_of: Annotated[str, doc("the stage of the probabilities that these take, in words")]
    conformal: Annotated[SetFigures | None, doc("prediction sets (APS) by the model's promise")]
    conformal_raps: Annotated[SetFigures | None, doc("prediction sets with RAPS; null without a validation part")]
    conformal_repeated: Annotated[
        dict[str, RepeatedSets] | None, doc("`aps` and `raps` on random halves; null of one lesion")
    ]
    risk_coverage: Annotated[list[RiskCoverage], doc("error of the surest 5 to 100 %")]
    abstention: Annotated[list[Abstention], doc("what can be answered at a chosen risk")]
    costs: Annotated[Costs | None, doc("by the matrix of `--costs`")] = None
    suspects: Annotated[list[Suspect], doc("labels that may be wrong, the most suspect first")]
    curves: Annotated[Curves, doc("thinned to 200 points")]
    model_thresholds: Annotated[
        list[ModelThreshold], doc("thresholds stored in the model, evaluated on these images")
    ] = []
    model_uncertain: Annotated[int, doc("images that `predict` would call uncertain")] = 0
    model_rejected: Annotated[
        int | None, doc("images that `predict` would reject as not dermatoscopic; null: the model has no such score")
    ] = None
    robustness: Annotated[Robustness | None, doc("by `--robustness`")] = None


def as_written(metrics: Metrics) -> Metrics:
    """Give the metrics as the file holds them: what is NaN is None."""
    return msgspec.convert(without_nan(msgspec.to_builtins(metrics)), Metrics)


def read_metrics(values: dict[str, Any]) -> Metrics:
    """Read what `metrics.json` holds, of older runs too.

    Raises:
        msgspec.ValidationError: a key is gone, or holds another kind of value; says which.

    """
    return msgspec.convert(renewed(values), Metrics)


_RENAMED = {
    "recall": "sensitivity",
    "precision": "ppv",
    "recall_interval": "sensitivity_interval",
    "mel_at_90": "focus_at_90",
    "ece_mel": "ece_focus",
    "line": "threshold",
    "refused": "rejected",
    "lines": "chosen_on",
    "operating": "operating_points",
    "decision_curve": "decision_curves",
    "decision_curve_of": "decision_curves_of",
    "own_lines": "model_thresholds",
    "own_uncertain": "model_uncertain",
    "own_refused": "model_rejected",
}
_OLD_STAGES = {
    "test_as_trained": "as_trained",
    "test_before_rule": "before_rule",
    "test_temperature": "temperature",
    "test_vector": "vector",
}


def renewed(values: dict[str, Any]) -> dict[str, Any]:
    """Give the metrics that a lesionlab before 0.2 wrote under today's keys; those of today are given back as they are.

    Those runs knew HAM10000's diagnoses alone.
    """
    if not isinstance(values, dict):
        raise TypeError("metrics.json holds no object.")
    if "lines" not in values:
        return values
    old = {key: value for key, value in values.items() if key not in ("stages", "decision", *_OLD_STAGES)}
    labels = dict(values["stages"])
    given = labels.pop("test")
    stages = {_OLD_STAGES[key]: {"label": label} | _renamed(values[key]) for key, label in labels.items()}
    own = {"decision": values.get("decision"), "stages": stages, "given": given}
    diagnoses, malignant = list(HAM10000.dx), list(HAM10000.malignant)
    return _renamed(old) | own | {"diagnoses": diagnoses, "malignant": malignant, "focus": HAM10000.focus}


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {_RENAMED.get(key, key): _renamed(item) for key, item in value.items()}
    return [_renamed(item) for item in value] if isinstance(value, list) else value
