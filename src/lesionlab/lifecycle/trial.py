"""One trial of a search, in a worker of Ray's: a recipe with some of its keys changed, trained and reported epoch by epoch.

In: the folder that `lesionlab.lifecycle.tune` has written for all trials: `table.csv`, `images.csv`, and the recipe and taxonomy.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab import environment
from lesionlab.cluster import tasks
from lesionlab.data.pixels import decode_images
from lesionlab.data.statistics import channel_statistics, encode_labels
from lesionlab.errors import LesionlabError
from lesionlab.files import read_csv
from lesionlab.lifecycle import prepare
from lesionlab.lifecycle.search_space import Value, changed
from lesionlab.recipe import Recipe, read_recipe
from lesionlab.taxonomy import read_taxonomy

METRIC = "val_balanced_accuracy"


def run_trial(choices: Mapping[str, Value], job: str, seed: int, settings: dict[str, str]) -> None:
    """Train one recipe in a worker, under the caller's settings, and report each epoch; killed, it goes on after its last."""
    os.environ.update(settings)
    from ray import tune

    from lesionlab.model.architectures import build_network
    from lesionlab.model.pretrained import load_pretrained
    from lesionlab.model.train import Part, train

    folder = Path(job)
    recipe = changed(read_recipe(str(folder / "recipe.toml")), choices)
    table = read_csv(folder / "table.csv").astype({"row": int})
    pixels = _pixels(folder, recipe, table)
    taxonomy = read_taxonomy(folder / "taxonomy.toml")
    labels, parts = encode_labels(table["dx"], taxonomy), table["part"].to_numpy()
    training, validation = (
        Part(table["row"].to_numpy()[parts == part], labels[parts == part]) for part in ("train", "validation")
    )
    network = build_network(
        recipe, *channel_statistics(pixels, training.rows), n_diagnoses=len(taxonomy), for_training=True, seed=seed
    )
    load_pretrained(network, recipe)
    checkpoint, key = folder / f"{tune.get_context().get_trial_id()}.npz", prepare.data_key(table)
    told = []

    def report(row: dict[str, float]) -> None:
        told.append(row)
        _report(row)

    history = train(
        network, recipe, pixels, training, validation, seed=seed, checkpoint=checkpoint, data_key=key, report=report
    )
    for row in [] if told else history:  # it had died after its last epoch: Ray wants to hear of a trial that it starts
        _report(row)


def _pixels(folder: Path, recipe: Recipe, table: pd.DataFrame) -> np.ndarray:
    """Decode the images, or find them decoded; a worker that cannot read one must not train on a black image."""
    images = read_csv(folder / "images.csv")
    pairs = list(zip(images["image_id"], images["path"], strict=True))
    image = recipe.image
    cache = decode_images(
        pairs, height=image.height, width=image.width, crop=image.crop, cache_dir=environment.default_cache_dir()
    )
    faults = cache.facts["error"].iloc[table["row"]]
    if (faults != "").any():
        row = faults.index[faults != ""][0]
        raise LesionlabError(
            f"Node {tasks.node_name()} cannot read {images['path'].iloc[row]} ({faults.loc[row]}). Every node must see the "
            "data under the same path: mount the folder there."
        )
    return cache.pixels


def _report(row: dict[str, float]) -> None:
    from ray import tune

    tune.report({name: row[name] for name in ("epoch", "loss", "val_loss", "val_accuracy", METRIC)})


def trial_number(name: str) -> int:
    """Find the number of one of Ray Tune's trials, from 1, in its id, `1a2b3_00004`, or its folder's name.

    The search's own part of the id, before the number, may be five decimal digits as well.
    """
    found = re.search(r"(?:^|_)[0-9a-f]{5}_(\d{5})(?:_|$)", name)
    return int(found[1]) + 1 if found else 0
