"""`lesionlab evaluate`, `score` and `compare`: the commands that say how good a model is."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, Group, add_data, add_reading, positive, reading_of, share, whole_number
from lesionlab.errors import UsageError

CHALLENGES = ("isic2016", "isic2017", "isic2018", "isic2019", "isic2020", "isic2024", "milk10k")


def add_evaluate(commands: Commands) -> None:
    """Add `evaluate` to the subcommands of `lesionlab`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="evaluate a model, or a table of predictions, on labelled images",
        description="Evaluate a model, or a table of its predictions, on labelled images, and write a report: metrics with "
        "95 % intervals over lesions, subgroups, calibration, operating points, prediction sets, errors. Images that the model "
        "was trained on make it look too good: name its split with --split, or leave them out with --unseen.",
    )
    evaluate.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="model file (.onnx), run directory, or .csv of predictions (default: the model that comes with lesionlab)",
    )
    add_data(evaluate)
    evaluate.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for report.html, metrics.json and figures"
    )
    evaluate.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="random seed of the bootstrap (default: 0)"
    )
    evaluate.add_argument(
        "--allow-missing", action="store_true", help="evaluate the images that have a prediction, and list the others"
    )
    evaluate.add_argument(
        "--split",
        type=Path,
        metavar="FILE.csv",
        help="a run's splits.csv: evaluate on its test part; choose thresholds on its validation part",
    )
    evaluate.add_argument(
        "--by-lesion",
        action="store_true",
        help="join the images of each lesion into one prediction (mean of log probabilities)",
    )
    add_reading(evaluate)
    _add_further_options(evaluate.add_argument_group("further measurements"))
    evaluate.set_defaults(command=_evaluate)


def _add_further_options(group: Group) -> None:
    group.add_argument(
        "--costs",
        type=Path,
        metavar="FILE.csv",
        help="cost matrix: the cost of each predicted diagnosis for each true one",
    )
    group.add_argument(
        "--risk",
        type=share,
        metavar="R",
        help="highest error rate allowed among answered images; the model abstains on the rest (default: 0.05, 0.1 and 0.2)",
    )
    group.add_argument(
        "--unseen",
        action="store_true",
        help="leave out the lesions that the model was trained on, by the ISIC ids in its file",
    )
    group.add_argument(
        "--use-metadata",
        action="store_true",
        help="predict from age, sex and site too, as the data's own table has them",
    )
    group.add_argument(
        "--robustness",
        action="store_true",
        help="also evaluate on corrupted, rotated and masked images; takes some minutes",
    )
    group.add_argument(
        "--robustness-lesions", type=positive, metavar="N", help="the same, on at most N lesions (default: 200)"
    )


def _evaluate(options: argparse.Namespace) -> None:
    from lesionlab.evaluation.abstention import RISKS
    from lesionlab.evaluation.measure import headline_in_words
    from lesionlab.evaluation.robustness import LESIONS
    from lesionlab.lifecycle.evaluate_elsewhere import evaluate
    from lesionlab.lifecycle.overlap import warnings_of
    from lesionlab.runs import directory

    taxonomy, image_types = reading_of(options)
    report = evaluate(
        options.model,
        options.data,
        options.out,
        seed=options.seed,
        allow_missing=options.allow_missing,
        split=options.split,
        costs=options.costs,
        risks=(options.risk,) if options.risk else RISKS,
        robustness_lesions=options.robustness_lesions or (LESIONS if options.robustness else None),
        taxonomy=taxonomy,
        image_types=image_types,
        by_lesion=options.by_lesion,
        unseen=options.unseen,
        use_metadata=options.use_metadata,
    )
    evaluated = directory.open_evaluated(options.out)
    metrics = evaluated.metrics()
    test = metrics.test
    undecided = f", {test.undecided:,} undecided (a tie counts as wrong)" if test.undecided else ""
    print(f"{test.images:,} images of {test.lesions:,} lesions{undecided}", *headline_in_words(metrics), sep="\n")
    print(*warnings_of(evaluated), f"Report: {report}", NOT_A_DEVICE, sep="\n")


