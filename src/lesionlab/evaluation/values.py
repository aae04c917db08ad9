"""What the statistics give, each figure with what it means: `metrics.json` is made of these (`metrics_file`).

Shares, probabilities and areas are 0 to 1. A figure that is not defined (of nothing, or of too few lesions) is NaN in memory and
null in the file, and its support stands beside it. Intervals are 95 %: two bounds, or null where no method gives one.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lesionlab.evaluation.notebook_html import figures_table

Figure = float | None
Interval = Sequence[Figure] | None


def doc(text: str) -> Meta:
    """Say what a key means; `docs/commands.md` shows it."""
    return Meta(description=text)


Sensitivity = Annotated[Figure, doc("share of the positives that are found (recall)")]
Specificity = Annotated[Figure, doc("share of the negatives that are called negative")]
Wanted = Literal["sensitivity", "specificity"]
Images = Annotated[int, doc("images")]
Lesions = Annotated[int, doc("lesions that these images show")]


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """What runs are compared by, and the log loss."""

    accuracy: Annotated[float, doc("share of images whose likeliest diagnosis is the true one")]
    balanced_accuracy: Annotated[
        float, doc("mean sensitivity of the diagnoses that occur, the likeliest being predicted")
    ]
    macro_auc: Annotated[Figure, doc("mean area under the ROC curve, each diagnosis that occurs against the rest")]
    log_loss: Annotated[float, doc("mean of -log of the true diagnosis's probability, natural logarithm")]


class DiagnosisFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnosis against the rest."""

    images: Images
    lesions: Lesions
    sensitivity: Sensitivity
    specificity: Specificity
    ppv: Annotated[
        Figure, doc("share of the images predicted as it that show it (positive predictive value, precision)")
    ]
    npv: Annotated[
        Figure, doc("share of the images predicted as another that show another (negative predictive value)")
    ]
    f1: Annotated[Figure, doc("harmonic mean of sensitivity and ppv")]
    auc: Annotated[Figure, doc("area under the ROC curve, against the rest")]
    average_precision: Annotated[Figure, doc("area under the precision-recall curve, in steps")]
    misclassified: Annotated[Figure, doc("1 less the sensitivity")]
    sensitivity_interval: Annotated[Interval, doc("Wilson's, counting lesions")]
    intervals: Annotated[
        dict[str, Interval],
        doc(
            "of each figure: bootstrap over lesions; of shares that no draw moves Wilson's, of areas of few lesions Newcombe's"
        ),
    ]


class PartFigures(Headline, frozen=True, kw_only=True):
    """Every figure of a part."""

    images: Images
    lesions: Lesions
    undecided: Annotated[
        int, doc("images of which several diagnoses are equally likely: counted as wrong, and left out of `confusion`")
    ] = 0
    majority_accuracy: Annotated[Figure, doc("accuracy of always predicting the commonest diagnosis")]
    focus_at_90: Annotated[
        Figure, doc("sensitivity of the focus (melanoma) at 90 % specificity, read off the ROC curve of these images")
    ]
    intervals: Annotated[
        dict[str, Interval],
        doc(
            "of each headline figure and `focus_at_90`: bootstrap over lesions, 2,000 draws; of an accuracy of 1 Wilson's"
        ),
    ]
    per_class: Annotated[dict[str, DiagnosisFigures], doc("each diagnosis against the rest, by code")]
    confusion: Annotated[
        list[list[int]], doc("images by true (row) and predicted (column) diagnosis, as in `diagnoses`")
    ]

    def _repr_html_(self) -> str:
        """Show the headline figures, and the sensitivity of each diagnosis, with their intervals in a notebook."""
        whole = f"{self.images:,} images of {self.lesions:,} lesions"
        rows = [
            (name.replace("_", " ").replace("auc", "AUC"), getattr(self, name), self.intervals.get(name), whole)
            for name in ("balanced_accuracy", "macro_auc", "accuracy")
        ]
        for dx, each in self.per_class.items():
            support = f"{each.images:,} image{'s' * (each.images != 1)}"
            rows.append((f"sensitivity, {dx}", each.sensitivity, each.intervals.get("sensitivity"), support))
        return figures_table(rows)


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """A bin of stated probabilities."""

    images: Images
    stated: Annotated[float, doc("mean probability stated")]
    happened: Annotated[float, doc("share that was so")]


class DiagnosisCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """Calibration of a diagnosis's probability."""

    ece: Annotated[float, doc("expected calibration error of its probability")]
    ace: Annotated[float, doc("the same in bins of equally many images")]
    reliability: Annotated[list[Bin], doc("bins that hold images")]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether probabilities mean what they say."""

    ece: Annotated[float, doc("expected calibration error of the prediction, 15 bins of equal width; 0 is calibrated")]
    ece_focus: Annotated[Figure, doc("that of the focus's probability")]
    ace: Annotated[float, doc("`ece` in 15 bins of equally many images (adaptive)")]
    classwise_ece: Annotated[float, doc("mean over the diagnoses of each one's own error")]
    classwise_ace: Annotated[float, doc("the same in bins of equally many images")]
    by_chance: Annotated[
        dict[str, list[float]], doc("mean and 95th percentile of `ece` and `ece_focus` if the probabilities were right")
    ]
    brier: Annotated[float, doc("squared error summed over the diagnoses, mean over the images, 0 to 2")]
    reliability: Annotated[list[Bin], doc("bins of the prediction that hold images")]
    per_class: Annotated[dict[str, DiagnosisCalibration], doc("of each diagnosis, by code")]


class EvaluatedFigures(PartFigures, frozen=True, kw_only=True):
    """Figures of the test part."""

    calibration: Annotated[Calibration, doc("of the probabilities as given")]


class Stage(Headline, frozen=True, kw_only=True):
    """The test part with other probabilities."""

    label: Annotated[str, doc("what was done to the probabilities, in words")]
    calibration: Annotated[Calibration, doc("of the probabilities at this stage")]


class HistologyFigures(Headline, frozen=True, kw_only=True):
    """Lesions confirmed by histology alone."""

    images: Images
    lesions: Lesions
    undecided: Annotated[int, doc("as of `test`")] = 0
    majority_accuracy: Annotated[Figure, doc("accuracy of always predicting the commonest diagnosis")]
    focus_at_90: Annotated[Figure, doc("as of `test`")]
    intervals: Annotated[dict[str, Interval], doc("as of `test`")]
    counts: Annotated[dict[str, int], doc("images of each diagnosis")]


class Subgroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group of lesions beside the rest."""

    by: Annotated[str, doc("age, sex, site, source, confirmation or estimated skin tone")]
    group: Annotated[str, doc("its value; `unknown` is a group too")]
    images: Images
    lesions: Annotated[int, doc("lesions, 20 or more")]
    accuracy: Annotated[float, doc("share of images predicted rightly")]
    interval: Annotated[Interval, doc("of the accuracy")]
    expected: Annotated[Figure, doc("accuracy of all other images if they had the group's mix of diagnoses")]
    gap: Annotated[Figure, doc("accuracy less expected, over the diagnoses that both have")]
    gap_interval: Annotated[Interval, doc("bootstrap over lesions")]
    p: Annotated[Figure, doc("of no gap, Mantel-Haenszel, counting lesions")]
    p_holm: Annotated[Figure, doc("corrected for the number of groups")]
    stands_out: Annotated[bool, doc("whether `p_holm` is below 0.05")]
    malignant: Annotated[int, doc("malignant lesions")]
    malignant_found: Annotated[Figure, doc("share of these predicted as malignant")]
    malignant_interval: Annotated[Interval, doc("Wilson's, counting lesions")]


class RocCurve(msgspec.Struct, frozen=True, kw_only=True):
    """A curve of equally many values."""

    fpr: Annotated[list[float], doc("1 less the specificity")]
    tpr: Annotated[list[float], doc("sensitivity")]


class PrecisionRecallCurve(msgspec.Struct, frozen=True, kw_only=True):
    """A curve of equally many values."""

    sensitivity: Annotated[list[float], doc("recall")]
    ppv: Annotated[list[float], doc("precision")]


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """By code."""

    roc: Annotated[dict[str, RocCurve], doc("of each diagnosis against the rest; of two diagnoses, of one")]
    precision_recall: Annotated[dict[str, PrecisionRecallCurve], doc("likewise")]


class ChosenThreshold(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold, and what it was chosen for."""

    task: Annotated[str, doc("`malignant`, or the focus by its name, against the rest")]
    wanted: Annotated[str, doc("`sensitivity` or `specificity`; of `predict`'s own threshold, words that say so")]
    at_least: Annotated[Figure, doc("how much of it, where the threshold was chosen")]
    threshold: Annotated[
        Figure, doc("positive from this probability on, 1.01 where none is; of five thresholds their mean")
    ]


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a threshold gives on the test part."""

    wanted: Annotated[Wanted, doc("what it was chosen to keep")]
    at_least: Annotated[float, doc("how much of it, where the threshold was chosen")]
    threshold: Annotated[
        Figure, doc("positive from this probability on, 1.01 where none is; of five thresholds their mean")
    ]
    sensitivity: Sensitivity
    sensitivity_interval: Annotated[Interval, doc("Wilson's, counting lesions")]
    specificity: Specificity
    specificity_interval: Annotated[Interval, doc("Wilson's, counting lesions")]


class ModelThreshold(ChosenThreshold, frozen=True, kw_only=True):
    """What a threshold stored in the model gives."""

    sensitivity: Sensitivity
    sensitivity_interval: Annotated[Interval, doc("Wilson's, counting lesions")]
    specificity: Specificity
    specificity_interval: Annotated[Interval, doc("Wilson's, counting lesions")]


class TaskFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A question with two answers, such as malignant or benign."""

    positives: Annotated[int, doc("images")]
    negatives: Annotated[int, doc("images")]
    auc: Annotated[Figure, doc("area under the ROC curve")]
    auc_interval: Annotated[Interval, doc("bootstrap over lesions; of few lesions Newcombe's")]
    roc: Annotated[RocCurve, doc("the curve")]
    points: Annotated[list[OperatingPoint], doc("at 90 and 95 % of either")]


class NetBenefit(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a decision curve."""

    threshold: Annotated[float, doc("probability from which on a lesion is called positive")]
    model: Annotated[float, doc("net benefit of the model, an image")]
    all: Annotated[float, doc("that of calling every lesion positive")]


class RiskCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """A point of the curve of error against the share answered."""

    answered: Annotated[float, doc("share of images, the surest")]
    error: Annotated[float, doc("share of these predicted wrongly")]


class Abstention(msgspec.Struct, frozen=True, kw_only=True):
    """What can be answered at a risk."""

    risk: Annotated[float, doc("highest error rate allowed among answered images")]
    threshold: Annotated[
        Figure, doc("of uncertainty, up to which is answered; null: nothing can be promised, or several")
    ]
    answered: Annotated[float, doc("share of images")]
    error: Annotated[Figure, doc("share of these predicted wrongly")]
    error_interval: Annotated[Interval, doc("Wilson's, counting lesions")]
    malignant_referred: Annotated[Figure, doc("share of malignant lesions that are not answered")]
