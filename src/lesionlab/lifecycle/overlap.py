"""Whether a model was trained on the lesions of given images: what its file tells, and in words what that means."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lesionlab.data.clean import Cleaned
from lesionlab.data.isic_ids import are_among, isic_numbers, names_all
from lesionlab.errors import UsageError
from lesionlab.inference.facts import ON_ALL
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.evaluated import read_evaluated


@dataclass(frozen=True)
class Known:
    """Images whose lesion a model was trained on.

    Attributes:
        images: their ids.
        untold: why it cannot be said that it was not trained on the others; empty where it can.

    """

    images: frozenset[str] = frozenset()
    untold: str = "it does not say which images it was trained on"

    def among(self, table: pd.DataFrame) -> np.ndarray:
        """Whether each image of a table is one of them, bool (n,)."""
        return table["image_id"].isin(list(self.images)).to_numpy(bool)


def show_known(table: pd.DataFrame, ids: str) -> np.ndarray:
    """Whether each image is of a lesion, or of a group, of which an image is among `ids`, bool (n,).

    Args:
        table: columns `image_id` and `lesion_id`, and `group` where images were joined; an image without either is known alone.
        ids: as `written_ids` gives them.

    """
    is_known = pd.Series(are_among(list(table["image_id"]), ids), index=table.index)
    for column in ("lesion_id", "group"):
        if column in table:
            is_known |= table[column].isin(table.loc[is_known, column].dropna())
    return is_known.to_numpy(bool)


def find_known(cleaned: Cleaned, training_ids: str) -> Known:
    """Find the images of lesions that a model was trained on, by the ISIC ids that its file holds.

    An image is known where it, or another of its lesion or group (copies, near-duplicates, a patient), has one of these ids;
    images that were set aside count as well.

    Args:
        cleaned: the images.
        training_ids: as of `lesionlab.inference.facts.Facts`.

    """
    table, aside = cleaned.table, cleaned.set_aside
    if not training_ids:
        return Known()
    is_aside = are_among(list(aside["image_id"]), training_ids)
    groups = aside.loc[is_aside, "group"]
    is_known = show_known(table, training_ids) | table["group"].isin(groups.dropna()).to_numpy(bool)
    return Known(frozenset(table.loc[is_known, "image_id"]), _untold(table, training_ids, int(groups.isna().sum())))


def _untold(table: pd.DataFrame, training_ids: str, aside: int) -> str:
    if not names_all(training_ids):
        return "not all images that it was trained on have ISIC ids"
    without = table.loc[isic_numbers(table["image_id"]) < 0, "image_id"]
    if len(without):
        return f"{len(without):,} of the {len(table):,} images have no ISIC id ({without.iloc[0]} is one)"
    if aside:
        return (
            f"it was trained on {aside:,} images that are set aside here, and of which lesions these are is not known"
        )
    return ""


def refuse_untold(name: str, known: Known) -> None:
    """Refuse to leave known lesions out where others may be known as well.

    Raises:
        UsageError: says why, and what to do instead.

    """
    if known.untold:
        raise UsageError(
            f"--unseen cannot leave out what {name} was trained on: {known.untold}. Evaluate it on its own test part, --split "
            "RUN/splits.csv, or leave --unseen out."
        )


def training_overlap(
    training_data: str, known: Known, table: pd.DataFrame, fingerprint: str, *, has_split: bool
) -> tuple[str, int | None]:
    """Give `overlap_with_training` and `images_trained_on` of an `EvaluationManifest`.

    Args:
        training_data: what the model says of it.
        known: to it, of all images.
        table: the evaluated images.
        fingerprint: of all images: how a model knows them whose ids do not tell. It cannot know their split.
        has_split: whether a split leaves a training part out.

    """
    count = int(known.among(table).sum())
    is_same = fingerprint[:16] in training_data
    if count == len(table) or (is_same and (training_data.endswith(ON_ALL) or (known.untold and not has_split))):
        return "trained", count or None
    if count:
        return "some", count
    if not known.untold:
        return "none", 0
    return ("split" if is_same else ""), None


def warnings_of(opened: RunDirectory) -> list[str]:
    """Warn of an evaluation whose figures are too good; empty where there is nothing to warn of, as of a run."""
    found = read_evaluated(opened)
    if found is None:
        return []
    name, folder = found.model.name, opened.folder
    if found.is_trained_on:
        return [f"Warning: {name} was trained on the lesions of {folder}: every figure of it is too good."]
    if not found.images_trained_on:
        return []
    return [
        f"Warning: {found.images_trained_on:,} of the {found.data.images:,} images of {folder} show a lesion that {name} was "
        "trained on: its figures are too good. 'lesionlab evaluate --unseen' leaves them out."
    ]
