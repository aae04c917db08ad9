"""`lesionlab compare`: runs or evaluations in, a table of differences and a verdict out."""

import argparse
import dataclasses
import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab._version import NOT_A_DEVICE
from lesionlab.data.statistics import encode_labels
from lesionlab.errors import UsageError
from lesionlab.evaluation.compare import Comparison, Difference, compare
from lesionlab.files import read_csv, without_nan
from lesionlab.runs import directory
from lesionlab.taxonomy import ISIC_COLUMNS

_WIDTH, _COLUMN = 80, 15  # characters


def compare_runs(first: Path, second: Path, *, seed: int = 0) -> Comparison:
    """Compare two finished runs, or evaluations of models, on the images of their test parts, which must be the same.

    Raises:
        UsageError: no finished run, test parts that differ, or an image whose diagnosis differs.

    """
    tables = [_test_part(folder) for folder in (first, second)]
    images = [set(table.index) for table in tables]
    if images[0] != images[1]:
        differing = sorted(images[0] ^ images[1])
        raise UsageError(
            f"{first} and {second} were tested on different images: {len(differing):,} are in one test part only "
            f"({', '.join(differing[:3])}). {_same_split(first, second)}"
        )
    a, b = tables[0], tables[1].loc[tables[0].index]
    relabelled = a.index[a["truth"] != b["truth"]]
    if len(relabelled):
        raise UsageError(f"{first} and {second} give {len(relabelled):,} images another truth: {relabelled[0]} is one.")
    probabilities = [table[list(ISIC_COLUMNS)].to_numpy(float) for table in (a, b)]
    return compare(encode_labels(a["truth"]), a["lesion_id"].to_numpy(), *probabilities, seed=seed)


def compare_command(options: argparse.Namespace) -> None:
    """Run `lesionlab compare`: the first run against each of the others."""
    if len(options.runs) < 2:
        raise UsageError("Give two runs or more: lesionlab compare RUN RUN.")
    first, *others = options.runs
    results = {str(other): compare_runs(first, other) for other in others}
    if options.json:
        found = {name: dataclasses.asdict(result) for name, result in results.items()}
        print(json.dumps(without_nan(found), indent=1))
        print(NOT_A_DEVICE, file=sys.stderr)
        return
    for other in others:
        _print(*_names(first, other), results[str(other)])
    print(NOT_A_DEVICE)


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Name two folders by as much of the ends of their paths as tells them apart."""
    paths = [folder.resolve().parts for folder in (first, second)]
    for depth in range(1, max(map(len, paths)) + 1):
        a, b = ("/".join(parts[-depth:]) for parts in paths)
        if a != b:
            return a, b
    return str(first), str(second)


def _same_split(first: Path, second: Path) -> str:
    for run, other in ((first, second), (second, first)):
        if (run / "splits.csv").exists():
            return f"Give both one split: --split {run / 'splits.csv'} for {other}."
    return "Evaluate both models with one --split FILE.csv."


def _test_part(folder: Path) -> pd.DataFrame:
    evaluation = directory.read_evaluation(folder)
    if evaluation is None:
        directory.read_finished(folder)
    elif not evaluation.get("finished"):
        raise UsageError(f"The evaluation in {folder} is not finished. The same 'lesionlab evaluate' makes it anew.")
    path, columns = folder / "predictions.csv", ["lesion_id", "truth", *ISIC_COLUMNS]
    try:
        table = read_csv(path, ISIC_COLUMNS)
        return table[table["part"] == "test"].set_index("image")[columns]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read as a run writes it ({error}). Take another, or make it anew."
        ) from error


def _print(first: str, second: str, result: Comparison) -> None:
    _say(
        f"{result.images:,} test images of {result.lesions:,} lesions; 95 % intervals: paired bootstrap over lesions; of the "
        "AUC malignant/benign DeLong's, over lesions too\n"
    )
    columns = _in_the_middle(first), _in_the_middle(second)
    if columns[0] == columns[1]:
        columns = "first", "second"
    print(_row("", *columns, "difference"))
    rows = {name.replace("_", " "): figure for name, figure in result.figures.items()}
    for name, figure in (rows | {"AUC malignant/benign": result.malignant_auc}).items():
        print(_row(name, _value(figure.first), _value(figure.second), _difference(figure)))
    _say(
        f"\nRight in one alone: {result.only_first_right} and {result.only_second_right} images, McNemar p "
        f"{_p(result.mcnemar_p)}, counting images; the AUCs, DeLong p {_p(result.delong_p)}, counting lesions."
    )
    _say(result.verdict(first, second) + "\n")


def _say(text: str) -> None:
    print(*(textwrap.fill(line, _WIDTH, break_on_hyphens=False) for line in text.split("\n")), sep="\n")


def _row(name: str, first: str, second: str, difference: str) -> str:
    return f"{name:20} {first:>{_COLUMN}} {second:>{_COLUMN}}  {difference}"


def _in_the_middle(name: str) -> str:
    """Shorten a name to a column's width, in its middle: runs often differ at one end."""
    head = (_COLUMN - 1) // 2
    return name if len(name) <= _COLUMN else f"{name[:head]}…{name[head + 1 - _COLUMN :]}"


def _difference(figure: Difference) -> str:
    if np.isnan(figure.difference):
        return "too few lesions"
    low, high = figure.interval
    interval = "too few lesions" if np.isnan(low) else f"{low:+.3f} to {high:+.3f}"
    return f"{figure.difference:+.3f} ({interval})"


def _value(value: float) -> str:
    return "not defined" if np.isnan(value) else f"{value:.3f}"


def _p(value: float) -> str:
    return "not defined" if np.isnan(value) else f"= {value:.3f}" if value >= 0.001 else "< 0.001"
