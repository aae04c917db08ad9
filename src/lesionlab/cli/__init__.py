"""The command line: parse, call, print. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

Nothing heavy is imported before a command is chosen, so that `--help` answers at once.
"""

import argparse
import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lesionlab._version import NOT_A_DEVICE, __version__
from lesionlab.cli import scale, serve, use
from lesionlab.cli.numbers import devices, positive, whole_number
from lesionlab.cli.parser import Parser
from lesionlab.errors import LesionlabError, UsageError

_GO_ON = ("run", "train", "tune", "fetch", "predict")  # predict's tables with --resume


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_closed_streams()
    _set_encoding()
    if arguments is None:
        _stop_once()
    options = _parser().parse_args(arguments)
    try:
        code = options.command(options) or 0
        sys.stdout.flush()  # what cannot be printed is said here, not by the interpreter
        return code
    except UsageError as error:
        return _fail(str(error), 2)
    except LesionlabError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail(f"Interrupted. {_how_to_go_on(options)}", 130)
    except BrokenPipeError:
        _drop_output()  # the reader has gone: nothing left to say
        return 1
    except OSError as error:
        try:
            print(end="", flush=True)
        except OSError:
            _drop_output()
        return _fail(_word_os_error(error, options), 1)


def _stop_once() -> None:
    """Have the first Ctrl-C stop this process in order, and further ones not break into that."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background ignores it
        signal.signal(signal.SIGINT, stop)


def _open_closed_streams() -> None:
    """Give a process that was started with standard streams closed (`>&-`) empty ones."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  as long as the process


