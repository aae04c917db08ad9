"""`lesionlab export`: a run's model in another format, proved equal to its source, or a page that runs it."""

import argparse
import shlex
from pathlib import Path

from lesionlab.choices import EXPORT_FORMATS
from lesionlab.cli.arguments import Commands, points
from lesionlab.errors import UsageError


def add_export(commands: Commands) -> None:
    """Add `export` to the subcommands of `lesionlab`."""
    export = commands.add_parser("export", help="write a run's model in another format, or a page that runs it")
    export.add_argument(
        "run",
        nargs="?",
        type=Path,
        metavar="RUN",
        help="run directory; for web or with --data also a .onnx file or the name of lesionlab's own model",
    )
    export.add_argument("--format", choices=(*EXPORT_FORMATS, "web"), default="onnx", help="default: onnx")
    export.add_argument(
        "--final", action="store_true", help="the network that 'lesionlab train' has made, not the run's own"
    )
    export.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="of onnx-int8, for a model in place of a run: images with diagnoses to judge it on",
    )
    export.add_argument(
        "--out", type=Path, metavar="FILE", help="default: beside the run's model, with --data here; for web a folder"
    )
    export.add_argument(
        "--allowed-loss",
        type=points,
        metavar="POINTS",
        help="of onnx-int8: percentage points of balanced accuracy that it may lose (default: 1)",
    )
    export.add_argument(
        "--runtime",
        type=Path,
        metavar="FILE.tgz",
        help="of web: onnxruntime-web's tarball, for machines that are offline",
    )
    export.set_defaults(command=_export)


def _export(options: argparse.Namespace) -> None:
    _check_options(options)
    if options.format == "web":
        _export_web(options)
    elif options.data:
        _export_file(options)
    else:
        _export_run(options)


def _check_options(options: argparse.Namespace) -> None:
    if options.allowed_loss is not None and options.format != "onnx-int8":
        raise UsageError(f"--allowed-loss is of --format onnx-int8, not of {options.format}: leave it out.")
    if options.data and (options.format != "onnx-int8" or options.final or options.run is None):
        raise UsageError("--data goes with a model file: lesionlab export FILE.onnx --format onnx-int8 --data DIR.")
    if options.final and options.format == "web":
        raise UsageError("--final is not of --format web: give RUN/final.onnx in place of RUN.")
    if options.format != "web" and (options.run is None or options.runtime):
        raise UsageError(
            f"The format {options.format} takes a run: lesionlab export RUN --format {options.format}; "
            "the model that comes with lesionlab, and --runtime, are for --format web."
        )


def _export_web(options: argparse.Namespace) -> None:
    from lesionlab.serve.static_page import export_web, model_and_folder

    source, folder = model_and_folder(options.run, options.out)
    done = export_web(source, folder, runtime=options.runtime)
    whose = "lesionlab's own model" if source is None else "the model"
    print(f"{done.folder} written: the page, {whose} {done.model!r} and its runtime, {done.size / 1e6:.0f} MB.")
    quoted = shlex.quote(str(done.folder))
    print(f"Any file server can host it. To look: python3 -m http.server --bind 127.0.0.1 --directory {quoted}")


def _export_file(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.export_int8 import export_file

    print(export_file(options.run, options.data, options.out, **_allowed_loss(options)).in_words())


def _export_run(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.export import export_run

    loss = _allowed_loss(options)
    print(export_run(options.run, options.format, options.out, is_final=options.final, **loss).in_words())


def _allowed_loss(options: argparse.Namespace) -> dict[str, float]:
    """Give percentage points as a fraction; nothing where the default is to be taken."""
    return {} if options.allowed_loss is None else {"allowed_loss": options.allowed_loss / 100}
