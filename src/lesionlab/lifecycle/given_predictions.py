"""The predictions that `lesionlab evaluate` evaluates: of a model for images, or read from a table.

In: the table of images to be evaluated. Out: what the model makes of each, and what is known of the model.
"""

import dataclasses
import filecmp
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.data.image_formats import without_suffix
from lesionlab.data.images import ImageError, read_image
from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.recognise import Collection
from lesionlab.data.layouts.tables import read_start
from lesionlab.data.patient import Patient
from lesionlab.data.patient_table import patients_of
from lesionlab.data.statistics import encode_labels
from lesionlab.errors import UsageError
from lesionlab.evaluation.isic_challenges import of_taxonomy
from lesionlab.evaluation.isic_tables import ALL_PARTS, read_predictions
from lesionlab.evaluation.metrics_file import Robustness
from lesionlab.evaluation.patient_terms import with_patients
from lesionlab.evaluation.robustness import LabelledImages, robustness
from lesionlab.inference.facts import ON_ALL, Thresholds
from lesionlab.inference.model import Model
from lesionlab.inference.outputs import ModelOutputs, see
from lesionlab.lifecycle.predicted_names import as_in_data
from lesionlab.runs.manifest import EvaluatedModel
from lesionlab.runs.stages import say
from lesionlab.taxonomy import Taxonomy, wider_than

SUM_TOLERANCE = 0.05  # seven probabilities of two decimals each may miss 1 by 0.035


def wider_taxonomy(path: Path, own: Taxonomy) -> Taxonomy | None:
    """Find the diagnoses of a table with columns for more than the data's own, as of a model that knows more.

    None where there is no such set with all of the data's among those that come with lesionlab.
    """
    return wider_than(own.dx, read_start(path)[0])


@dataclass(frozen=True)
class GivenPredictions:
    """Predictions of images, and what is known of where they come from.

    Attributes:
        seen: of each image, in the order of its table; rows of NaN where there is none.
        model: what gave them.
        unknown: images that a table predicts and the data do not hold.
        findings: what is doubtful of them.

    """

    seen: ModelOutputs
    model: EvaluatedModel
    unknown: list[str] = field(default_factory=list)
    findings: Sequence[Finding] = ()

    @property
    def has_prediction(self) -> np.ndarray:
        """Whether each image has one, bool (n,)."""
        return ~np.isnan(self.seen.probabilities[:, 0])


def predictions_of_model(model: Model, table: pd.DataFrame, *, has_metadata: bool = False) -> GivenPredictions:
    """Predict every image of the table, if asked with its age, sex and site; rows of NaN where it cannot be read any more."""
    facts, paths = model.facts, [Path(path) for path in table["path"]]

    def read(number: int) -> np.ndarray | None:
        try:
            return read_image(paths[number], facts.height, facts.width, facts.crop)
        except ImageError:
            return None

    described = EvaluatedModel(
        name=facts.name,
        training_data=facts.training_data,
        training_data_is_all=facts.training_data.endswith(ON_ALL),
        thresholds=facts.thresholds,
        conformal=facts.conformal,
        operating=facts.operating,
        uses_metadata=has_metadata,
    )
    patients = patients_of(table) if has_metadata else []
    findings = _unknown_patients(table, patients) if has_metadata else []
    seen = see(model.bundle, len(paths), read)
    if has_metadata and facts.patient:
        moved = with_patients(seen.probabilities, patients, facts.patient)
        seen = dataclasses.replace(seen, probabilities=moved)
    return GivenPredictions(seen, described, findings=findings)


def _unknown_patients(table: pd.DataFrame, patients: Sequence[Patient]) -> list[Finding]:
    """Say which images are evaluated by the picture alone, and what could not be read.

    Raises:
        UsageError: nothing is known of any.

    """
    pairs = list(zip(table["image_id"], patients, strict=True))
    if not any(patient.is_known for patient in patients):
        raise UsageError(
            "--use-metadata: the data have no age, sex or site that can be read, of any image. Leave it out, or add the "
            "columns age, sex or localization to their table."
        )
    left_out = [f"{image}: {words}" for image, patient in pairs for words in patient.left_out]
    unknown = [image for image, patient in pairs if not patient.is_known]
    if unknown:
        say(
            f"--use-metadata: {len(unknown):,} of {len(pairs):,} images are predicted from the picture alone; the data have no "
            "age, sex or site of theirs that can be read"
        )
    return [
        *finding("metadata-left-out", "An age, sex or site cannot be read", "left out", left_out),
        *finding("metadata-unknown", "No age, sex and site are known", "predicted from the picture alone", unknown),
    ]


