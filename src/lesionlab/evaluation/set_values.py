"""What the statistics of prediction sets give: a part of `lesionlab.evaluation.values`, which says how figures are held."""

from typing import Annotated

import msgspec

from lesionlab.evaluation.values import Figure, Images, Interval, doc


class DiagnosisSets(msgspec.Struct, frozen=True, kw_only=True):
    """Prediction sets of a diagnosis's images."""

    images: Images
    coverage: Annotated[Figure, doc("share of sets that hold the truth")]
    interval: Annotated[Interval, doc("Wilson's, counting lesions")]
    mean_size: Annotated[Figure, doc("diagnoses in a set")]
    calibrated_on: Annotated[int, doc("lesions")]
    is_promised: Annotated[bool, doc("whether these were enough for the promise")]


class SetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Prediction sets measured on the test part."""

    promised: Annotated[float, doc("share of sets that were to hold the truth, of each diagnosis")]
    penalty: Annotated[float, doc("of RAPS; 0 of APS")]
    coverage: Annotated[float, doc("share of sets that hold the truth")]
    interval: Annotated[Interval, doc("Wilson's, counting lesions")]
    mean_size: Annotated[float, doc("diagnoses in a set")]
    single: Annotated[float, doc("share of sets of one diagnosis")]
    per_class: Annotated[dict[str, DiagnosisSets], doc("of each diagnosis, by code")]


class RepeatedCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """Coverage over random halves."""

    coverage: Annotated[Figure, doc("mean over the halves")]
    range: Annotated[Interval, doc("5th and 95th percentile of single halves")]


class RepeatedDiagnosisSets(RepeatedCoverage, frozen=True, kw_only=True):
    """That of a diagnosis's images."""

    images: Images


class RepeatedSets(RepeatedCoverage, frozen=True, kw_only=True):
    """That of all images."""

    repeats: Annotated[int, doc("random halves by lesion: one calibrates, the other is measured")]
    mean_size: Annotated[float, doc("diagnoses in a set")]
    per_class: Annotated[dict[str, RepeatedDiagnosisSets], doc("of each diagnosis, by code")]
