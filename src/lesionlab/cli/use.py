"""The commands that use finished models, `predict` to `export`. Parsing only; nothing heavy is imported here."""

import argparse
from pathlib import Path

from lesionlab.cli.numbers import points, positive, share, whole_number
from lesionlab.cli.scale import add_engine
from lesionlab.errors import UsageError

TRACKERS = ("mlflow", "tensorboard")
CHALLENGES = ("isic2016", "isic2017", "isic2018", "isic2019", "isic2020", "isic2024", "milk10k")
FORMATS = ("onnx", "onnx-int8", "litert", "savedmodel", "keras", "web")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `predict`, `score`, `evaluate`, `compare`, `export` and `track` to the subcommands of `lesionlab`."""
    _add_predict(commands)
    _add_score(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_export(commands)
    _add_track(commands)


def _add_predict(commands: argparse._SubParsersAction) -> None:
    predict = commands.add_parser("predict", help="images in, probabilities of the seven diagnoses out")
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
    scale.add_argument("--shard-format", choices=("parquet", "csv"), help="default: parquet")
    scale.add_argument("--shard-size", type=positive, metavar="N", help="images that one file answers (default: 1000)")
    add_engine(scale, "who computes (default: local)")


def _add_score(commands: argparse._SubParsersAction) -> None:
    score = commands.add_parser("score", help="the ISIC challenge's own metrics of a table of predictions")
    score.add_argument(
        "predictions",
        type=Path,
        metavar="PREDICTIONS.csv",
        help="image and the challenge's columns: MEL,NV,BCC,AKIEC,BKL,DF,VASC of isic2018",
    )
    score.add_argument(
        "truth", type=Path, metavar="TRUTH.csv", help="the challenge's ground truth, or metadata with image_id and dx"
    )
    score.add_argument(
        "--challenge", choices=CHALLENGES, default="isic2018", help="whose columns and metric (default: isic2018)"
    )
    score.add_argument("--json", action="store_true", help="print the figures as JSON")
    score.add_argument(
        "--part", metavar="NAME", help="of a run's predictions.csv, score one part: train, validation or test"
    )
    score.add_argument(
        "--allow-missing",
        action="store_true",
        help="score the images that have a prediction, and say how many have none",
    )
    score.set_defaults(command=_score)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    evaluate = commands.add_parser("evaluate", help="judge a model, or its predictions, on a labelled folder")
    evaluate.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a .onnx file, a run, or a .csv of predictions (default: lesionlab's model)",
    )
    evaluate.add_argument("--data", type=Path, required=True, metavar="DIR", help="labelled images, in any layout")
    evaluate.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for report.html and figures")
    evaluate.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="seed of the bootstrap (default: 0)"
    )
    evaluate.add_argument(
        "--allow-missing", action="store_true", help="judge the images that have a prediction, and list the others"
    )
    evaluate.add_argument(
        "--split",
        type=Path,
        metavar="FILE.csv",
        help="a run's splits.csv: judge its test part, draw lines on validation",
    )
    evaluate.add_argument("--costs", type=Path, metavar="FILE.csv", help="cost of each answer to each true diagnosis")
    evaluate.add_argument(
        "--risk", type=share, metavar="R", help="share of wrong answers to keep by abstaining (default: .05, .1, .2)"
    )
    evaluate.add_argument(
        "--robustness", action="store_true", help="corrupt, turn and cover the images too: some minutes more"
    )
    evaluate.add_argument(
        "--robustness-lesions", type=positive, metavar="N", help="the same, of at most so many lesions (default: 200)"
    )
    evaluate.set_defaults(command=_evaluate)


def _add_compare(commands: argparse._SubParsersAction) -> None:
    compare = commands.add_parser("compare", help="whether one run is better than another on the same test images")
    compare.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run directories; the first is compared with"
    )
    compare.add_argument("--json", action="store_true", help="print the figures as JSON")
    compare.set_defaults(command=_compare)


def _add_export(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser("export", help="write a run's model in another format, or a page that runs it")
    export.add_argument(
        "run",
        nargs="?",
        type=Path,
        metavar="RUN",
        help="run directory; for web or with --data also a .onnx file or the name of lesionlab's own model",
    )
    export.add_argument("--format", choices=FORMATS, default="onnx", help="default: onnx")
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


def _add_track(commands: argparse._SubParsersAction) -> None:
    track = commands.add_parser("track", help="hand finished runs in to MLflow or TensorBoard")
    track.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    track.add_argument("--to", choices=TRACKERS, default="mlflow", help="default: mlflow")
    track.set_defaults(command=_track)


def _predict(options: argparse.Namespace) -> int:
    from lesionlab.cli.predict import predict_command

    return predict_command(options)


def _score(options: argparse.Namespace) -> None:
    from lesionlab.score import score_command

    score_command(options)


def _evaluate(options: argparse.Namespace) -> None:
    from lesionlab.evaluate import evaluate_command

    evaluate_command(options)


def _compare(options: argparse.Namespace) -> None:
    from lesionlab.compare_runs import compare_command

    compare_command(options)


def _export(options: argparse.Namespace) -> None:
    if options.allowed_loss is not None and options.format != "onnx-int8":
        raise UsageError(f"--allowed-loss is of --format onnx-int8, not of {options.format}: leave it out.")
    if options.data and (options.format != "onnx-int8" or options.final or options.run is None):
        raise UsageError("--data goes with a model file: lesionlab export FILE.onnx --format onnx-int8 --data DIR.")
    if options.final and options.format == "web":
        raise UsageError("--final is not of --format web: give RUN/final.onnx in place of RUN.")
    if options.format == "web":
        from lesionlab.web import web_command

        return web_command(options)
    if options.run is None or options.runtime:
        raise UsageError(
            f"The format {options.format} takes a run: lesionlab export RUN --format {options.format}; "
            "the model that comes with lesionlab, and --runtime, are for --format web."
        )
    if options.data:
        from lesionlab.export_file import export_file_command

        return export_file_command(options)
    from lesionlab.export_run import export_command

    export_command(options)


def _track(options: argparse.Namespace) -> None:
    from lesionlab.tracking import track_command

    track_command(options)
