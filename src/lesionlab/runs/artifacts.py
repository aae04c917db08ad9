"""Read a run directory's files: recipe, history, metrics, what its model says of itself; or say that it is damaged.

Separate from `lesionlab.runs.directory`, so that `predict` need not import recipes.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from lesionlab.errors import LesionlabError
from lesionlab.inference.facts import ON_ALL, Facts, make_facts
from lesionlab.recipe import Recipe, read_recipe
from lesionlab.runs import directory
from lesionlab.taxonomy import read_taxonomy


def recipe_of(folder: Path) -> Recipe:
    """Read a run's recipe.

    Raises:
        LesionlabError: it is gone.
        UsageError: it cannot be read.

    """
    path = folder / directory.RECIPE
    if not path.is_file():
        raise damaged(folder, f"{directory.RECIPE} is gone")
    return read_recipe(str(path))


def metrics_of(folder: Path) -> dict[str, Any]:
    """Read a run's `metrics.json`.

    Raises:
        LesionlabError: it is gone, or no such file.

    """
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(folder, "its metrics.json cannot be read") from error
    if not isinstance(metrics, dict):
        raise damaged(folder, "its metrics.json cannot be read")
    return metrics


def decision_of(folder: Path) -> dict[str, Any]:
    """Read what a run has chosen on its validation part: the block `decision` of `metrics.json`.

    Raises:
        LesionlabError: it is not there.

    """
    decision = metrics_of(folder).get("decision")
    if not isinstance(decision, dict):
        raise damaged(folder, "its metrics.json does not say how it decides")
    return decision


def history_of(folder: Path) -> pd.DataFrame:
    """Read a run's `history.csv`, a row an epoch; of an ensemble the column `run` says whose the epoch was.

    Raises:
        LesionlabError: it is gone, or no such table.

    """
    try:
        history = pd.read_csv(folder / "history.csv", dtype={"run": str})
        return history.astype(dict.fromkeys(history.columns.drop("run", errors="ignore"), float))
    except (OSError, ValueError) as error:  # pandas's own errors are ValueErrors
        raise damaged(folder, "its history.csv cannot be read") from error


def run_facts(folder: Path, manifest: dict[str, Any]) -> Facts:
    """Facts for the bundle of a finished run, from the files of its directory."""
    recipe = recipe_of(folder)
    card = folder / "card.md"
    training_data, licence = describe_training_data(manifest["data"])
    decision = decision_of(folder)
    return make_facts(
        name=recipe.name,
        taxonomy=read_taxonomy("ham10000"),
        height=recipe.image.height,
        width=recipe.image.width,
        crop=recipe.image.crop,
        decision=decision,
        temperature=decision["temperature"],
        thresholds=decision["thresholds"],
        conformal=decision["conformal"],
        training_data=training_data,
        licence=licence,
        card=card.read_text(encoding="utf-8") if card.is_file() else "",
    )


def final_facts(folder: Path, manifest: dict[str, Any]) -> Facts:
    """Facts of the network that is trained on all lesions of a finished run: whose figures the card has is said in it."""
    facts = run_facts(folder, manifest)
    about = (
        f"> These weights were trained by the recipe `{facts.name}` on all lesions named below. The figures are those of the "
        "same recipe trained on the training part alone, measured on lesions kept apart.\n\n"
    )
    return dataclasses.replace(facts, training_data=facts.training_data + ON_ALL, card=about + facts.card)


def describe_training_data(data: dict[str, Any]) -> tuple[str, str]:
    """Say what a run's data were, and under what licence; `data` is the manifest's. The folder's name is left out."""
    counts = f"{data['images']:,} images of {data['lesions']:,} lesions, fingerprint {data['fingerprint'][:16]}"
    if data["is_generated"]:
        return f"generated lesions, of no patient: {counts}", "none: nothing of it is anybody's"
    return f"{counts}, read as {data['layout']}", "that of the data; of HAM10000: CC BY-NC 4.0, non-commercial use only"


def damaged(folder: Path, what: str) -> LesionlabError:
    """Word that a run directory is not as its run has left it."""
    advice = "Put it back, or make the run anew: the same command with --again."
    return LesionlabError(f"The run in {folder} is damaged: {what}. {advice}")
