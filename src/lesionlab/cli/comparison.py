"""The comparison of two runs as a terminal shows it: a table of differences, and a verdict."""

import math
import textwrap
from pathlib import Path

from lesionlab.evaluation.compare import Comparison, Difference
from lesionlab.folders import short_names

_WIDTH, _COLUMN = 80, 15  # characters


def print_comparison(first: Path, second: Path, result: Comparison) -> None:
    """Print the figures of two runs, their difference, and the verdict."""
    a, b = short_names((first, second))
    _print(a, b, result)


def _print(first: str, second: str, result: Comparison) -> None:
    _say(
        f"{result.images:,} test images of {result.lesions:,} lesions; 95 % intervals by paired bootstrap over lesions, for "
        "the AUC of malignant against benign by DeLong's method over lesions\n"
    )
    columns = _in_the_middle(first), _in_the_middle(second)
    if columns[0] == columns[1]:
        columns = "first", "second"
    print(_row("", *columns, "difference"))
    rows = {name.replace("_", " "): figure for name, figure in result.figures.items()}
    for name, figure in (rows | {"AUC malignant/benign": result.malignant_auc}).items():
        print(_row(name, _value(figure.first), _value(figure.second), _difference(figure)))
    _say(
        f"\nRight in one alone: {result.only_first_right} and {result.only_second_right} images; McNemar's test over lesions: p "
        f"{_p(result.mcnemar_p)}. DeLong's test of the AUCs over lesions: p {_p(result.delong_p)}."
    )
    if result.few:
        _say(
            f"Fewer than ten lesions of {', '.join(result.few)}: the interval of balanced accuracy is too narrow for what chance "
            "does with these."
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
    if math.isnan(figure.difference):
        return "too few lesions"
    low, high = figure.interval
    interval = "too few lesions" if math.isnan(low) else f"{low:+.3f} to {high:+.3f}"
    return f"{figure.difference:+.3f} ({interval})"


def _value(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.3f}"


def _p(value: float) -> str:
    return "not defined" if math.isnan(value) else f"= {value:.3f}" if value >= 0.001 else "< 0.001"
