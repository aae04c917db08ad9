"""`lesionlab export`: a run's model in another format, proved equal to its source, or a page that runs it."""

import argparse
import shlex
from pathlib import Path

from lesionlab.cli.arguments import Commands, Group, points
from lesionlab.errors import UsageError
from lesionlab.model.export import EXPORT_FORMATS


def add_export(commands: Commands) -> None:
    """Add `export` to the subcommands of `lesionlab`."""
    export = commands.add_parser(
        "export",
        help="convert a run's model to another format, or to a web page",
        description="Convert the model of a finished run to another format, and check that it predicts the same on the run's "
        "images; or write a web page that runs a model in the browser (--format web).",
    )
    export.add_argument(
        "run",
        nargs="?",
        type=Path,
        metavar="RUN",
        help="directory of a finished run; with --format web or --data also a .onnx file, or bundled (the model that comes "
        "with lesionlab)",
    )
    export.add_argument(
        "--format",
        choices=(*EXPORT_FORMATS, "web"),
        default="onnx",
        help="onnx (default); onnx-int8: 8-bit integers, faster; litert: formerly TensorFlow Lite; savedmodel: TensorFlow; "
        "keras; or web: a folder with a page that runs the model",
    )
    export.add_argument(
        "--final", action="store_true", help="export the network that 'lesionlab train' refitted on all lesions"
    )
    export.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write, for web and savedmodel a folder (default: in the run directory; with --data in this folder)",
    )
    _add_format_options(export.add_argument_group("onnx-int8 and web"))
    export.set_defaults(command=_export)


def _add_format_options(group: Group) -> None:
    group.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="DIR",
        help="with --format onnx-int8 and a model file: labelled images to calibrate and test it on; may be given several times",
    )
    group.add_argument(
        "--allowed-loss",
        type=points,
        metavar="POINTS",
        help="with onnx-int8: percentage points of balanced accuracy that may be lost (default: 1)",
    )
    group.add_argument(
        "--runtime",
        type=Path,
        metavar="FILE.tgz",
        help="with web: onnxruntime-web's npm tarball (default: download it once)",
    )


def _export(options: argparse.Namespace) -> None:
    _check_options(options)
    if options.format == "web":
        _export_web(options)
    elif options.data:
        _export_file(options)
    elif options.run.is_file():
        raise UsageError(_what_a_file_gives(options.run, options.format))
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


def _what_a_file_gives(model: Path, format: str) -> str:
    if format == "onnx":
        return f"{model} is a model file, not a run, and is to be had as it is: copy it."
    if format == "onnx-int8":
        return f"{model} is a model file, not a run: add --data DIR, labelled images to calibrate and test int8 on."
    return (
        f"{model} is a model file, and {format} is made of a run: give its directory. A model file becomes a page (--format web) "
        "or int8 (--format onnx-int8 --data DIR)."
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
