"""What an evaluation evaluates: labelled images read in the model's diagnoses, or in two kinds, and their predictions.

Data of another set are read by what both share, what they do not share is set aside and counted; data that know malignant and
benign alone are evaluated by these two.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from lesionlab.data.clean import Cleaned
from lesionlab.data.layouts.joined import read_data
from lesionlab.data.layouts.recognise import Collection, in_two_kinds
from lesionlab.data.statistics import encode_labels
from lesionlab.errors import UsageError
from lesionlab.evaluation.by_lesion import join_by_lesion
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.folders import Data
from lesionlab.inference.facts import Thresholds
from lesionlab.inference.model import Model
from lesionlab.inference.outputs import ModelOutputs
from lesionlab.lifecycle.given_predictions import GivenPredictions, predictions_of_model
from lesionlab.lifecycle.overlap import Known
from lesionlab.taxonomy import Taxonomy, is_malignancy, read_taxonomy


@dataclass(frozen=True)
class EvaluatedPart:
    """Images of one part that have a prediction: their diagnoses, their table and what the model makes of them."""

    taxonomy: Taxonomy
    table: pd.DataFrame
    seen: ModelOutputs

    @property
    def predictions(self) -> LabelledPredictions:
        """Labels, probabilities and lesions."""
        labels, lesions = encode_labels(self.table["dx"], self.taxonomy), self.table["lesion_id"].to_numpy()
        return LabelledPredictions(labels, self.seen.probabilities, lesions, self.taxonomy)

    def by_lesion(self) -> "EvaluatedPart":
        """Join the images of each lesion into one prediction, under the table's row of its first image.

        A lesion counts as rejected where all of its images are. Maps and features are of one image, and left out.
        """
        lesions = self.table["lesion_id"].astype(str)
        _, probabilities, _ = join_by_lesion(self.seen.probabilities, list(lesions))
        first = ~lesions.duplicated().to_numpy()  # in the order in which lesions are met, as theirs are joined
        rejected = self.seen.is_rejected
        if rejected is not None:
            rejected = pd.Series(rejected).groupby(lesions.to_numpy(), sort=False).all().to_numpy()
        seen = ModelOutputs(probabilities, frame=self.seen.frame, is_rejected=rejected)
        return EvaluatedPart(self.taxonomy, self.table[first].reset_index(drop=True), seen)


@dataclass(frozen=True)
class ImagesInParts:
    """Labelled images.

    Attributes:
        collection: as they were read; `cleaned` what is kept, `look` a look at all.
        split: the file that splits them, and the part of each kept.
        known: to the model.
        leaves_known_out: whether known lesions are left out of what is evaluated.

    """

    collection: Collection
    cleaned: Cleaned
    look: np.ndarray
    split: Path | None
    parts: pd.Series
    known: Known = Known()
    leaves_known_out: bool = False

    @property
    def table(self) -> pd.DataFrame:
        """The images that are not of the training part, with their `part`; known ones are chosen by, and may not be evaluated."""
        kept = self.cleaned.table.assign(part=self.parts)
        return kept[(self.parts != "train") & ~self._is_left_out].reset_index(drop=True)

    @property
    def left_out(self) -> pd.Series:
        """Ids of the images that are left out since the model was trained on their lesion."""
        return self.cleaned.table.loc[self._is_left_out, "image_id"]

    @property
    def _is_left_out(self) -> np.ndarray:
        is_known = self.known.among(self.cleaned.table) & self.leaves_known_out
        return is_known & (self.parts == "test").to_numpy()

    def part(self, given: GivenPredictions, part: str, by_lesion: bool = False) -> EvaluatedPart:
        """Give the images of a part that have a prediction; `by_lesion`, those of each lesion joined."""
        table = self.table
        chosen = given.has_prediction & (table["part"] == part).to_numpy()
        found = EvaluatedPart(self.collection.taxonomy, table[chosen].reset_index(drop=True), given.seen.take(chosen))
        return found.by_lesion() if by_lesion else found


def read_for_model(
    data: Data, model: Taxonomy, asked: Taxonomy | None, image_types: tuple[str, ...] | None
) -> Collection:
    """Read labelled images in the diagnoses of a model; or, where data or caller know two kinds alone, in these.

    A set of the caller's own is taken by the diagnoses that it shares with the model; where these are fewer than two, by which
    of its diagnoses are malignant.

    Raises:
        UsageError: as `read_collection`; or the data share fewer than two diagnoses with the model.

    """
    if asked and asked.dx != model.dx and not is_malignancy(asked):
        return _read_in_own(data, model, asked, image_types)
    if asked:
        return read_data(data, asked, image_types)
    try:
        return read_data(data, model, image_types)
    except UsageError as error:
        try:
            own = read_data(data, None, image_types)
        except UsageError:
            raise error from None
        if is_malignancy(own.taxonomy):
            return own
        shared = in_diagnoses_of(own, model)
        if shared.table["dx"].nunique() < 2:
            raise
        return shared


def _read_in_own(data: Data, model: Taxonomy, asked: Taxonomy, image_types: tuple[str, ...] | None) -> Collection:
    """Read data whose words the model does not know in a set that has them; what it knows is refused in another's."""
    try:
        read_data(data, model, image_types)
    except UsageError:
        own = read_data(data, asked, image_types)
        shared = in_diagnoses_of(own, model)
        if shared.table["dx"].nunique() > 1:
            return shared
        return in_two_kinds(own, read_taxonomy("isic2024"))
    raise UsageError(
        f"The model predicts {', '.join(model.dx)} ({model.name}), not {', '.join(asked.dx)} ({asked.name}). Leave out "
        "--taxonomy: the data are read in the model's diagnoses; or give one of two, malignant and benign (isic2024)."
    )