def add_score(commands: Commands) -> None:
    """Add `score` to the subcommands of `lesionlab`."""
    score = commands.add_parser(
        "score",
        help="compute an ISIC challenge's metrics from a table of predictions",
        description="Compute the metrics of an ISIC challenge as its own scorer does, from a table of predictions and one of the "
        "true diagnoses.",
    )
    score.add_argument(
        "predictions",
        type=Path,
        metavar="PREDICTIONS.csv",
        help="table with image and the challenge's columns, for isic2018 MEL,NV,BCC,AKIEC,BKL,DF,VASC; or of more "
        "diagnoses",
    )
    score.add_argument(
        "truth",
        type=Path,
        metavar="TRUTH.csv",
        help="the challenge's ground truth, or (but for isic2017) a table with image_id and dx",
    )
    score.add_argument(
        "--challenge",
        choices=CHALLENGES,
        default="isic2018",
        metavar="NAME",
        help=f"whose columns and metrics: {', '.join(CHALLENGES)} (default: isic2018)",
    )
    score.add_argument("--json", action="store_true", help="print the metrics as JSON")
    score.add_argument(
        "--part", metavar="NAME", help="score one part of a run's predictions.csv: train, validation or test"
    )
    score.add_argument(
        "--allow-missing",
        action="store_true",
        help="score the images that have a prediction, and say how many have none",
    )
    score.set_defaults(command=_score)


def _score(options: argparse.Namespace) -> None:
    import json
    import sys

    from lesionlab.evaluation.isic_score import METRICS, score
    from lesionlab.files import without_nan

    result = score(
        options.predictions,
        options.truth,
        challenge=options.challenge,
        part=options.part,
        allow_missing=options.allow_missing,
    )
    for note in result["notes"]:
        print(f"lesionlab: {note}", file=sys.stderr)
    if options.json:
        print(json.dumps(without_nan(result), indent=1, ensure_ascii=False))
    else:
        print("\n".join(_score_lines(result, METRICS)))


def _score_lines(result: dict[str, Any], metrics: Sequence[str]) -> Iterator[str]:
    shown = ("balanced_accuracy", "accuracy", "macro_auc", "macro_auc_sens_80", "macro_average_precision")
    for key in dict.fromkeys((result["metric"], *shown)):
        if key in result:
            mark = f"  (ranks {result['challenge']})" if key == result["metric"] else ""
            yield f"{key.replace('_', ' '):24} {result[key]:.4f}{mark}"
    what = "lesions" if result["challenge"] == "milk10k" else "images"
    ties = f", of which {result['undecided']:,} undecided (a tie counts as wrong)" if "undecided" in result else ""
    yield f"{what:24} {result['images']:,}{ties}\n"
    width = max(map(len, result["per_category"])) + 1
    yield f"{'':{width}}{what:>8}" + "".join(f"{metric:>13}" for metric in metrics)
    figures = result["per_category"] | {"mean": result["macro_average"] | {"images": result["images"]}}
    for column, row in figures.items():
        yield f"{column:{width}}{row['images']:8,}" + "".join(f"{row[metric]:13.4f}" for metric in metrics)


def add_compare(commands: Commands) -> None:
    """Add `compare` to the subcommands of `lesionlab`."""
    compare = commands.add_parser(
        "compare",
        help="test whether one run is better than another on the same images",
        description="Test whether runs differ on the same test images: paired bootstrap over lesions, McNemar's test, DeLong's "
        "test, and a verdict in words.",
    )
    compare.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="directories of runs or evaluations; each is compared with the first",
    )
    compare.add_argument("--json", action="store_true", help="print the metrics as JSON")
    compare.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> None:
    import dataclasses
    import json
    import sys

    from lesionlab.cli.comparison import print_comparison
    from lesionlab.files import without_nan
    from lesionlab.lifecycle.compare import compare_runs, differing_inputs
    from lesionlab.lifecycle.overlap import warnings_of
    from lesionlab.runs import directory

    if len(options.runs) < 2:
        raise UsageError("Give two runs or more: lesionlab compare RUN RUN.")
    first, *others = options.runs
    results = {other: compare_runs(first, other) for other in others}
    too_good = [text for run in options.runs for text in warnings_of(directory.open_evaluated(run))]
    warnings = [*differing_inputs(options.runs), *too_good]
    if options.json:
        found = {str(other): dataclasses.asdict(result) for other, result in results.items()}
        print(json.dumps(without_nan(found), indent=1))
        print(*warnings, NOT_A_DEVICE, sep="\n", file=sys.stderr)
        return
    for other in others:
        print_comparison(first, other, results[other])
    print(*warnings, NOT_A_DEVICE, sep="\n")
