"""Whether a model was trained on the images that it is evaluated on: what its file tells, and in words what that means."""

import numpy as np
import pandas as pd

from lesionlab.data.isic_ids import isic_numbers, show_known_lesion
from lesionlab.errors import UsageError
from lesionlab.inference.facts import ON_ALL, Facts
from lesionlab.runs.directory import RunDirectory


def find_known(table: pd.DataFrame, training_ids: str) -> np.ndarray | None:
    """Whether a model knows the lesion of each image, by the ISIC ids that its file holds.

    Args:
        table: `image_id` and `lesion_id` of n images.
        training_ids: as of `lesionlab.inference.facts.Facts`.

    Returns:
        Bool (n,); None where that cannot be told: the file holds no ids, or images without one may be known all the same.

    """
    if not training_ids:
        return None
    is_known = show_known_lesion(table, training_ids)
    return is_known if is_known.any() or (isic_numbers(table["image_id"]) >= 0).all() else None


def refuse_untold(facts: Facts | None) -> None:
    """Refuse to leave known lesions out of what does not tell them: a model's facts, or None for a table of predictions.

    Raises:
        UsageError: says what to do instead.

    """
    if facts is None:
        raise UsageError("--unseen needs a model: a table of predictions does not say what its model was trained on.")
    if not facts.training_ids:
        raise UsageError(
            f"{facts.name} does not say which images it was trained on, since an earlier lesionlab wrote it or its images have "
            "no ISIC ids. Evaluate it on its own test part, --split RUN/splits.csv, or leave --unseen out."
        )


def training_overlap(
    training_data: str, is_known: np.ndarray | None, fingerprint: str, *, has_split: bool
) -> tuple[str, int | None]:
    """Give `overlap_with_training` and `images_trained_on` of an `EvaluationManifest`.

    Args:
        training_data: what the model says of it.
        is_known: as `find_known` gives it, of the evaluated images.
        fingerprint: of the whole data: how a model knows them whose images have no ISIC ids. It cannot know their split.
        has_split: whether a split leaves a training part out.

    """
    if is_known is not None:
        known = int(is_known.sum())
        return ("trained" if known == len(is_known) else "some" if known else "none"), known
    if fingerprint[:16] not in training_data:
        return "", None
    return ("split" if has_split and not training_data.endswith(ON_ALL) else "trained"), None


def warnings_of(evaluated: RunDirectory) -> list[str]:
    """Warn of an evaluation whose figures are too good; empty where there is nothing to warn of, as of a run."""
    manifest = evaluated.evaluation
    if manifest is None:
        return []
    name, known = manifest.model.name, manifest.images_trained_on
    if manifest.overlap_with_training == "trained":
        return [f"Warning: {name} was trained on the lesions of {evaluated.folder}: every figure of it is too good."]
    if not known:
        return []
    return [
        f"Warning: {known:,} of the {manifest.data.images:,} images of {evaluated.folder} show a lesion that {name} was trained "
        "on: its figures are too good. Evaluate it with --unseen, which leaves them out."
    ]