def in_diagnoses_of(collection: Collection, taxonomy: Taxonomy) -> Collection:
    """Give a collection in another set of diagnoses: those that it lacks are set aside, each with its reason."""
    code_of = {d.dx: taxonomy.find(d.dx) or taxonomy.find(d.name) for d in collection.taxonomy.diagnoses}
    codes = collection.table["dx"].map(code_of)
    without = collection.table[codes.isna()]
    reasons = "no diagnosis of the model's: " + without["dx"].map(collection.taxonomy.name_of)
    aside = pd.DataFrame({"image_id": without["image_id"], "reason": reasons})
    return dataclasses.replace(
        collection,
        table=collection.table.assign(dx=codes)[codes.notna()].reset_index(drop=True),
        set_aside=pd.concat([collection.set_aside, aside], ignore_index=True),
        taxonomy=taxonomy,
    )


def predict_in_parts(
    model: Model, images: ImagesInParts, *, has_robustness: bool, has_metadata: bool
) -> GivenPredictions:
    """Predict the images; where they are read as malignant or benign alone, give the probabilities of these two.

    Raises:
        UsageError: robustness is asked for of these two.

    """
    kinds, own = images.collection.taxonomy, model.facts.taxonomy
    if kinds.dx == own.dx:
        return predictions_of_model(model, images.table, has_metadata=has_metadata)
    if has_robustness:
        raise UsageError(f"--robustness needs the model's own diagnoses ({', '.join(own.dx)}): leave it out.")
    return _of_two_kinds(predictions_of_model(model, images.table, has_metadata=has_metadata), own, kinds)


def _of_two_kinds(given: GivenPredictions, model: Taxonomy, kinds: Taxonomy) -> GivenPredictions:
    """Join a model's probabilities into those of malignant and benign, in the order of `kinds`.

    What the model was stored with for single diagnoses goes: sets, thresholds of other questions, its uncertainty.
    """
    malignant = given.seen.probabilities[:, list(model.is_malignant)].sum(axis=1)
    columns = [malignant if is_malignant else 1 - malignant for is_malignant in kinds.is_malignant]
    seen = dataclasses.replace(given.seen, probabilities=np.clip(np.stack(columns, axis=1), 0, 1), maps=None)
    threshold = given.model.thresholds.malignant
    described = msgspec.structs.replace(given.model, thresholds=Thresholds(malignant=threshold), conformal=None)
    return dataclasses.replace(given, seen=seen, model=described)
