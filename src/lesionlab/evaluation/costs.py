"""What wrong answers cost, for costs that the user gives: a melanoma called a nevus is not a nevus called a melanoma.

In: a table of costs, labels and probabilities. Out: the expected cost an image, with an interval over lesions, of the
model's own answers, of the answers that cost least if its probabilities are right, and of the best answer that looks at
no image.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.data.layouts.tables import ROW, number, read_table
from lesionlab.errors import UsageError
from lesionlab.evaluation.intervals import draw_weights, percentile_interval, sums_over_draws
from lesionlab.taxonomy import DX, HAM10000, INDEX_OF

_TRUTH = ("truth", "dx", "diagnosis")
_EXAMPLE = (
    "a column 'truth' and a column for each answer (mel, nv, bcc, akiec, bkl, df, vasc), a row for each true diagnosis"
)


def read_costs(path: Path) -> np.ndarray:
    """Read a cost matrix: float (7, 7), the cost of each answer (column) to each true diagnosis (row), in `DX` order.

    The file has a column `truth` and one for each answer; diagnoses stand as code, ISIC's column or full name, in any order.
    Costs are numbers of any one unit; what is right mostly costs 0.

    Raises:
        UsageError: names the row or column that is missing, repeated, unknown or no number of 0 or more.

    """
    table = read_table(path)
    truth = next((name for name in _TRUTH if name in table), None)
    if truth is None:
        raise UsageError(f"{path} has no column 'truth': needed are {_EXAMPLE}.")
    columns = _places(path, "column", [str(name) for name in table.columns if name not in (truth, ROW)])
    rows = _places(path, "row", [str(value) for value in table[truth]])
    costs = np.empty((len(DX), len(DX)))
    for dx, row in rows.items():
        for answer, column in columns.items():
            costs[INDEX_OF[dx], INDEX_OF[answer]] = _cost(path, table.loc[row, column], table.loc[row, ROW], column)
    return costs


def _places(path: Path, what: str, names: list[str]) -> dict[str, Any]:
    """Find where each diagnosis stands: its column's name, or the number of its row."""
    places: dict[str, Any] = {}
    for place, name in enumerate(names):
        dx = HAM10000.find(name)
        if dx is None:
            raise UsageError(f"{path}: the {what} {name!r} is no diagnosis; needed are {_EXAMPLE}.")
        if dx in places:
            raise UsageError(f"{path}: the {what} of {dx} stands there twice. Keep one.")
        places[dx] = name if what == "column" else place
    missing = [dx for dx in DX if dx not in places]
    if missing:
        raise UsageError(f"{path} lacks a {what} for {', '.join(missing)}; needed are {_EXAMPLE}.")
    return places


def _cost(path: Path, text: str, line: int, column: str) -> float:
    try:
        value = number(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"{path}, row {line}, column {column}: {text!r} is no cost; give a number of 0 or more.")
    return value


def expected_cost(
    labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, costs: np.ndarray, *, seed: int
) -> dict[str, Any]:
    """Take the mean cost an image of three ways to answer.

    Args:
        labels: integers (n,) in `DX` order.
        probabilities: float (n, 7).
        lesions: (n,) lesion ids; the bootstrap draws these.
        costs: float (7, 7), as `read_costs` gives.
        seed: of the bootstrap.

    Returns:
        `matrix`; `model`: the likeliest diagnosis answered, of a tie the first; `cheapest`: the answer of the least expected
        cost under the model's probabilities (Elkan, "The foundations of cost-sensitive learning", IJCAI 2001); `constant`:
        always the one answer that costs least on these images, named by `dx`. Each with `cost`, its 95 % `interval`, and for
        the first two `saved`, the cost of `constant` less their own with its paired interval.

    """
    weights = draw_weights(lesions, seed)
    constant = int(costs[labels].mean(axis=0).argmin())
    answers = {
        "model": probabilities.argmax(axis=1),
        "cheapest": (probabilities @ costs).argmin(axis=1),
        "constant": np.full(len(labels), constant),
    }
    paid = {name: costs[labels, answer] for name, answer in answers.items()}
    result: dict[str, Any] = {"matrix": costs.tolist(), "dx": DX[constant]}
    for name, cost in paid.items():
        result[name] = {"cost": float(cost.mean()), "interval": _interval(weights, cost)}
        if name != "constant":
            gain = paid["constant"] - cost
            result[name] |= {"saved": float(gain.mean()), "saved_interval": _interval(weights, gain)}
    return result


def _interval(weights: np.ndarray, values: np.ndarray) -> list[float]:
    return percentile_interval(sums_over_draws(weights, values) / weights.sum(axis=1))
