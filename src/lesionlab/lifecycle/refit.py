"""The model that is given away: a finished run's recipe, trained once more on all of its lesions.

In: a run directory. Out: `final.keras` and `final.onnx` beside the run's own model. It is trained for as many steps as the run
was, so for fewer epochs: the learning rate falls as it did when the figures were taken. What the run has measured and chosen
on lesions that it kept apart stays with the model: its decision rule, its thresholds, its card. Nobody can measure the
final network on this data any more, so no figure of its own is given.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab import folders
from lesionlab.data.layouts.joined import folder_of_row
from lesionlab.data.layouts.recognise import Collection
from lesionlab.data.statistics import channel_statistics
from lesionlab.errors import LesionlabError
from lesionlab.files import replacing
from lesionlab.lifecycle.prepare import collection_of, decode, fingerprint
from lesionlab.runs import directory
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.model_facts import facts_of_refit
from lesionlab.runs.stages import say

CHECKPOINT = "final-checkpoint.npz"


def train_on_all(folder: Path) -> Path:
    """Train on the training, validation and test part of a finished run together; return the `.onnx` file.

    Interrupted, the same call goes on after the last finished epoch. Of an ensemble the members are trained so, those that
    are not yet, and joined.

    Args:
        folder: run directory.

    Raises:
        UsageError: no finished run, weights that are gone, or a recipe that cannot do without a validation part.
        LesionlabError: images of the run are gone.

    """
    from lesionlab.lifecycle.join_networks import joined  # with Keras, which takes seconds
    from lesionlab.lifecycle.train import refit
    from lesionlab.model.architectures import with_decision
    from lesionlab.model.decision_rule import read_decision
    from lesionlab.model.export.onnx import export_onnx
    from lesionlab.model.export.ood_score import add_ood_score, in_words

    run = directory.open_run(folder)
    recipe = run.recipe
    for member in run.members:
        if not (member / directory.FINAL).exists():
            train_on_all(member)
    with folders.claimed(folder, directory.MANIFEST):
        table, pixels, collection = _images(run)
        rows = table["row"].to_numpy()
        say(f"{recipe.name}, on all {len(table):,} images of {table['lesion_id'].nunique():,} lesions")
        statistics = channel_statistics(pixels, rows)
        if run.members:
            members = [directory.open_run(member) for member in run.members]
            network = joined(members, directory.FINAL, recipe.name, statistics)
        else:
            network = refit(run, pixels, table, collection, statistics, folder / CHECKPOINT)
        facts = facts_of_refit(run)
        network = with_decision(network, read_decision(facts.decision))
        with replacing(folder / directory.FINAL) as temporary:
            network.save(temporary)
        training, reference = (table.loc[table["part"] == part, "row"].to_numpy() for part in ("train", "validation"))
        with replacing(folder / "final.onnx") as temporary:
            difference = export_onnx(network, temporary, facts.to_json(), pixels[rows[:64]])
            score = add_ood_score(temporary, pixels, training, reference, folder_of_row(collection).to_numpy())
        say(in_words(score))
        (folder / CHECKPOINT).unlink(missing_ok=True)
    say(f"final.onnx equals final.keras: largest difference {difference:.0e} in probability on {len(rows[:64])} images")
    return folder / "final.onnx"


def _images(run: RunDirectory) -> tuple[pd.DataFrame, np.ndarray, Collection]:
    """The run's images as in `splits.csv`, with `sha256` and `row` in the pixels; the pixels; and as they were read."""
    image = run.recipe.image
    collection = collection_of(run, "Put them back.")
    cache = decode(collection, image.height, image.width, image.crop)
    row_of = pd.Series(np.arange(len(collection.table)), index=collection.table["image_id"])
    table = run.splits()
    gone = table.loc[~table["image_id"].isin(row_of.index), "image_id"]
    if len(gone):
        raise LesionlabError(f"{len(gone):,} images of the run are gone ({', '.join(gone[:5])}). Put them back.")
    rows = table["image_id"].map(row_of)
    faults = cache.facts["error"].to_numpy()[rows]
    if (faults != "").any():
        (first, *_), unread = np.flatnonzero(faults != ""), int((faults != "").sum())
        raise LesionlabError(
            f"{unread:,} images of the run cannot be read any more ({table['image_id'][first]}: {faults[first]}). Put them back."
        )
    table = table.assign(row=rows, sha256=cache.facts["sha256"].to_numpy()[rows])
    if fingerprint(table) != run.manifest.data.fingerprint:
        raise LesionlabError(
            f"The images in {folders.named(run.data_folder)} have changed since the run in {run.folder}. Restore them, or "
            "repeat the run with --again."
        )
    return table, cache.pixels, collection
