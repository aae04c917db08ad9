"""`lesionlab evaluate`, `score` and `compare`: the commands that say how good a model is."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, positive, share, whole_number
from lesionlab.errors import UsageError

CHALLENGES = ("isic2016", "isic2017", "isic2018", "isic2019", "isic2020", "isic2024", "milk10k")


def add_evaluate(commands: Commands) -> None:
    """Add `evaluate` to the subcommands of `lesionlab`."""
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


def _evaluate(options: argparse.Namespace) -> None:
    from lesionlab.evaluation.abstention import RISKS
    from lesionlab.evaluation.intervals import in_words
    from lesionlab.evaluation.metrics import HEADLINE
    from lesionlab.lifecycle.evaluate_elsewhere import ROBUSTNESS_LESIONS, evaluate
    from lesionlab.runs.artifacts import metrics_of

    report = evaluate(
        options.model,
        options.data,
        options.out,
        seed=options.seed,
        allow_missing=options.allow_missing,
        split=options.split,
        costs=options.costs,
        risks=(options.risk,) if options.risk else RISKS,
        robustness_lesions=options.robustness_lesions or (ROBUSTNESS_LESIONS if options.robustness else None),
    )
    test = metrics_of(options.out)["test"]
    undecided = f", {test['undecided']:,} undecided (a tie counts as wrong)" if test["undecided"] else ""
    print(f"{test['images']:,} images of {test['lesions']:,} lesions{undecided}")
    for name in HEADLINE:
        print(f"{name.replace('_', ' '):18} {in_words(test[name], test['intervals'][name])}")
    print(f"Report: {report}\n{NOT_A_DEVICE}")


def add_score(commands: Commands) -> None:
    """Add `score` to the subcommands of `lesionlab`."""
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
    compare = commands.add_parser("compare", help="whether one run is better than another on the same test images")
    compare.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run directories; the first is compared with"
    )
    compare.add_argument("--json", action="store_true", help="print the figures as JSON")
    compare.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> None:
    import dataclasses
    import json
    import sys

    from lesionlab.cli.comparison import print_comparison
    from lesionlab.files import without_nan
    from lesionlab.lifecycle.compare import compare_runs

    if len(options.runs) < 2:
        raise UsageError("Give two runs or more: lesionlab compare RUN RUN.")
    first, *others = options.runs
    results = {other: compare_runs(first, other) for other in others}
    if options.json:
        found = {str(other): dataclasses.asdict(result) for other, result in results.items()}
        print(json.dumps(without_nan(found), indent=1))
        print(NOT_A_DEVICE, file=sys.stderr)
        return
    for other in others:
        print_comparison(first, other, results[other])
    print(NOT_A_DEVICE)
