"""`lesionlab predict`: images in, probabilities of the diagnoses out."""

import argparse
from pathlib import Path

from lesionlab.cli.arguments import Commands, add_engine, engine_of, positive
from lesionlab.errors import UsageError
from lesionlab.inference import SHARD_FORMATS


def add_predict(commands: Commands) -> None:
    """Add `predict` to the subcommands of `lesionlab`."""
    predict = commands.add_parser(
        "predict",
        help="predict the diagnosis of images: probabilities as a table",
        description="Predict the probability of each diagnosis for images and folders of images: bars on a terminal, CSV with "
        "ISIC's columns in a pipe or in --out. What does not look like a dermatoscopic image is rejected. Files that cannot be "
        "read are listed, and the exit code is then 1.",
    )
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="image, folder (searched through), pattern such as 'a/*.jpg', list of paths (.txt, or .parquet with a column "
        "path), or - for a list on standard input",
    )
    predict.add_argument(
        "--model",
        metavar="FILE",
        help="model file (.onnx), run directory, or bundled-int8: a third of the size, about 1.3 times as fast, "
        "some predictions differ (default: bundled, the model that comes with lesionlab)",
    )
    predict.add_argument("--out", type=Path, metavar="FILE.csv", help="write a CSV table with ISIC's columns")
    predict.add_argument("--json", action="store_true", help="print one JSON object per image, with every field")
    predict.add_argument(
        "--explain",
        type=Path,
        metavar="DIR",
        help="write each image overlaid with its class activation map into a folder",
    )
    predict.add_argument("--resume", action="store_true", help="continue the table of an interrupted --out")
    _add_tables(predict)
    predict.add_argument("--batch-size", type=positive, default=4, metavar="N", help="images per batch (default: 4)")
    _add_scale(predict)
    predict.set_defaults(command=_predict)


def _add_tables(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "--by-lesion",
        type=Path,
        metavar="TABLE",
        help="write one row per lesion, by a table with the columns image_id and lesion_id",
    )
    predict.add_argument(
        "--metadata",
        type=Path,
        metavar="TABLE",
        help="take age, sex and site of each image from a table (image_id or isic_id; age, sex, localization, or ISIC's names)",
    )


def _add_scale(predict: argparse.ArgumentParser) -> None:
    scale = predict.add_argument_group("large archives", "An interrupted command resumes: repeat it.")
    scale.add_argument("--shards", type=Path, metavar="DIR", help="write the table as many files into a folder")
    scale.add_argument("--shard-format", choices=SHARD_FORMATS, help="format of these files (default: parquet)")
    scale.add_argument("--shard-size", type=positive, metavar="N", help="images per output file (default: 1000)")
    add_engine(scale, "where to compute: this machine or a Ray cluster (default: local)")


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
    apart = [f"--{name}" for name in ("json", "explain", "resume", "shards") if getattr(options, name)]
    if options.by_lesion and apart:
        raise UsageError(
            f"--by-lesion writes one table when all images are predicted: leave out {' and '.join(apart)}."
        )
    elsewhere = [f"--{name}" for name in ("out", "json", "explain") if getattr(options, name)]
    if options.shards and elsewhere:
        raise UsageError(f"--shards writes nothing else: leave out {' and '.join(elsewhere)}.")
