"""Search for a better recipe: many trials side by side by Ray Tune; those that lag behind are stopped early.

In: a recipe, a search space in TOML, a data folder. Out: `trials.csv`, a row a trial, and `best.toml`, the recipe that came
out best, for `lesionlab run --recipe`. Trials are trained and compared on the training and validation parts of the split
that `lesionlab run` makes with the same seed: its test part is not looked at, so that a run of the best recipe tests on
lesions that the search has not seen.

Early stopping is ASHA (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020).
"""

import dataclasses
import itertools
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from lesionlab import environment, folders
from lesionlab._version import NOT_A_DEVICE
from lesionlab.cluster import connection, tasks
from lesionlab.data.split import split
from lesionlab.data.split_proof import prove
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.files import read_csv, write_csv, write_text
from lesionlab.lifecycle import prepare
from lesionlab.lifecycle.run import validated
from lesionlab.lifecycle.search_space import Choices, Space, Value, changed, read_space
from lesionlab.lifecycle.trial import METRIC, trial_number
from lesionlab.lifecycle.values import Request, Run
from lesionlab.recipe import Recipe
from lesionlab.runs import directory, start
from lesionlab.runs.identity import Identity
from lesionlab.runs.stages import announce, say

_OF_THE_NETWORK = {  # keys that decide whether a network can be built at all
    "model.architecture", "model.weights", "model.frozen_until", "model.views",
    "image.height", "image.width", "image.normalisation", "training.first_side",
}  # fmt: skip


@dataclass(frozen=True)
class Search:
    """What a user asks for: `space` is a TOML file, `trials` how many recipes are tried, `limit` as in `Request`."""

    recipe: Recipe
    space: Path
    data: folders.Data
    out: Path
    trials: int = 20
    seed: int = 0
    limit: int | None = None


@dataclass(frozen=True)
class SearchResult:
    """What a search has found: the best recipe's file, and how many trials failed."""

    best: Path
    n_failed: int


def tune(search: Search, *, cpus: int = 1, address: str | None = None, again: bool = False) -> SearchResult:
    """Try recipes and write the best. The same call goes on with an interrupted search.

    Args:
        search: what is asked for.
        cpus: cores of a trial; a trial takes a GPU as well where the cluster has any.
        address: of a Ray cluster, see `lesionlab.cluster.connection.cluster`; its nodes must see data and directory.
        again: search anew, whatever the directory holds of a search.

    Raises:
        UsageError: the space, the data, or a directory that holds another search.
        LesionlabError: Ray is not installed or not reached, or every trial failed.

    """
    recipe = validated(Request(search.recipe, search.data, search.out)).recipe
    search = dataclasses.replace(search, recipe=recipe)
    space = read_space(search.space, search.recipe)
    connection.reach(address)
    from lesionlab.lifecycle import ray_search  # with Ray, which is an extra and takes seconds

    with folders.claimed(search.out, directory.MANIFEST):
        identity = _identity(search, space)
        if start.find_finished(search.out, identity, again=again):
            announce(
                f"This search was finished: {search.out / 'best.toml'}\nNothing was done again; --again starts it anew."
            )
            return _found(search.out)
        if again:
            _remove_checkpoints(search.out)
        head = start.new_head(identity, search.seed)
        start.write_manifest(search.out, head)
        job = _write_job(search, space)
        with connection.cluster(address) as ray:
            results = ray_search.fit(
                ray, search.recipe, space, job, n_trials=search.trials, seed=search.seed, cpus=cpus
            )
        _write_results(search, results)
        start.write_manifest(search.out, msgspec.structs.replace(head, finished=environment.now()))
        _remove_checkpoints(search.out)
    return _found(search.out)


def _found(out: Path) -> SearchResult:
    return SearchResult(out / "best.toml", int((read_csv(out / "trials.csv")["error"] != "").sum()))


def _remove_checkpoints(out: Path) -> None:
    """Remove what Ray and the trials keep to go on by: large, and of no more use."""
    for name in ("search", "trials"):
        shutil.rmtree(out / name, ignore_errors=True)


