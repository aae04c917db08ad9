"""`lesionlab track`: finished runs in, logged where a team keeps its experiments."""

import argparse
from pathlib import Path

from lesionlab.choices import TRACKERS
from lesionlab.cli.arguments import Commands


def add_track(commands: Commands) -> None:
    """Add `track` to the subcommands of `lesionlab`."""
    track = commands.add_parser("track", help="hand finished runs in to MLflow or TensorBoard")
    track.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    track.add_argument("--to", choices=TRACKERS, default="mlflow", help="default: mlflow")
    track.set_defaults(command=_track)


def _track(options: argparse.Namespace) -> None:
    from lesionlab.tracking import import_run

    for folder in options.runs:
        print(f"{folder}: {import_run(folder, options.to)}")
