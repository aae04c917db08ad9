"""What of a run directory a tracker of experiments gets: its choices, its epochs, its figures, its files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lesionlab.errors import UsageError
from lesionlab.evaluation.metrics import HEADLINE
from lesionlab.runs import directory
from lesionlab.runs.directory import RunDirectory, damaged
from lesionlab.runs.identity import Kind

FOLDS = "folds.json"
FILES = (
    "report.html metrics.json predictions.csv splits.csv history.csv recipe.toml manifest.json card.md model.onnx model.keras "
    "folds.json folds.csv"
).split()


@dataclass(frozen=True)
class Tracker:
    """A tracker at work on one run directory.

    `epoch` takes a row of the history; `finish` takes what the finished directory holds and says where it can be seen; `stop`
    is told that the run was broken off by the user (True), or has failed.
    """

    name: str
    epoch: Callable[[dict[str, float]], None]
    finish: Callable[[], str]
    stop: Callable[[bool], None]


def open_directory(folder: Path) -> RunDirectory:
    """Open what is tracked: a run or folds, finished or not.

    Raises:
        UsageError: the folder holds neither.

    """
    found = directory.find_training(folder)
    if found is None:
        raise UsageError(f"{folder} is no run directory. Give one that 'lesionlab run' has written.")
    return found


def parameters(run: RunDirectory) -> dict[str, str]:
    """Every choice of a run, the defaults too, as `section.key`; and seed, data and its limit."""
    flat: dict[str, object] = {}
    for key, value in asdict(run.recipe).items():
        flat |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {key: value}
    data = run.head.request.data or run.manifest.data.folder  # an ensemble's is its members'
    flat |= {"seed": run.head.seed, "limit": run.head.request.limit, "data": data}
    return {key: str(value) for key, value in flat.items()}


def figures(metrics: dict[str, Any], parts: Sequence[str] = ("train", "validation", "test")) -> dict[str, float]:
    """The numbers of `metrics.json` that runs are compared by, as `test.balanced_accuracy`, with intervals as `…_low`."""
    found: dict[str, float] = {}
    for part in parts:
        values = metrics.get(part) or {}
        found |= {f"{part}.{name}": v for name, v in values.items() if isinstance(v, int | float)}
        for name, interval in (values.get("intervals") or {}).items():
            if isinstance(interval, list) and len(interval) == 2 and None not in interval:
                found |= {f"{part}.{name}_low": interval[0], f"{part}.{name}_high": interval[1]}
        calibration = values.get("calibration") or {}
        found |= {f"{part}.{n}": calibration[n] for n in ("ece", "brier") if isinstance(calibration.get(n), float)}
    return found


def _figures_of_folds(summary: dict[str, Any]) -> dict[str, float]:
    """The numbers of `folds.json`: of all folds together, and each figure's mean and standard deviation over them."""
    found = figures({"together": summary["together"]}, ("together",))
    for name in HEADLINE:
        found |= {f"folds.{name}_{kind}": value for kind, value in summary[name].items() if value is not None}
    return found


def read_history(run: RunDirectory) -> list[dict[str, float]]:
    """The rows of `history.csv`, one an epoch; none of folds, nor of an ensemble, which its members were trained for.

    Raises:
        LesionlabError: it is damaged or gone.

    """
    if run.kind is Kind.FOLDS:
        return []
    history = run.history()
    if not {"epoch", "loss"} <= set(history):
        raise damaged(run.folder, "its history.csv cannot be read")
    return [] if "run" in history else history.to_dict("records")  # type: ignore[return-value]


def read_figures(run: RunDirectory) -> dict[str, float]:
    """The `figures` of a finished run, or of folds.

    Raises:
        LesionlabError: `metrics.json` is damaged or gone.

    """
    try:
        if run.kind is Kind.FOLDS:
            return _figures_of_folds(json.loads((run.folder / FOLDS).read_text(encoding="utf-8")))
        return figures(run.figures())
    except (AttributeError, KeyError, ValueError) as error:
        raise damaged(run.folder, "its metrics.json cannot be read") from error


def epoch_figures(row: dict[str, float]) -> dict[str, float]:
    """What of a row of the history is drawn over the epochs; what is not defined is left out."""
    return {name: float(value) for name, value in row.items() if name != "epoch" and value == value}
