"""Costs that the user gives: read in any order and spelling, refused where they are no costs, and added up rightly."""

from pathlib import Path

import numpy as np
import pytest

from labelled import labelled
from lesionlab.errors import UsageError
from lesionlab.evaluation.costs import expected_cost, read_costs
from lesionlab.taxonomy import DX, HAM10000

ONE = "\n".join(["truth," + ",".join(DX), *(f"{dx}," + ",".join("0" if a == dx else "1" for a in DX) for dx in DX)])


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "costs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_matrix_in_another_order_and_by_name(tmp_path: Path) -> None:
    names = ["VASC", "melanoma", "Nevus", "bcc", "actinic_keratosis", "benign keratosis", "dermatofibroma"]
    codes = ["vasc", "mel", "nv", "bcc", "akiec", "bkl", "df"]
    rows = [f"{name};" + ";".join(str(10 * i + j) for j in range(7)) for i, name in enumerate(names)]
    found = read_costs(written(tmp_path, "\n".join(["Truth;" + ";".join(names), *rows[::-1]])), HAM10000)
    for i, truth in enumerate(codes):
        for j, answer in enumerate(codes):
            assert found[DX.index(truth), DX.index(answer)] == 10 * i + j


def test_decimal_commas(tmp_path: Path) -> None:
    found = read_costs(written(tmp_path, ONE.replace(",", ";").replace("1", "2,5")), HAM10000)
    np.testing.assert_array_equal(found, 2.5 * (1 - np.eye(7)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE.replace("truth,", "what,"), "no column 'truth'"),
        (ONE.replace(",df", ""), "7 values|8 values"),
        (ONE.replace("\nvasc,1,1,1,1,1,1,0", ""), "lacks a row for vasc"),
        (ONE.replace("\nvasc,", "\nmel,"), "row of mel is given twice"),
        (ONE.replace("\nvasc,", "\nwart,"), "the row 'wart' is no diagnosis"),
        (ONE.replace("truth,mel", "truth,scc"), "the column 'scc' is no diagnosis"),
        (ONE.replace("bcc,1,1,0", "bcc,1,-2,0"), "row 4, column nv: '-2' is no cost"),
        (ONE.replace("bcc,1,1,0", "bcc,1,much,0"), "'much' is no cost"),
        (ONE.replace("bcc,1,1,0", "bcc,1,nan,0"), "'nan' is no cost"),
        ("", "is empty"),
    ],
)
def test_what_is_no_cost_matrix(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_costs(written(tmp_path, text), HAM10000)


def test_costs_of_one_are_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels, probabilities = rng.choice(7, 300), rng.dirichlet(np.ones(7), 300)
    found = expected_cost(labelled(labels, probabilities), read_costs(written(tmp_path, ONE), HAM10000), seed=0)
    error = (probabilities.argmax(axis=1) != labels).mean()
    assert found.model.cost == found.cheapest.cost == pytest.approx(error)
    assert found.constant.cost == pytest.approx(1 - np.bincount(labels).max() / 300)
    assert found.model.saved == pytest.approx(found.constant.cost - error)
    low, high = found.model.interval
    assert low < error < high and high - low == pytest.approx(2 * 1.96 * np.sqrt(error * (1 - error) / 300), rel=0.15)


def test_dear_melanomas_are_called_even_when_unlikely() -> None:
    """With right probabilities, the answer of least expected cost costs least, whatever else is answered."""
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(7, 0.6), 4000)
    labels = (rng.random((4000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    costs = 1 - np.eye(7)
    costs[0, 1:] = 20
    found = expected_cost(labelled(labels, probabilities), costs, seed=0)
    assert found.cheapest.cost < found.model.cost and found.cheapest.cost < found.constant.cost
    assert found.dx == "mel" and found.cheapest.saved_interval[0] > 0
