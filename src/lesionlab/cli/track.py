"""`lesionlab track`: finished runs in, logged where a team keeps its experiments."""

import argparse
from pathlib import Path

from lesionlab.cli.arguments import Commands
from lesionlab.tracking import TRACKERS


def add_track(commands: Commands) -> None:
    """Add `track` to the subcommands of `lesionlab`."""
    track = commands.add_parser(
        "track",
        help="log finished runs to MLflow or TensorBoard",
        description="Log finished runs to MLflow or TensorBoard: the recipe, the metrics of each epoch, the results, and for "
        "MLflow the run's files. To log while training, use 'lesionlab run --track'.",
    )
    track.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="directories of finished runs, or of folds")
    track.add_argument("--to", choices=TRACKERS, default="mlflow", help="tracker to log to (default: mlflow)")
    track.set_defaults(command=_track)


def _track(options: argparse.Namespace) -> None:
    from lesionlab.tracking.trackers import import_run

    for folder in options.runs:
        print(f"{folder}: {import_run(folder, options.to)}")
