"""Comparing two models: known answers, agreement with simulation, and the command."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from conftest import lesionlab_here
from labelled import labelled
from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli import main
from lesionlab.evaluation.compare import compare, delong
from lesionlab.evaluation.intervals import draw_weights, ranking
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.taxonomy import DX, HAM10000
from run_files import run_manifest


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
    found, p = delong(is_positive, a, b, np.arange(300))
    assert found.first == pytest.approx(roc_auc_score(is_positive, a))
    assert found.second == pytest.approx(roc_auc_score(is_positive, b))
    assert 0 < p < 1 and found.interval[0] < found.difference < found.interval[1]
    swapped, same_p = delong(is_positive, b, a, np.arange(300))
    assert swapped.difference == pytest.approx(-found.difference) and same_p == pytest.approx(p)


def test_delong_by_hand() -> None:
    """Two positives and two negatives: the first score orders all rightly, the second one pair in four wrongly."""
    is_positive = np.array([True, True, False, False])
    found, p = delong(is_positive, np.array([3.0, 4, 1, 2]), np.array([2.0, 4, 1, 3]), np.arange(4))
    assert (found.first, found.second) == (1.0, 0.75)
    error = np.sqrt(0.125 / 2 + 0.125 / 2)  # placements differ by -0.5 and 0 on each side: variance 0.125
    assert p == pytest.approx(2 * norm.sf(0.25 / error))
    assert np.isnan(delong(np.array([True, False, False]), np.zeros(3), np.zeros(3), np.arange(3))[1])


def test_delongs_intervals_cover_the_truth() -> None:
    """The true difference of the areas is known: 95 % of intervals hold it."""
    rng = np.random.default_rng(1)
    truth = norm.cdf(1.4 / np.sqrt(2)) - norm.cdf(1.0 / np.sqrt(2))
    intervals = [delong(*two_scores(240, 1.0, 1.4, rng), np.arange(240))[0].interval for _ in range(1000)]
    assert np.mean([low <= truth <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.02)


def of_lesions(lesions: int, images: int, rng: np.random.Generator):
    """Likewise, some images of each lesion: three fifths of what is no signal are the lesion's own."""
    is_positive, *scores = two_scores(lesions, 1.0, 1.4, rng)
    noise = rng.normal(size=(2, lesions * images)) * np.sqrt(2 / 3)
    first, second = (score.repeat(images) + own for score, own in zip(scores, noise, strict=True))
    return is_positive.repeat(images), first, second, np.arange(lesions).repeat(images)


def test_delong_says_of_images_four_times_over_what_it_says_of_one() -> None:
    is_positive, a, b = two_scores(240, 1.0, 1.4, np.random.default_rng(0))
    once, p = delong(is_positive, a, b, np.arange(240))
    fourfold, same_p = delong(is_positive.repeat(4), a.repeat(4), b.repeat(4), np.arange(240).repeat(4))
    assert fourfold.interval == pytest.approx(once.interval) and same_p == pytest.approx(p)


def test_delongs_intervals_over_lesions_cover_the_truth() -> None:
    """Four images of each of 120 lesions: 95 % of intervals hold the true difference; counting images far fewer do."""
    rng = np.random.default_rng(5)
    spread = np.sqrt(1 + 2 / 3)
    truth = norm.cdf(1.4 / spread / np.sqrt(2)) - norm.cdf(1.0 / spread / np.sqrt(2))
    held = np.zeros(2)
    for _ in range(600):
        *data, lesions = of_lesions(120, 4, rng)
        for way, counted in enumerate((lesions, np.arange(480))):
            low, high = delong(*data, counted)[0].interval
            held[way] += low <= truth <= high
    assert held[0] / 600 == pytest.approx(0.95, abs=0.025)
    assert held[1] / 600 < 0.85


