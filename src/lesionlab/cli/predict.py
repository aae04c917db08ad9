"""`lesionlab predict`: images in, probabilities of the diagnoses out."""

import argparse
from pathlib import Path

from lesionlab.choices import SHARD_FORMATS
from lesionlab.cli.arguments import Commands, add_engine, engine_of, positive
from lesionlab.errors import UsageError


def add_predict(commands: Commands) -> None:
    """Add `predict` to the subcommands of `lesionlab`."""
    predict = commands.add_parser("predict", help="images in, probabilities of the diagnoses out")
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="image, folder (searched through), pattern, list of paths (.txt; .parquet with a column path), or - for a list "
        "on standard input",
    )
    predict.add_argument("--model", metavar="FILE", help="model file, .onnx, or run directory (default: lesionlab's)")
    predict.add_argument("--out", type=Path, metavar="FILE.csv", help="write a CSV table with ISIC's columns")
    predict.add_argument("--json", action="store_true", help="print a JSON object an image, with all that is known")
    predict.add_argument(
        "--explain",
        type=Path,
        metavar="DIR",
        help="write each image with its class activation map laid over it, into another folder than the images'",
    )
    predict.add_argument("--resume", action="store_true", help="go on with the table of an interrupted --out")
    predict.add_argument(
        "--batch-size", type=positive, default=4, metavar="N", help="images that go through together (default: 4)"
    )
    _add_scale(predict)
    predict.set_defaults(command=_predict)


def _add_scale(predict: argparse.ArgumentParser) -> None:
    scale = predict.add_argument_group("archives", "the same command goes on where it was interrupted")
    scale.add_argument(
        "--shards", type=Path, metavar="DIR", help="write files of some thousand rows each into a folder"
    )
    scale.add_argument("--shard-format", choices=SHARD_FORMATS, help="default: parquet")
    scale.add_argument("--shard-size", type=positive, metavar="N", help="images that one file answers (default: 1000)")
    add_engine(scale, "who computes (default: local)")


def _predict(options: argparse.Namespace) -> int:
    from lesionlab.cli.predict_images import predict_paths

    _check_options(options)
    return predict_paths(options)


def _check_options(options: argparse.Namespace) -> None:
    if options.resume and not (options.out or options.shards):
        raise UsageError("--resume goes on with the table that --out names: give --out FILE.csv.")
    options.engine = engine_of(options)
    if not options.shards:
        if options.engine == "ray":
            raise UsageError("--engine ray writes shards: give --shards DIR.")
        if options.shard_size or options.shard_format:
            raise UsageError("--shard-size and --shard-format are of shards: give --shards DIR.")
    elsewhere = [f"--{name}" for name in ("out", "json", "explain") if getattr(options, name)]
    if options.shards and elsewhere:
        raise UsageError(f"--shards writes nothing else: leave out {' and '.join(elsewhere)}.")
