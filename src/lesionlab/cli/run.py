"""`lesionlab run`, `train` and `ensemble`: the commands that make a classifier."""

import argparse
from pathlib import Path
from typing import Any

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import (
    Commands,
    Group,
    add_engine,
    add_reading,
    devices,
    engine_of,
    positive,
    recipe_that_reads,
    whole_number,
)
from lesionlab.errors import UsageError
from lesionlab.recipes import CALIBRATIONS, RECIPES
from lesionlab.tracking import TRACKERS


def add_run(commands: Commands) -> None:
    """Add `run` to the subcommands of `lesionlab`."""
    run = commands.add_parser(
        "run",
        help="train and evaluate a classifier: from images to a report",
        description="Read, clean and split a folder of images, train a classifier, and evaluate it on lesions that it was not "
        "trained on. Everything goes into one run directory, report.html first. An interrupted run resumes: repeat the same "
        "command.",
    )
    _add_data_options(run.add_argument_group("data"))
    _add_training_options(run.add_argument_group("training"))
    results = run.add_argument_group("results")
    results.add_argument("--out", type=Path, metavar="DIR", help="run directory (default: runs/DATA-RECIPE)")
    results.add_argument(
        "--again", action="store_true", help="start over, and replace what the run directory holds of this run"
    )
    results.add_argument(
        "--track",
        action="append",
        choices=TRACKERS,
        default=[],
        help="log to a tracker while training; may be given twice",
    )
    folds = run.add_argument_group("cross-validation")
    folds.add_argument("--folds", type=positive, metavar="K", help="cross-validate: K runs, each lesion tested once")
    add_engine(
        folds,
        "where to train the folds: on this machine, one after the other, or in parallel with Ray (default: local)",
    )
    run.set_defaults(command=_run)


def _add_data_options(group: Group) -> None:
    group.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="DIR",
        help="folder of images with their diagnoses (default: generated lesions); may be given several times: all are taken "
        "together, and lesions common to them stay on one side of the split",
    )
    group.add_argument(
        "--split",
        metavar="NAME|FILE",
        help="how to split: lesion (default), source:CLINIC (test on one clinic), official (the parts as "
        "published), kaggle (leaks; for comparison), or a .csv file with the columns image_id and part",
    )
    add_reading(group)
    group.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        help="use about N images, for a quick try: whole lesions, at least six of each diagnosis",
    )


def _add_training_options(group: Group) -> None:
    group.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"{', '.join(RECIPES)}, or a TOML file (default: mobile; on generated lesions quick)",
    )
    group.add_argument(
        "--weights",
        metavar="FILE|none",
        help="initial weights: imagenet, none, a .weights.h5 file, or one that Keras publishes (…_no_top.h5) (default: the "
        "recipe's)",
    )
    group.add_argument(
        "--teacher",
        metavar="FILE",
        help="model file of the same diagnoses: half of each label, or the recipe's loss.teacher_share, is what it makes of the "
        "image (distillation); give its run's splits.csv to --split",
    )
    group.add_argument("--epochs", type=positive, metavar="N", help="number of epochs, in place of the recipe's")
    group.add_argument("--seed", type=whole_number, default=0, metavar="N", help="random seed (default: 0)")
    group.add_argument(
        "--devices",
        type=devices,
        default=1,
        metavar="N|all",
        help="number of GPUs (or other devices) to train on, with JAX (default: 1)",
    )


def _run(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.cross_validate import cross_validate
    from lesionlab.lifecycle.run import Request, run
    from lesionlab.recipe import read_recipe

    recipe = read_recipe(options.recipe or ("mobile" if options.data else "quick"))
    recipe = recipe_that_reads(recipe, options)
    if options.weights:
        recipe = recipe.with_changes("model", weights=options.weights)
    if options.teacher:
        recipe = recipe.with_changes("loss", teacher=options.teacher)
    if options.epochs:
        recipe = recipe.with_changes("optimizer", epochs=options.epochs)
    if options.split:
        recipe = recipe.with_changes("split", **split_choice(options.split))
    data_name = "-".join(folder.resolve().name for folder in options.data or ()) or "generated"
    out = options.out or Path("runs") / f"{data_name}-{recipe.name}"
    choices: dict[str, Any] = {"devices": options.devices, "track": tuple(dict.fromkeys(options.track))}
    data = tuple(options.data) if options.data else None
    request = Request(recipe, data, out, options.seed, options.limit, options.again, **choices)
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


def split_choice(text: str) -> dict[str, str]:
    """Read what `--split` asks for, as a recipe's section [split]."""
    if text.lower().endswith(".csv"):
        return {"name": "file", "file": text}
    name, _, source = text.partition(":")
    if source and name != "source":
        raise UsageError(f"--split {text}: only source:CLINIC takes a name behind the colon.")
    return {"name": name, "source": source}


def add_train(commands: Commands) -> None:
    """Add `train` to the subcommands of `lesionlab`."""
    train = commands.add_parser(
        "train",
        help="refit a finished run's recipe on all lesions: the model to share",
        description="Refit the recipe of a finished run on all of its lesions, test and validation part too. The refitted "
        "network (final.keras, final.onnx) cannot be tested on these images any more: its model card has the run's figures.",
    )
    train.add_argument(
        "run", type=Path, metavar="RUN", help="directory of a finished run; the refitted network is written into it"
    )
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.refit import train_on_all

    print(f"{train_on_all(options.run)} written. {NOT_A_DEVICE}")


def add_ensemble(commands: Commands) -> None:
    """Add `ensemble` to the subcommands of `lesionlab`."""
    ensemble = commands.add_parser(
        "ensemble",
        help="join finished runs on the same split into one network",
        description="Join finished runs on the same images and split into one network, whose logits are the mean of theirs, "
        "and evaluate it as a run of its own.",
    )
    ensemble.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="directories of finished runs, two or more")
    ensemble.add_argument("--out", type=Path, required=True, metavar="DIR", help="run directory to write")
    ensemble.add_argument(
        "--name", default="ensemble", help="name of the ensemble, shown as a recipe's name would be (default: ensemble)"
    )
    ensemble.add_argument(
        "--calibration",
        choices=CALIBRATIONS,
        help="how to recalibrate the joined network (default: as in the first run)",
    )
    ensemble.add_argument("--again", action="store_true", help="start over, and replace a finished ensemble")
    ensemble.set_defaults(command=_ensemble)


def _ensemble(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.ensemble import ensemble

    ensemble(options.runs, options.out, name=options.name, calibration=options.calibration, again=options.again)
