"""Runs where a team keeps its experiments: MLflow or TensorBoard, while a run trains or from its directory afterwards.

In: a run directory. Out: for MLflow a run with the recipe as parameters, a row of metrics an epoch, the figures of the
finished run and its files; for TensorBoard event files. A tracker that fails never stops a training: it is said, and
`lesionlab track RUN` hands the run in later.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lesionlab import rundir
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.recipe import Recipe
from lesionlab.stages import say

TRACKERS = ("mlflow", "tensorboard")
FILES = (
    "report.html metrics.json predictions.csv splits.csv history.csv recipe.toml manifest.json card.md model.onnx model.keras"
).split()


@dataclass(frozen=True)
class Tracker:
    """A tracker at work on one run directory.

    `epoch` takes a row of the history; `finish` takes what the finished directory holds and says where it can be seen.
    """

    name: str
    epoch: Callable[[dict[str, float]], None]
    finish: Callable[[], str]


def start(name: str, folder: Path, *, again: bool = False) -> Tracker:
    """Begin to track a run, or go on with it where the same directory was tracked before.

    Args:
        name: one of `TRACKERS`.
        folder: run directory; it holds `recipe.toml` and `manifest.json` already.
        again: track it as a new run, whatever was tracked of the directory before.

    Raises:
        UsageError: the tracker is not installed, or not known.
        LesionlabError: its server or database does not answer.

    """
    if name == "mlflow":
        from lesionlab.track_mlflow import start_mlflow

        return start_mlflow(folder, again=again)
    if name == "tensorboard":
        from lesionlab.track_tensorboard import start_tensorboard

        return start_tensorboard(folder, again=again)
    raise UsageError(f"There is no tracker {name!r}. Known: {', '.join(TRACKERS)}.")


def open_stores(names: tuple[str, ...]) -> dict[str, str]:
    """Open what runs are about to write into side by side; give the settings that lead other processes to the same.

    Raises:
        UsageError: a tracker is not installed.
        LesionlabError: its server or database does not answer.

    """
    if "mlflow" not in names:
        return {}
    from lesionlab.track_mlflow import open_store, store_uri

    open_store()
    return {"MLFLOW_TRACKING_URI": store_uri()}


def start_all(names: tuple[str, ...], folder: Path, *, again: bool) -> list[Tracker]:
    """Begin with every tracker asked for; one that fails from now on is said and left, and stops nothing."""
    return [_forgiving(start(name, folder, again=again), folder) for name in names]


def import_run(folder: Path, to: str) -> str:
    """Hand a finished run in to a tracker and say where it can be seen; done twice, it is there once.

    Raises:
        UsageError: no finished run, or the tracker is not installed.
        LesionlabError: the tracker does not answer.

    """
    rundir.read_finished(folder)
    read_history(folder), read_figures(folder)  # before a tracker is told that a run begins
    return start(to, folder).finish()


def parameters(recipe: Recipe, manifest: dict[str, Any]) -> dict[str, str]:
    """Every choice of a run, the defaults too, as `section.key`; and seed, data and its limit."""
    flat: dict[str, Any] = {}
    for key, value in asdict(recipe).items():
        flat |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {key: value}
    request = manifest["request"]
    flat |= {"seed": request["seed"], "limit": request["limit"], "data": request["data"]}
    return {key: str(value) for key, value in flat.items()}


def figures(metrics: dict[str, Any]) -> dict[str, float]:
    """The numbers of `metrics.json` that runs are compared by, as `test.balanced_accuracy`, with intervals as `…_low`."""
    found: dict[str, float] = {}
    for part in ("train", "validation", "test"):
        values = metrics.get(part, {})
        found |= {f"{part}.{name}": v for name, v in values.items() if isinstance(v, int | float)}
        for name, interval in (values.get("intervals") or {}).items():
            if isinstance(interval, list) and len(interval) == 2 and None not in interval:
                found |= {f"{part}.{name}_low": interval[0], f"{part}.{name}_high": interval[1]}
        calibration = values.get("calibration") or {}
        found |= {f"{part}.{n}": calibration[n] for n in ("ece", "brier") if isinstance(calibration.get(n), float)}
    return found


def read_history(folder: Path) -> list[dict[str, float]]:
    """The rows of `history.csv`, one an epoch.

    Raises:
        LesionlabError: it is damaged or gone.

    """
    try:
        table = pd.read_csv(folder / "history.csv", dtype=float)
        return table[["epoch", "loss", *table.columns.difference(["epoch", "loss"])]].to_dict("records")  # type: ignore[return-value]
    except (OSError, ValueError, KeyError) as error:  # pandas's own errors are ValueErrors
        raise _damaged(folder, "history.csv") from error


def read_figures(folder: Path) -> dict[str, float]:
    """The `figures` of a finished run.

    Raises:
        LesionlabError: `metrics.json` is damaged or gone.

    """
    try:
        return figures(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise _damaged(folder, "metrics.json") from error


def _damaged(folder: Path, name: str) -> LesionlabError:
    return LesionlabError(
        f"The run in {folder} is damaged: its {name} cannot be read. Put it back, or make the run anew."
    )


def read_choices(folder: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and the manifest of a run directory."""
    manifest = rundir.read_manifest(folder)
    if manifest is None:
        raise UsageError(f"{folder} is no run directory. Give one that 'lesionlab run' has written.")
    return rundir.recipe_of(folder), manifest


def epoch_figures(row: dict[str, float]) -> dict[str, float]:
    """What of a row of the history is drawn over the epochs; what is not defined is left out."""
    return {name: float(value) for name, value in row.items() if name != "epoch" and value == value}


def track_command(options: argparse.Namespace) -> None:
    """Run `lesionlab track`."""
    for folder in options.runs:
        print(f"{folder}: {import_run(folder, options.to)}")


def _forgiving(tracker: Tracker, folder: Path) -> Tracker:
    """Let a training outlive its tracker: the first failure is said, and no more is sent until the end."""
    is_well = [True]

    def epoch(row: dict[str, float]) -> None:
        if not is_well[0]:
            return
        try:
            tracker.epoch(row)
        except (LesionlabError, OSError) as error:
            is_well[0] = False
            say(f"{tracker.name} failed ({error}); the training goes on")

    def finish() -> str:
        try:
            return tracker.finish()
        except (LesionlabError, OSError) as error:
            return f"failed: {error} Later: lesionlab track {folder} --to {tracker.name}"

    return Tracker(tracker.name, epoch, finish)