def _set_encoding() -> None:
    """Print UTF-8 into files and pipes, whatever the locale; a terminal keeps its own, and shows the rest as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = None if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lesionlab",
        description="From a folder of dermatoscopic images to an honestly evaluated classifier. " + NOT_A_DEVICE,
    )
    parser.add_argument("--version", action="version", version=f"lesionlab {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command_name", required=True)
    _add_run(commands)
    train = commands.add_parser("train", help="train a finished run's recipe once more, on all of its lesions")
    train.add_argument("run", type=Path, metavar="RUN", help="run directory; final.keras and final.onnx go into it")
    train.set_defaults(command=_train)
    _add_ensemble(commands)
    _add_data_commands(commands)
    use.add_commands(commands)
    serve.add_serve(commands)
    scale.add_commands(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser("run", help="the whole life of a classifier: from images to a report")
    run.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="DIR",
        help="folder of images and metadata; given twice, both are trained on, lesions common to them on one side; "
        "without it, generated lesions",
    )
    run.add_argument("--recipe", metavar="NAME|FILE", help="recipe (default: mobile; on generated lesions: quick)")
    run.add_argument("--weights", metavar="FILE|none", help="starting weights: a .weights.h5 file, imagenet or none")
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
        "--track", action="append", choices=use.TRACKERS, default=[], help="tracker to log to; can be given twice"
    )
    run.add_argument(
        "--folds", type=positive, metavar="K", help="cross-validation: K runs, every lesion tested on once"
    )
    scale.add_engine(run, "who trains the folds (default: local, one after the other)")
    run.add_argument("--again", action="store_true", help="start anew, whatever the run directory holds of this run")
    run.set_defaults(command=_run)


def _add_ensemble(commands: argparse._SubParsersAction) -> None:
    ensemble = commands.add_parser("ensemble", help="several finished runs on the same split, as one network")
    ensemble.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories, two or more")
    ensemble.add_argument("--out", type=Path, required=True, metavar="DIR", help="run directory of the ensemble")
    ensemble.add_argument("--name", default="ensemble", help="of the ensemble, where a recipe's would stand")
    ensemble.add_argument(
        "--calibration", choices=("none", "temperature", "vector"), help="chosen anew (default: as the first run's)"
    )
    ensemble.add_argument("--again", action="store_true", help="do it again where it is finished")
    ensemble.set_defaults(command=_ensemble)


def _add_data_commands(commands: argparse._SubParsersAction) -> None:
    check = commands.add_parser("check", help="read a folder, say what is in it and what is wrong with it")
    check.add_argument(
        "data", type=Path, nargs="+", metavar="DIR", help="folder of images and metadata; of several, what is in common"
    )
    check.add_argument(
        "--pairs", type=Path, metavar="FILE", help="write all pairs of images of one lesion to a .csv file"
    )
    check.set_defaults(command=_check)
    explore = commands.add_parser("explore", help="tables and figures of a folder")
    explore.add_argument("data", type=Path, metavar="DIR")
    explore.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for explore.html and figures")
    explore.set_defaults(command=_explore)
    phantom = commands.add_parser("phantom", help="draw generated lesions in HAM10000's layout")
    phantom.add_argument("folder", type=Path, metavar="DIR")
    phantom.add_argument("--lesions", type=positive, default=700, metavar="N", help="how many (default: 700)")
    phantom.add_argument("--seed", type=whole_number, default=0, metavar="N")
    phantom.set_defaults(command=_phantom)
    fetch = commands.add_parser("fetch", help="download a data set")
    fetch.add_argument("name", metavar="NAME", help="ham10000")
    fetch.add_argument("folder", type=Path, metavar="DIR")
    fetch.set_defaults(command=_fetch)


def _run(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.run import Request, run
    from lesionlab.recipe import read_recipe

    recipe = read_recipe(options.recipe or ("mobile" if options.data else "quick"))
    if options.weights:
        recipe = recipe.with_changes("model", weights=options.weights)
    if options.epochs:
        recipe = recipe.with_changes("optimizer", epochs=options.epochs)
    if options.split:
        recipe = recipe.with_changes("split", **_split_choice(options.split))
    data_name = "-".join(folder.resolve().name for folder in options.data or ()) or "generated"
    out = options.out or Path("runs") / f"{data_name}-{recipe.name}"
    choices = {"again": options.again, "devices": options.devices, "track": tuple(dict.fromkeys(options.track))}
    data = tuple(options.data) if options.data else None
    request = Request(recipe, data, out, options.seed, options.limit, **choices)
    if scale.asks_for_folds(options):
        scale.run_folds(request, options)
    else:
        run(request)


def _train(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.refit import train_on_all

    print(f"{train_on_all(options.run)} written. {NOT_A_DEVICE}")


def _ensemble(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.ensemble import ensemble

    ensemble(options.runs, options.out, name=options.name, calibration=options.calibration, again=options.again)


def _split_choice(text: str) -> dict[str, str]:
    if text.lower().endswith(".csv"):
        return {"name": "file", "file": text}
    name, _, source = text.partition(":")
    if source and name != "source":
        raise UsageError(f"--split {text}: only source:CLINIC takes a name behind the colon.")
    return {"name": name, "source": source}


def _check(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.check import check

    check(tuple(options.data), options.pairs)


def _explore(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.check import explore_folder

    print(f"{explore_folder(options.data, options.out)} written. {NOT_A_DEVICE}")


def _phantom(options: argparse.Namespace) -> None:
    from lesionlab.data.phantom.write import write_phantoms

    try:
        write_phantoms(options.folder, lesions=options.lesions, seed=options.seed)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(f"{options.folder} cannot be written ({error.strerror}). Name another folder.") from error
    print(f"{options.lesions} generated lesions, of no patient, in {options.folder}")


def _fetch(options: argparse.Namespace) -> None:
    from lesionlab.data.fetch import fetch

    print(fetch(options.name, options.folder))


def _how_to_go_on(options: argparse.Namespace) -> str:
    """Say whether what was done is kept: not every command goes on."""
    is_table = options.command_name == "predict" and not options.shards
    if is_table and options.out:
        return "The same command with --resume goes on where it stopped."
    if is_table or options.command_name not in _GO_ON:
        return "Start it again."
    same = "The same command" + (" without --again" if getattr(options, "again", False) else "")
    return f"{same} goes on where it stopped."


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _word_os_error(error: OSError, options: argparse.Namespace) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"The disk is full{where}. Free some space. {_how_to_go_on(options)}"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"Access is not permitted{where}. To write elsewhere, choose another --out, or set LESIONLAB_CACHE."
    return f"{error.strerror or error}{where}."


def _fail(message: str, code: int) -> int:
    print(f"lesionlab: {message}", file=sys.stderr)
    return code
