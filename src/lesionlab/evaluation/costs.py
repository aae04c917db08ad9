"""What wrong predictions cost, for costs that the user gives: a melanoma called a nevus is not a nevus called a melanoma.

In: a table of costs, and `LabelledPredictions`. Out: the expected cost an image, with an interval over lesions, of the
model's own predictions, of those that cost least if its probabilities are right, and of the best one that looks at
no image.
"""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lesionlab.data.layouts.tables import ROW, number, read_table
from lesionlab.errors import UsageError
from lesionlab.evaluation.intervals import draw_weights, percentile_interval, sums_over_draws
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics_file import Cost, Costs
from lesionlab.taxonomy import Taxonomy

_TRUTH = ("truth", "dx", "diagnosis")


def read_costs(path: Path, taxonomy: Taxonomy) -> np.ndarray:
    """Read a cost matrix: float (k, k), predicted diagnoses in columns, true ones in rows, in the order of `taxonomy`.

    The file has a column `truth` and one for each predicted diagnosis; these stand as code, ISIC's column or full name, in any
    order. Costs are numbers of any one unit; what is right mostly costs 0.

    Raises:
        UsageError: names the row or column that is missing, repeated, unknown or no number of 0 or more.

    """
    table = read_table(path)
    truth = next((name for name in _TRUTH if name in table), None)
    if truth is None:
        raise UsageError(f"{path} has no column 'truth': needed are {_needed(taxonomy)}.")
    columns = _places(path, "column", [str(name) for name in table.columns if name not in (truth, ROW)], taxonomy)
    rows = _places(path, "row", [str(value) for value in table[truth]], taxonomy)
    costs, index_of = np.empty((len(taxonomy), len(taxonomy))), taxonomy.index_of
    for dx, row in rows.items():
        for predicted, column in columns.items():
            costs[index_of[dx], index_of[predicted]] = _cost(path, table.loc[row, column], table.loc[row, ROW], column)
    return costs


def _needed(taxonomy: Taxonomy) -> str:
    codes = ", ".join(taxonomy.dx)
    return f"a column 'truth' and a column for each predicted diagnosis ({codes}), a row for each true diagnosis"


def _places(path: Path, what: str, names: list[str], taxonomy: Taxonomy) -> dict[str, Any]:
    """Find where each diagnosis stands: its column's name, or the number of its row."""
    places: dict[str, Any] = {}
    for place, name in enumerate(names):
        dx = taxonomy.find(name)
        if dx is None:
            raise UsageError(f"{path}: the {what} {name!r} is no diagnosis; needed are {_needed(taxonomy)}.")
        if dx in places:
            raise UsageError(f"{path}: the {what} of {dx} is given twice. Keep one.")
        places[dx] = name if what == "column" else place
    missing = [dx for dx in taxonomy.dx if dx not in places]
    if missing:
        raise UsageError(f"{path} lacks a {what} for {', '.join(missing)}; needed are {_needed(taxonomy)}.")
    return places


def _cost(path: Path, text: str, line: int, column: str) -> float:
    try:
        value = number(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"{path}, row {line}, column {column}: {text!r} is no cost; give a number of 0 or more.")
    return value


def expected_cost(part: LabelledPredictions, costs: np.ndarray, *, seed: int) -> Costs:
    """Take the mean cost an image of three ways to predict.

    Args:
        part: n images; the bootstrap draws lesions.
        costs: float (k, k), as `read_costs` gives.
        seed: of the bootstrap.

    Returns:
        `matrix`; `model`: the likeliest diagnosis, of a tie the first; `cheapest`: that of the least expected
        cost under the model's probabilities (Elkan, "The foundations of cost-sensitive learning", IJCAI 2001); `constant`:
        always the one diagnosis that costs least on these images, named by `dx`. Each with `cost`, its 95 % `interval`, and for
        the first two `saved`, the cost of `constant` less their own with its paired interval.

    """
    weights = draw_weights(part.lesions, seed)
    constant = int(costs[part.labels].mean(axis=0).argmin())
    ways = {
        "model": part.probabilities.argmax(axis=1),
        "cheapest": (part.probabilities @ costs).argmin(axis=1),
        "constant": np.full(len(part), constant),
    }
    paid = {name: costs[part.labels, predicted] for name, predicted in ways.items()}
    found = {name: Cost(cost=float(cost.mean()), interval=_interval(weights, cost)) for name, cost in paid.items()}
    for name in ("model", "cheapest"):
        gain = paid["constant"] - paid[name]
        saved, interval = float(gain.mean()), _interval(weights, gain)
        found[name] = msgspec.structs.replace(found[name], saved=saved, saved_interval=interval)
    return Costs(matrix=costs.tolist(), dx=part.taxonomy.dx[constant], **found)


def _interval(weights: np.ndarray, values: np.ndarray) -> list[float]:
    return percentile_interval(sums_over_draws(weights, values) / weights.sum(axis=1))