@pytest.mark.parametrize("both_sides", [False, True])
def test_delongs_interval_is_that_of_the_bootstrap_over_lesions(both_sides: bool) -> None:
    """Lesions with images on both sides too, as labels that differ between images of one lesion make them."""
    is_positive, first, second, lesions = of_lesions(240, 3, np.random.default_rng(6))
    if both_sides:
        is_positive = is_positive ^ (np.arange(720) % 7 == 0)
    found, _ = delong(is_positive, first, second, lesions)
    weights = draw_weights(lesions, 0)
    draws = ranking(is_positive, second, weights)[0] - ranking(is_positive, first, weights)[0]
    assert (found.interval[1] - found.interval[0]) / 2 / norm.ppf(0.975) == pytest.approx(draws.std(), rel=0.06)


@pytest.mark.filterwarnings("error")
def test_of_one_lesion_nothing_is_said() -> None:
    rng = np.random.default_rng(7)
    right, wrong = (np.eye(7)[np.full(9, dx)] for dx in (1, 4))
    found = compare(*(labelled(np.full(9, 1), given, np.full(9, "L")) for given in (right, wrong)))
    assert found.figures["accuracy"].difference == -1.0 and found.lesions == 1
    for figure in (*found.figures.values(), found.malignant_auc):
        assert np.isnan(figure.interval).all() and not figure.is_clear
    assert found.verdict("A", "B").endswith(
        "-100.0 points of balanced accuracy against A: too few lesions to tell the two apart."
    )
    labels, lesions = np.r_[np.zeros(4, int), np.ones(20, int)], np.r_[np.zeros(4, int), np.arange(1, 21)]
    one_malignant = compare(*(labelled(labels, rng.dirichlet(np.ones(7), 24), lesions) for _ in range(2)))
    assert np.isnan(one_malignant.malignant_auc.interval).all() and np.isnan(one_malignant.delong_p)
    assert not np.isnan(one_malignant.figures["accuracy"].interval).any()


def answers(labels: np.ndarray, skill: float, rng: np.random.Generator) -> np.ndarray:
    given = np.where(rng.random(len(labels)) < skill, labels, rng.integers(0, 7, len(labels)))
    return np.eye(7)[given] * 0.6 + rng.dirichlet(np.ones(7), len(labels)) * 0.4


@pytest.mark.slow
def test_a_better_model_is_found_and_an_equal_one_is_not() -> None:
    rng = np.random.default_rng(2)
    labels, lesions = np.arange(700) % 7, np.arange(700) // 2
    plain, alike, better = (labelled(labels, answers(labels, skill, rng), lesions) for skill in (0.6, 0.6, 0.75))
    found = compare(plain, better)
    assert found.figures["balanced_accuracy"].is_clear and found.mcnemar_p < 0.01 and found.lesions == 350
    assert "better than A: +" in found.verdict("A", "B")
    assert "worse than B: -" in compare(better, plain).verdict("B", "A")
    assert "cannot tell the two apart" in compare(plain, alike).verdict("A", "B")
    same = compare(plain, plain)
    assert same.mcnemar_p == same.delong_p == 1.0 and same.figures["accuracy"].interval == (0.0, 0.0)


