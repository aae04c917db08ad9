"""What stands in the directory of a run: its recipe, its history, its metrics; or that the directory is damaged.

In: a run directory that has been trained in. Apart from `lesionlab.rundir`, which predictions need too, so that these start
without what recipes need.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from lesionlab import rundir
from lesionlab.errors import LesionlabError
from lesionlab.recipe import Recipe, read_recipe


def recipe_of(folder: Path) -> Recipe:
    """Read a run's recipe.

    Raises:
        LesionlabError: it is gone.
        UsageError: it cannot be read.

    """
    path = folder / rundir.RECIPE
    if not path.is_file():
        raise damaged(folder, f"{rundir.RECIPE} is gone")
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


def damaged(folder: Path, what: str) -> LesionlabError:
    """Word that a run directory is not as its run has left it."""
    return LesionlabError(f"The run in {folder} is damaged: {what}. Put it back, or make the run anew.")