def _write_job(search: Search, space: Space) -> Path:
    """Read, clean and divide the data once; what every trial needs goes into a folder."""
    from lesionlab.model.check import check_model

    for recipe in _networks(search.recipe, space):
        try:
            check_model(recipe)
        except UsageError as error:
            raise UsageError(f"{search.space}: {error}") from error
    request = Request(search.recipe, search.data, search.out, search.seed, search.limit)
    prepared = prepare.prepare(Run(request))
    table = prepared.cleaned.table
    parts = split(table, search.recipe.split, prepared.collection.taxonomy, seed=search.seed)
    if prove(table, parts).is_leaking:
        raise UsageError(
            "The recipe's split leaks: trials would be chosen by what they remember. Use the split 'lesion'."
        )
    job = (search.out / "trials").resolve()
    job.mkdir(exist_ok=True)
    kept = table[["image_id", "row", "sha256", "dx"]].assign(part=parts)
    write_csv(kept[kept["part"] != "test"], job / "table.csv")
    images = prepared.collection.table[["image_id", "path"]]
    paths = [os.path.abspath(path) if path else "" for path in images["path"]]
    write_csv(images.assign(path=paths), job / "images.csv")
    write_text(job / "recipe.toml", search.recipe.to_toml())
    write_text(job / "taxonomy.toml", prepared.taxonomy.to_toml())
    say("trials are compared on the validation part; the test part is set aside")
    return job


def _networks(recipe: Recipe, space: Space) -> list[Recipe]:
    """The recipe with every network that a trial may get: each combination of choices, or of a range's ends."""
    varied = {
        name: given.choices if isinstance(given, Choices) else [given.low, given.high]
        for name, given in space.items()
        if name in _OF_THE_NETWORK
    }
    return [changed(recipe, dict(zip(varied, chosen, strict=True))) for chosen in itertools.product(*varied.values())]


def _write_results(search: Search, results: Any) -> None:
    """Write a row a trial, best first, and the best trial's recipe: that of the highest figure at any of its epochs."""
    by_number = {trial_number(Path(result.path).name): result for result in results}
    rows = [_row(number, result) for number, result in sorted(by_number.items())]  # Ray's order is none after a break
    table = pd.DataFrame(rows).sort_values(METRIC, ascending=False, na_position="last", kind="stable")
    write_csv(table, search.out / "trials.csv")
    if np.isnan(table[METRIC].iloc[0]):
        raise LesionlabError(
            f"Every trial failed. The first: {table['error'].iloc[0]}; see {search.out / 'trials.csv'}."
        )
    choices = by_number[int(table["trial"].iloc[0])].config
    write_text(search.out / "best.toml", changed(search.recipe, choices).to_toml())
    _say_results(search, table, choices)


def _row(number: int, result: Any) -> dict[str, Value]:
    """What `trials.csv` holds of a trial."""
    history = result.metrics_dataframe
    has_epochs = history is not None and METRIC in history
    return {
        "trial": number,
        METRIC: float(history[METRIC].max()) if has_epochs else float("nan"),
        "epochs": int(history["epoch"].max()) if has_epochs else 0,
        **result.config,
        "error": tasks.last_line(result.error or ""),
    }


def _say_results(search: Search, table: pd.DataFrame, choices: Mapping[str, Value]) -> None:
    """Say the best trial's figure and choices, how many failed, and how the recipe is tested."""
    name, best = METRIC.removeprefix("val_").replace("_", " "), table[METRIC].iloc[0]
    say(f"best of {len(table)}: {name} {best:.3f} on validation")
    say(", ".join(f"{key} = {v:.4g}" if isinstance(v, float) else f"{key} = {v}" for key, v in choices.items()))
    if n_failed := (table["error"] != "").sum():
        say(f"{n_failed} of {len(table)} trials failed; reasons in {search.out / 'trials.csv'}")
    data = [word for folder in folders.each(search.data) for word in ("--data", folder)]
    command = ["lesionlab", "run", *data, "--recipe", search.out / "best.toml", "--seed", search.seed]
    command += ["--limit", search.limit] if search.limit else []  # with another one, other lesions would be tested on
    announce(f"\nTest it: {shlex.join(map(str, command))}")
    announce(f"This validation figure is the highest of many: expect a lower one on the test part. {NOT_A_DEVICE}")


def _identity(search: Search, space: Space) -> Identity:
    return Identity(
        recipe=search.recipe.to_toml(),
        space={name: dataclasses.asdict(given) for name, given in space.items()},
        data=folders.as_written(folders.resolved(search.data)),
        trials=search.trials,
        seed=search.seed,
        limit=search.limit,
        taxonomy=Request(search.recipe, search.data, search.out).written_taxonomy,
    )
