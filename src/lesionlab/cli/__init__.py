"""The command line: parse, call, print. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

Nothing heavy is imported before a command is chosen, so that `--help` answers at once.
"""

import argparse
import errno
import io
import os
import signal
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from lesionlab._version import NOT_A_DEVICE, __version__
from lesionlab.cli import (
    adapt,
    compare_data,
    completion,
    data,
    demo,
    embed,
    evaluate,
    export,
    predict,
    probe,
    run,
    serve,
    track,
    tune,
)
from lesionlab.cli.arguments import Parser
from lesionlab.errors import LesionlabError, UsageError

_DESCRIPTION = "From a folder of dermatoscopic images to an honestly evaluated classifier."
_EPILOG = """\
examples:
  lesionlab demo                       a page with generated lesions to click
  lesionlab run                        a first run, on generated lesions
  lesionlab run --data HAM10000        train and evaluate on your images
  lesionlab predict photo.jpg          use the model that comes with lesionlab
  lesionlab COMMAND --help             every option of a command
"""
_GO_ON = ("run", "probe", "train", "tune", "fetch", "predict", "embed")  # predict's tables with --resume


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_closed_streams()
    _set_encoding()
    if arguments is None:
        _stop_once()
    parser, given = make_parser(), sys.argv[1:] if arguments is None else arguments
    if not given:
        parser.print_help(sys.stderr)
        _suggest()
        return 2
    options = parser.parse_args(given)
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


def _suggest() -> None:
    """Say under the help what to do next, by what lies here."""
    from lesionlab.cli.next_steps import next_steps  # with Pillow, which `--help` does not need

    steps = next_steps(Path())
    width = max(len(command) for command, _ in steps)
    lines = "\n".join(f"  {command:{width}}  {what}" for command, what in steps)
    print(f"\nnext, here:\n{lines}", file=sys.stderr)


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


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of every command and option."""
    parser = Parser(
        prog="lesionlab",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=_DESCRIPTION + "\n" + textwrap.fill(NOT_A_DEVICE, 78),
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"lesionlab {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command_name", required=True)
    data.add_fetch(commands)
    data.add_check(commands)
    data.add_explore(commands)
    data.add_phantom(commands)
    run.add_run(commands)
    probe.add_probe(commands)
    run.add_train(commands)
    run.add_ensemble(commands)
    tune.add_tune(commands)
    evaluate.add_evaluate(commands)
    evaluate.add_score(commands)
    evaluate.add_compare(commands)
    compare_data.add_compare_data(commands)
    adapt.add_adapt(commands)
    predict.add_predict(commands)
    embed.add_embed(commands)
    demo.add_demo(commands)
    serve.add_serve(commands)
    export.add_export(commands)
    track.add_track(commands)
    completion.add_completion(commands)
    return parser


def _how_to_go_on(options: argparse.Namespace) -> str:
    """Say whether what was done is kept: not every command goes on."""
    is_table = options.command_name in ("predict", "embed") and not options.shards
    if is_table and options.command_name == "predict" and options.out and not options.by_lesion:
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