def predictions_of_table(
    path: Path, table: pd.DataFrame, collection: Collection, allow_missing: bool, *, has_split: bool
) -> GivenPredictions:
    """Take the predictions of the table's images from a file; rows of NaN where it has none.

    Args:
        path: CSV with `image` and a column for each diagnosis, by ISIC's name, code or full name, in any order.
        table: images that need a prediction: `image_id`.
        collection: the data, with the images too that are not evaluated.
        allow_missing: go on where predictions are missing, are of images that the data do not hold, or of an id that two
            different files have.
        has_split: whether `table` is the part to be evaluated; else a run's table of all its parts is refused.

    Raises:
        UsageError: a fault in the table; predictions that are missing, of unknown images, or no probabilities.

    """
    challenge = of_taxonomy(collection.taxonomy)
    given, _ = read_predictions(path, ALL_PARTS if has_split else None, challenge)
    _refuse_what_is_no_probability(path, given.images, given.values)
    meant = as_in_data(given.images, collection.table, collection.folder)
    images = [meant.get(image, image) for image in given.images]
    row_of = dict(zip(images, given.values, strict=True))
    predicted = set(table["image_id"]) & row_of.keys()
    is_a_runs = {"part", "truth", "predicted"} <= set(read_start(path)[0])  # read by the rule that the data are
    doubtful = [] if is_a_runs else [image for image in _twice(collection) if image in predicted]
    missing = [image for image in table["image_id"] if image not in row_of]
    unknown = sorted(set(images) - set(collection.table["image_id"]))
    if len(missing) == len(table):
        raise UsageError(f"{path} has no prediction for any image of the data; its first is {given.images[0]!r}.")
    _report_faults(_faults(path, missing, unknown, doubtful), allow_missing)
    absent = np.full(given.values.shape[1], np.nan)
    values = np.array([row_of.get(image, absent) for image in table["image_id"]])
    described = EvaluatedModel(
        name=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        training_data="",
        training_data_is_all=False,
        thresholds=Thresholds(),
        conformal=None,
        operating=(),
    )
    found = finding(
        "prediction-twice",
        "A prediction may be of another file of this name",
        "taken for the file that is read",
        doubtful,
    )
    return GivenPredictions(ModelOutputs(values), described, unknown, found)


def _faults(path: Path, missing: list[str], unknown: list[str], doubtful: list[str]) -> list[str]:
    """Word what images and predictions do not share, a sentence a fault."""
    faults = [
        f"{path} lacks {len(missing):,} images of the data: {', '.join(missing[:5])}." if missing else "",
        f"{path} has {len(unknown):,} images that the data do not hold: {', '.join(unknown[:5])}." if unknown else "",
        f"{len(doubtful):,} image ids belong to two different files of the data; their predictions in {path} may be of the other "
        f"file: {', '.join(doubtful[:5])}. Rename one of each."
        if doubtful
        else "",
    ]
    return list(filter(None, faults))


def _report_faults(faults: list[str], allow_missing: bool) -> None:
    """Refuse faults, or say them where they are allowed."""
    if faults and not allow_missing:
        raise UsageError(" ".join(faults) + " Predict the data again, or evaluate what both hold with --allow-missing.")
    for fault in faults:
        say(f"--allow-missing: {fault}")


def measure_robustness(model: Model, table: pd.DataFrame, lesions: int, seed: int) -> Robustness:
    """Take `lesionlab.evaluation.robustness` of a model on the images of a table, all of which it could read."""
    facts, paths = model.facts, [Path(path) for path in table["path"]]
    labels, of_lesion = encode_labels(table["dx"], facts.taxonomy), table["lesion_id"].to_numpy()

    def read(number: int) -> np.ndarray:
        return read_image(paths[number], facts.height, facts.width, facts.crop)

    outputs = ["probabilities", *(["ood_score"] if model.bundle.has_ood_score else [])]

    def predict(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        found = model.bundle.run(outputs, pixels)
        return found["probabilities"], found.get("ood_score")

    return robustness(
        predict,
        LabelledImages(list(table["image_id"]), labels, of_lesion, facts.taxonomy, read),
        threshold=0.5 if facts.thresholds.malignant is None else facts.thresholds.malignant,
        reject_above=facts.ood.threshold if facts.ood else None,
        seed=seed,
        most=lesions,
    )


def _twice(collection: Collection) -> list[str]:
    """Give the ids that two files of the folder have whose contents differ."""
    taken = dict(zip(collection.table["image_id"], collection.table["path"], strict=True))
    others = [
        collection.folder / item for found in collection.findings if found.kind == "image-twice" for item in found.items
    ]
    ids = [(without_suffix(path.name), path) for path in others]
    return sorted({name for name, path in ids if taken.get(name) and not _is_same(path, taken[name])})


def _is_same(path: Path, other: str) -> bool:
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False


def _refuse_what_is_no_probability(path: Path, images: list[str], values: np.ndarray) -> None:
    sums = values.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if len(off):
        named = ", ".join(f"{images[row]} ({sums[row]:.3g})" for row in off[:5])
        raise UsageError(
            f"{path}: the probabilities of {len(off):,} images do not sum to 1: {named}. Scores are not probabilities: give "
            "the network's softmax, or divide each row by its sum if that is what it means."
        )
    rounded = int((np.abs(sums - 1) > 1e-3).sum())
    if rounded:
        say(
            f"{rounded:,} rows of {path} miss the sum of 1 by up to {np.abs(sums - 1).max():.3f}: taken as they are, as by "
            "lesionlab score"
        )
