"""Comparing two models: known answers, agreement with simulation, and the command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from conftest import lesionlab
from lesionlab.cli import main
from lesionlab.trust.compare import compare, delong


def two_scores(n: int, first: float, second: float, rng: np.random.Generator, shared: float = 0.5):
    """Positives and negatives whose scores differ by `first` and `second` standard deviations, and correlate."""
    is_positive = np.arange(n) % 3 == 0
    common = rng.normal(size=n) * np.sqrt(shared)
    own = rng.normal(size=(2, n)) * np.sqrt(1 - shared)
    return is_positive, common + own[0] + first * is_positive, common + own[1] + second * is_positive


def test_delong_has_the_right_areas_and_handles_ties() -> None:
    rng = np.random.default_rng(0)
    is_positive, a, b = two_scores(300, 1.0, 1.5, rng)
    b = np.round(b)
    found, p = delong(is_positive, a, b)
    assert found.first == pytest.approx(roc_auc_score(is_positive, a))
    assert found.second == pytest.approx(roc_auc_score(is_positive, b))
    assert 0 < p < 1 and found.interval[0] < found.difference < found.interval[1]
    swapped, same_p = delong(is_positive, b, a)
    assert swapped.difference == pytest.approx(-found.difference) and same_p == pytest.approx(p)


def test_delong_by_hand() -> None:
    """Two positives and two negatives: the first score orders all rightly, the second one pair in four wrongly."""
    is_positive = np.array([True, True, False, False])
    found, p = delong(is_positive, np.array([3.0, 4, 1, 2]), np.array([2.0, 4, 1, 3]))
    assert (found.first, found.second) == (1.0, 0.75)
    error = np.sqrt(0.125 / 2 + 0.125 / 2)  # placements differ by -0.5 and 0 on each side: variance 0.125
    assert p == pytest.approx(2 * norm.sf(0.25 / error))
    assert np.isnan(delong(np.array([True, False, False]), np.zeros(3), np.zeros(3))[1])


def test_delongs_intervals_cover_the_truth() -> None:
    """The true difference of the areas is known: 95 % of intervals hold it."""
    rng = np.random.default_rng(1)
    truth = norm.cdf(1.4 / np.sqrt(2)) - norm.cdf(1.0 / np.sqrt(2))
    intervals = [delong(*two_scores(240, 1.0, 1.4, rng))[0].interval for _ in range(1000)]
    assert np.mean([low <= truth <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.02)


def answers(labels: np.ndarray, skill: float, rng: np.random.Generator) -> np.ndarray:
    given = np.where(rng.random(len(labels)) < skill, labels, rng.integers(0, 7, len(labels)))
    return np.eye(7)[given] * 0.6 + rng.dirichlet(np.ones(7), len(labels)) * 0.4


def test_a_better_model_is_found_and_an_equal_one_is_not() -> None:
    rng = np.random.default_rng(2)
    labels, lesions = np.arange(700) % 7, np.arange(700) // 2
    plain, alike, better = (answers(labels, skill, rng) for skill in (0.6, 0.6, 0.75))
    found = compare(labels, lesions, plain, better)
    assert found.figures["balanced_accuracy"].is_clear and found.mcnemar_p < 0.01 and found.lesions == 350
    assert "better than A: +" in found.verdict("A", "B")
    assert "worse than B: -" in compare(labels, lesions, better, plain).verdict("B", "A")
    assert "cannot tell the two apart" in compare(labels, lesions, plain, alike).verdict("A", "B")
    same = compare(labels, lesions, plain, plain)
    assert same.mcnemar_p == same.delong_p == 1.0 and same.figures["accuracy"].interval == (0.0, 0.0)


def test_pairing_makes_intervals_narrower_than_taking_the_models_apart() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(700) % 7
    first = answers(labels, 0.6, rng)
    second = np.where((rng.random(700) < 0.05)[:, None], np.eye(7)[labels], first)  # differs in one image of twenty
    found = compare(labels, np.arange(700), first, second).figures["accuracy"]
    apart = 2 * 1.96 * np.sqrt(2 * 0.6 * 0.4 / 700)
    assert found.interval[1] - found.interval[0] < apart / 3


def test_the_command(finished: tuple[Path, str], tmp_path: Path, capsys) -> None:
    second = tmp_path / "second"
    shutil.copytree(finished[0], second)
    table = pd.read_csv(second / "predictions.csv")
    columns = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    table[columns] = np.eye(7)[
        table["truth"].map(dict(zip("mel nv bcc akiec bkl df vasc".split(), range(7), strict=True)))
    ]
    table.to_csv(second / "predictions.csv", index=False)
    done = lesionlab("compare", finished[0], second)
    assert done.returncode == 0 and "second is better than first" in done.stdout, done.stderr
    assert main(["compare", str(finished[0]), str(second), str(second), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[str(second)]["figures"]["balanced_accuracy"]["second"] == 1.0


def test_what_cannot_be_compared(finished: tuple[Path, str], tmp_path: Path, capsys) -> None:
    assert main(["compare", str(finished[0])]) == 2
    assert main(["compare", str(finished[0]), str(tmp_path)]) == 2
    assert "is no run directory" in capsys.readouterr().err
    second = tmp_path / "second"
    shutil.copytree(finished[0], second)
    table = pd.read_csv(second / "predictions.csv")
    table.drop(table.index[table["part"] == "test"][0]).to_csv(second / "predictions.csv", index=False)
    assert main(["compare", str(finished[0]), str(second)]) == 2
    assert "1 are in one test part only" in capsys.readouterr().err
    table.loc[table.index[table["part"] == "test"][0], "truth"] = "df"
    table.to_csv(second / "predictions.csv", index=False)
    assert main(["compare", str(finished[0]), str(second)]) == 2
    assert "another truth" in capsys.readouterr().err
