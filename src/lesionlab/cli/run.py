"""`lesionlab run`, `train` and `ensemble`: the commands that make a classifier."""

import argparse
from pathlib import Path
from typing import Any

from lesionlab._version import NOT_A_DEVICE
from lesionlab.choices import CALIBRATIONS, TRACKERS
from lesionlab.cli.arguments import Commands, add_engine, devices, engine_of, positive, whole_number
from lesionlab.errors import UsageError


def add_run(commands: Commands) -> None:
    """Add `run` to the subcommands of `lesionlab`."""
    run = commands.add_parser("run", help="the whole life of a classifier: from images to a report")
    run.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of images and metadata; without it, generated lesions"
    )
    run.add_argument("--recipe", metavar="NAME|FILE", help="recipe (default: mobile; on generated lesions: quick)")
    run.add_argument(
        "--weights",
        metavar="FILE|none",
        help="starting weights: imagenet, none, a .weights.h5 file, or one that Keras publishes (…_no_top.h5)",
    )
    run.add_argument(
        "--split", metavar="NAME|FILE", help="lesion (default), kaggle (leaks), source:CLINIC, or a .csv file"
    )
    run.add_argument("--out", type=Path, metavar="DIR", help="run directory (default: runs/DATA-RECIPE)")
    run.add_argument("--seed", type=whole_number, default=0, metavar="N", help="seed of everything random (default: 0)")
    run.add_argument("--epochs", type=positive, metavar="N", help="epochs, instead of the recipe's")
    run.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        help="take about N images, whole lesions; of each diagnosis always six lesions or more",
    )
    run.add_argument(
        "--devices", type=devices, default=1, metavar="N|all", help="devices that train, on JAX (default: 1)"
    )
    run.add_argument(
        "--track", action="append", choices=TRACKERS, default=[], help="tracker to log to; can be given twice"
    )
    run.add_argument(
        "--folds", type=positive, metavar="K", help="cross-validation: K runs, every lesion tested on once"
    )
    add_engine(run, "who trains the folds (default: local, one after the other)")
    run.add_argument("--again", action="store_true", help="start anew, whatever the run directory holds of this run")
    run.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.cross_validate import cross_validate
    from lesionlab.lifecycle.run import Request, run
    from lesionlab.recipe import read_recipe

    recipe = read_recipe(options.recipe or ("mobile" if options.data else "quick"))
    if options.weights:
        recipe = recipe.with_changes("model", weights=options.weights)
    if options.epochs:
        recipe = recipe.with_changes("optimizer", epochs=options.epochs)
    if options.split:
        recipe = recipe.with_changes("split", **_split_choice(options.split))
    data_name = options.data.resolve().name if options.data else "generated"
    out = options.out or Path("runs") / f"{data_name}-{recipe.name}"
    choices: dict[str, Any] = {"devices": options.devices, "track": tuple(dict.fromkeys(options.track))}
    request = Request(recipe, options.data, out, options.seed, options.limit, options.again, **choices)
    engine = engine_of(options)
    _check_folds(options, engine)
    if options.folds is None:
        run(request)
        return
    folds = cross_validate(request, options.folds, engine=engine, address=options.address)
    print(f"Folds: {folds / 'folds.json'}")


def _check_folds(options: argparse.Namespace, engine: str) -> None:
    if options.folds is None:
        if engine == "ray":
            raise UsageError("--engine ray trains folds side by side: give --folds K.")
        return
    if not 2 <= options.folds <= 100:
        raise UsageError(f"--folds {options.folds} is outside 2 to 100.")
    if options.split:
        raise UsageError("--folds divides the lesions itself: leave out --split.")


def _split_choice(text: str) -> dict[str, str]:
    if text.lower().endswith(".csv"):
        return {"name": "file", "file": text}
    name, _, source = text.partition(":")
    if source and name != "source":
        raise UsageError(f"--split {text}: only source:CLINIC takes a name behind the colon.")
    return {"name": name, "source": source}


def add_train(commands: Commands) -> None:
    """Add `train` to the subcommands of `lesionlab`."""
    train = commands.add_parser("train", help="train a finished run's recipe once more, on all of its lesions")
    train.add_argument("run", type=Path, metavar="RUN", help="run directory; final.keras and final.onnx go into it")
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.refit import train_on_all

    print(f"{train_on_all(options.run)} written. {NOT_A_DEVICE}")


def add_ensemble(commands: Commands) -> None:
    """Add `ensemble` to the subcommands of `lesionlab`."""
    ensemble = commands.add_parser("ensemble", help="several finished runs on the same split, as one network")
    ensemble.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories, two or more")
    ensemble.add_argument("--out", type=Path, required=True, metavar="DIR", help="run directory of the ensemble")
    ensemble.add_argument("--name", default="ensemble", help="of the ensemble, where a recipe's would stand")
    ensemble.add_argument("--calibration", choices=CALIBRATIONS, help="chosen anew (default: as the first run's)")
    ensemble.add_argument("--again", action="store_true", help="do it again where it is finished")
    ensemble.set_defaults(command=_ensemble)


def _ensemble(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.ensemble import ensemble

    ensemble(options.runs, options.out, name=options.name, calibration=options.calibration, again=options.again)
