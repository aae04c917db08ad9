"""The answers that `lesionlab evaluate` judges: of a model to images, or read from a table of predictions.

In: the table of images to be judged. Out: what the model makes of each, and what is known of the model.
"""

import filecmp
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.data.images import ImageError, read_image
from lesionlab.data.layouts.metadata import without_suffix
from lesionlab.data.layouts.recognise import Collection
from lesionlab.data.layouts.tables import read_start
from lesionlab.data.statistics import encode_labels
from lesionlab.errors import UsageError
from lesionlab.evaluation.isic_tables import ALL_PARTS, read_predictions
from lesionlab.evaluation.robustness import robustness
from lesionlab.inference.facts import ON_ALL
from lesionlab.inference.model import load_model
from lesionlab.inference.outputs import ModelOutputs, see
from lesionlab.lifecycle.predicted_names import as_in_data
from lesionlab.runs.stages import say
from lesionlab.taxonomy import HAM10000

SUM_TOLERANCE = 0.05  # seven probabilities of two decimals each may miss 1 by 0.035


def answers_of_model(name: str | None, table: pd.DataFrame) -> tuple[ModelOutputs, dict[str, Any]]:
    """Predict every image of the table; rows of NaN where one cannot be read any more."""
    model = load_model(name)
    facts, paths = model.facts, [Path(path) for path in table["path"]]

    def read(number: int) -> np.ndarray | None:
        try:
            return read_image(paths[number], facts.height, facts.width, facts.crop)
        except ImageError:
            return None

    described = {
        "name": facts.name,
        "training_data": facts.training_data,
        "training_data_is_all": facts.training_data.endswith(ON_ALL),
        **{name: facts.to_json()[name] for name in ("thresholds", "conformal")},
        "operating": list(facts.decision.get("operating", [])),
    }
    return see(model.bundle, len(paths), read), described


def answers_of_table(
    path: Path, table: pd.DataFrame, collection: Collection, allow_missing: bool, *, has_split: bool
) -> tuple[ModelOutputs, dict[str, Any]]:
    """Take the predictions of the table's images from a file; rows of NaN where it has none.

    Args:
        path: CSV with `image` and a column for each diagnosis, by ISIC's name, code or full name, in any order.
        table: images that need a prediction: `image_id`.
        collection: the data, with the images too that are not judged.
        allow_missing: go on where predictions are missing, are of images that the data do not hold, or of an id that two
            different files have.
        has_split: whether `table` is the part to be judged; else a run's table of all its parts is refused.

    Raises:
        UsageError: a fault in the table; predictions that are missing, of unknown images, or no probabilities.

    """
    given, _ = read_predictions(path, ALL_PARTS if has_split else None)
    _refuse_what_is_no_probability(path, given.images, given.values)
    meant = as_in_data(given.images, collection.table, collection.folder)
    images = [meant.get(image, image) for image in given.images]
    row_of = dict(zip(images, given.values, strict=True))
    judged = set(table["image_id"]) & row_of.keys()
    is_a_runs = {"part", "truth", "predicted"} <= set(read_start(path)[0])  # read by the rule that the data are
    doubtful = [] if is_a_runs else [image for image in _twice(collection) if image in judged]
    missing = [image for image in table["image_id"] if image not in row_of]
    unknown = sorted(set(images) - set(collection.table["image_id"]))
    if len(missing) == len(table):
        raise UsageError(f"{path} has no prediction for any image of the data; its first is {given.images[0]!r}.")
    faults = [
        f"{path} lacks {len(missing):,} images of the data: {', '.join(missing[:5])}." if missing else "",
        f"{path} has {len(unknown):,} images that the data do not hold: {', '.join(unknown[:5])}." if unknown else "",
        f"{path} may hold the prediction of another file for {len(doubtful):,} ids that two different files of the data have: "
        f"{', '.join(doubtful[:5])}. Rename one of each."
        if doubtful
        else "",
    ]
    if any(faults) and not allow_missing:
        raise UsageError(
            " ".join(filter(None, faults)) + " Predict the data anew, or judge what both hold with --allow-missing."
        )
    for fault in filter(None, faults):
        say(f"--allow-missing: {fault}")
    values = np.array([row_of.get(image, np.full(7, np.nan)) for image in table["image_id"]])
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    described = {
        "name": path.name,
        "sha256": content,
        "training_data": "",
        "training_data_is_all": False,
        "thresholds": {},
        "conformal": {},
        "operating": [],
        "unknown": unknown,
        "doubtful": doubtful,
    }
    return ModelOutputs(values), described


def measure_robustness(name: str | None, table: pd.DataFrame, lesions: int, seed: int) -> dict[str, Any]:
    """Take `lesionlab.evaluation.robustness` of a model on the images of a table, all of which it could read."""
    model = load_model(name)
    facts, paths = model.facts, [Path(path) for path in table["path"]]
    labels, of_lesion = encode_labels(table["dx"], HAM10000), table["lesion_id"].to_numpy()

    def read(number: int) -> np.ndarray:
        return read_image(paths[number], facts.height, facts.width, facts.crop)

    return robustness(model.bundle, list(table["image_id"]), labels, of_lesion, read, seed=seed, most=lesions)


def overlap_with_training(described: dict[str, Any], fingerprint: str, has_split: bool) -> str:
    """Say whether the model knows the data, by their fingerprint: "trained" on them, their "split" unknown to it, or "".

    Args:
        described: of the model, as the functions above give it.
        fingerprint: of the whole data.
        has_split: whether a split leaves a training part out.

    """
    if fingerprint[:16] not in described["training_data"]:
        return ""
    return "split" if has_split and not described["training_data_is_all"] else "trained"


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