def test_pairing_makes_intervals_narrower_than_taking_the_models_apart() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(700) % 7
    first = answers(labels, 0.6, rng)
    second = np.where((rng.random(700) < 0.05)[:, None], np.eye(7)[labels], first)  # differs in one image of twenty
    found = compare(labelled(labels, first), labelled(labels, second)).figures["accuracy"]
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
    done = lesionlab_here("compare", finished[0], second)
    assert done.returncode == 0 and "second is better than first" in done.stdout, done.stderr
    assert main(["compare", str(finished[0]), str(second), str(second), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[str(second)]["figures"]["balanced_accuracy"]["second"] == 1.0


@pytest.mark.parametrize(("labels", "interval"), [(np.arange(60) % 7, " to "), (np.full(60, 1), "too few lesions")])
def test_it_fits_a_terminal_of_80_columns(labels: np.ndarray, interval: str, tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(1)
    names = [f"ham10000-{recipe}-with-other-weights-seed-{seed}" for recipe, seed in (("mobile", 0), ("bundled", 1))]
    for name in names:
        of_a_run(tmp_path / name, labels, rng)
    assert main(["compare", *(str(tmp_path / name) for name in names)]) == 0
    out = capsys.readouterr().out
    table = out[: out.index(NOT_A_DEVICE)].splitlines()
    assert max(map(len, table)) <= 80 and interval in out
    assert "ham1000…-seed-0 ham1000…-seed-1" in out and all(name in out for name in names)


def test_names_that_are_alike_at_both_ends_are_the_first_and_the_second(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(1)
    for name in ("ham10000-mobile-aged-224px", "ham10000-convnext-aged-224px"):
        of_a_run(tmp_path / name, np.arange(60) % 7, rng)
    assert main(["compare", *map(str, sorted(tmp_path.iterdir()))]) == 0
    assert re.search(r"^ +first +second  difference$", capsys.readouterr().out, flags=re.MULTILINE)


def of_a_run(folder: Path, labels: np.ndarray, rng: np.random.Generator) -> None:
    """Write what is read of a finished run."""
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(run_manifest()))
    table = pd.DataFrame(answers(labels, 0.7, rng), columns=list(HAM10000.columns))
    names = [f"i{number}" for number in range(len(labels))]
    table = table.assign(image=names, lesion_id=names, part="test", truth=np.array(DX)[labels])
    table.to_csv(folder / "predictions.csv", index=False)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_notice_stands_with_the_figures(more: list[str], tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 7, 60)
    for name in ("a", "b"):
        of_a_run(tmp_path / name, labels, rng)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), *more]) == 0
    out, error = capsys.readouterr()
    assert (error if more else out).rstrip().endswith(NOT_A_DEVICE)
    if more:
        assert json.loads(out)


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


def test_lesions_that_all_differ_alike_give_no_interval() -> None:
    """The variance is zero then, and p = 0 would be said of four lesions."""
    is_positive = np.array([True, True, False, False])
    found, p = delong(is_positive, np.ones(4), np.array([2.0, 2, 1, 1]), np.arange(4))
    assert (found.first, found.second) == (0.5, 1.0) and np.isnan([*found.interval, p]).all()
    same, p = delong(is_positive, np.arange(4.0), 2 * np.arange(4.0), np.arange(4))
    assert same.interval == (0, 0) and p == 1


def test_delong_takes_no_rounding_for_certainty() -> None:
    """Each negative between two positives: all lesions differ alike, and the error is that of sums of floats."""
    for n in (2, 3, 10):
        is_positive, order = np.tile([True, False], n), np.arange(2.0 * n)
        other = order + np.tile([2.0, 0.0], n) - 0.5
        found, p = delong(is_positive, order, other, np.arange(2 * n))
        assert np.isnan(p) and np.isnan(found.interval).all(), n


def two_models(lesions: int, images: int, seed: int) -> tuple[LabelledPredictions, LabelledPredictions]:
    """Two models equally good, each of which answers all images of a lesion alike."""
    rng = np.random.default_rng(seed)
    names, labels = np.repeat(np.arange(lesions), images), np.zeros(lesions * images, int)
    is_right = (rng.random((2, lesions)) < 0.7)[:, np.repeat(np.arange(lesions), images)]
    answers = np.where(is_right, 0, 1)
    return tuple(LabelledPredictions(labels, np.eye(7)[one], names, HAM10000) for one in answers)  # type: ignore[return-value]


def test_mcnemars_test_is_exact_and_counts_lesions() -> None:
    for seed in range(5):
        first, second = two_models(60, 1, seed)
        found = compare(first, second)
        discordant = found.only_first_right + found.only_second_right
        assert found.mcnemar_p == pytest.approx(binomtest(found.only_first_right, discordant).pvalue)
        again = compare(*two_models(60, 4, seed))
        assert again.only_first_right == 4 * found.only_first_right
        assert again.mcnemar_p == pytest.approx(found.mcnemar_p), "four images of each lesion say what one does"
    same = compare(first, first)
    assert same.mcnemar_p == 1.0 and same.figures["accuracy"].interval == (0.0, 0.0)


def test_few_lesions_of_a_diagnosis_are_said(capsys) -> None:
    labels = np.r_[np.zeros(40, int), np.ones(9, int)]
    part = LabelledPredictions(labels, np.full((49, 7), 1 / 7), np.arange(49), HAM10000)
    assert compare(part, part).few == (DX[1],)
