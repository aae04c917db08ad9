"""Calibration and subgroups: known answers, and groups that differ only in their mix of diagnoses do not stand out."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm

from labelled import labelled
from lesionlab.evaluation.calibration import adaptive_calibration_error, calibration, expected_calibration_error
from lesionlab.evaluation.subgroups import holm, mantel_haenszel, subgroups
from lesionlab.evaluation.values import Bin


def test_calibration_by_hand() -> None:
    stated, happened = np.array([0.8] * 10 + [0.3] * 10), np.array([1] * 6 + [0] * 4 + [1] * 3 + [0] * 7)
    assert expected_calibration_error(stated, happened) == pytest.approx(0.5 * 0.2 + 0.5 * 0.0)
    certain = np.eye(7)[[0, 1, 2, 3]]
    errors = ("ece", "ece_focus", "ace", "classwise_ece", "classwise_ace", "brier")
    right = calibration(labelled(np.arange(4), certain))
    assert {name: getattr(right, name) for name in errors} == dict.fromkeys(errors, 0.0)
    assert right.reliability == [Bin(images=4, stated=1.0, happened=1.0)]
    assert right.by_chance == {"ece": [0.0, 0.0], "ece_focus": [0.0, 0.0]}
    wrong = calibration(labelled(np.array([1, 2, 3, 4]), certain))
    assert [getattr(wrong, name) for name in errors[:3]] == [1.0, 0.25, 1.0] and wrong.brier == 2.0
    assert wrong.classwise_ece == pytest.approx((0.25 + 3 * 0.5 + 0.25) / 7)
    assert wrong.per_class["akiec"].ece == 0.5 and wrong.per_class["bkl"].ece == 0.25


def test_the_error_has_fifteen_bins_of_equal_width() -> None:
    """As counted image by image, in a second implementation; with 14 or 16 bins it would be another figure."""

    def counted(stated: np.ndarray, happened: np.ndarray, bins: int) -> float:
        total = 0.0
        for low in range(bins):
            inside = [
                i for i, p in enumerate(stated) if low / bins <= p < (low + 1) / bins or (p == 1 and low == bins - 1)
            ]
            total += abs(sum(stated[i] for i in inside) - sum(happened[i] for i in inside))
        return total / len(stated)

    rng = np.random.default_rng(4)
    stated = np.r_[rng.random(500), 0.0, 1.0]
    happened = rng.random(502) < stated**2
    found = expected_calibration_error(stated, happened)
    assert found == pytest.approx(counted(stated, happened, 15))
    assert all(abs(found - counted(stated, happened, bins)) > 1e-5 for bins in (14, 16))


def test_adaptive_bins_by_hand() -> None:
    """Thirty distinct probabilities, two a bin; equal probabilities are never parted."""
    stated = np.linspace(0.01, 0.30, 30)
    happened = np.arange(30) % 2 == 0
    pairs = np.abs((stated - happened).reshape(15, 2).sum(axis=1)).sum() / 30
    assert adaptive_calibration_error(stated, happened) == pytest.approx(pairs)
    assert adaptive_calibration_error(np.full(40, 0.25), np.arange(40) < 10) == pytest.approx(0.0)


def test_probabilities_that_labels_were_drawn_from_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(7, 0.5), 20_000)
    labels = np.array([rng.choice(7, p=row) for row in probabilities])
    figures = calibration(labelled(labels, probabilities))
    assert figures.ece < 0.01 and figures.ece_focus < 0.01
    low, high = figures.by_chance["ece"]
    assert low / 3 < figures.ece < 1.5 * high
    fourfold = [values[:2000].repeat(4, axis=0) for values in (labels, probabilities)]
    of_lesions, of_images = (
        calibration(labelled(*fourfold, lesions)).by_chance["ece"][0]
        for lesions in (np.arange(2000).repeat(4), np.arange(8000))
    )
    assert of_lesions == pytest.approx(calibration(labelled(labels[:2000], probabilities[:2000])).by_chance["ece"][0])
    assert of_lesions > 1.5 * of_images  # images of a lesion have one label
    sharp = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    off = calibration(labelled(labels, sharp))
    assert off.ece > 0.1 > 5 * off.by_chance["ece"][1] and off.ace > 0.1


def answers(labels: np.ndarray, recall: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities whose largest is the truth with the chance `recall`, an image at a time."""
    rng = np.random.default_rng(seed)
    given = np.where(rng.random(len(labels)) < recall, labels, (labels + 1) % 7)
    return np.eye(7)[given] * 0.7 + 0.3 / 7


def table_of(**columns: object) -> pd.DataFrame:
    table = pd.DataFrame(columns)
    return table.assign(lesion_id=[f"L{i}" for i in range(len(table))])


def groups_of(table: pd.DataFrame, labels: np.ndarray, probabilities: np.ndarray, seed: int = 0, resamples: int = 2000):
    return subgroups(
        table, labelled(labels, probabilities, table["lesion_id"].to_numpy()), seed=seed, resamples=resamples
    )


def test_a_mix_of_diagnoses_alone_does_not_stand_out_a_harder_group_does() -> None:
    rng = np.random.default_rng(3)
    sex = np.repeat(["female", "male"], 600)
    labels = np.r_[rng.choice([1, 0], 600, p=[0.9, 0.1]), rng.choice([1, 0], 600, p=[0.4, 0.6])]
    recall = np.where(labels == 1, 0.95, 0.5)
    rows = {row.group: row for row in groups_of(table_of(sex=sex), labels, answers(labels, recall, 0))}
    assert rows["female"].accuracy - rows["male"].accuracy > 0.15
    assert not rows["female"].stands_out and not rows["male"].stands_out
    harder = recall - np.where(sex == "male", 0.3, 0)
    rows = {row.group: row for row in groups_of(table_of(sex=sex), labels, answers(labels, harder, 0))}
    assert rows["male"].stands_out and rows["male"].accuracy < rows["male"].expected


def test_groups_are_banded_named_and_large_enough() -> None:
    ages = [5.0] * 25 + [30.0] * 25 + [75.0] * 25 + [None] * 25 + [50.0] * 19
    labels = np.arange(119) % 7
    table = table_of(age=ages, dataset=["a"] * 100 + ["b"] * 19)
    rows = groups_of(table, labels, np.eye(7)[labels])
    assert [(row.by, row.group, row.lesions) for row in rows] == [
        ("age", "0 to 29", 25),
        ("age", "30 to 44", 25),
        ("age", "75 and over", 25),
        ("age", "unknown", 25),
        ("source", "a", 100),
    ]
    assert all(row.accuracy == row.expected == 1.0 and not row.stands_out for row in rows)
    assert all(row.gap == 0 and row.p == 1.0 for row in rows)


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02, None, 0.9]) == [pytest.approx(0.04), None, pytest.approx(0.9)]
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


def test_groups_that_do_not_differ_are_seldom_flagged() -> None:
    """Of 60 parts with 10 groups each and no difference, at most about one in twenty has any flag."""
    flagged = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        labels = rng.choice(7, 600, p=[0.1, 0.6, 0.06, 0.06, 0.1, 0.04, 0.04])
        given = answers(labels, np.where(labels == 1, 0.9, 0.6), trial)
        table = table_of(localization=rng.choice(list("abcdef"), 600), sex=rng.choice(list("uvwx"), 600))
        rows = groups_of(table, labels, given, seed=trial, resamples=300)
        assert len(rows) == 10
        flagged += any(row.stands_out for row in rows)
    assert flagged <= 8


def test_the_p_value_by_hand() -> None:
    """Of 4 melanomas 3 right, 2 in the group and both right; of 6 nevi 3 right, 3 in the group and 2 right."""
    labels, is_in = np.array([0] * 4 + [1] * 6), np.array([1, 1, 0, 0, 1, 1, 1, 0, 0, 0], bool)
    is_right = np.array([1, 1, 1, 0, 1, 1, 0, 1, 0, 0], bool)
    excess = (2 - 2 * 3 / 4) + (2 - 3 * 3 / 6)
    variance = 2 * 3 / 4 * 1 / 4 * 2 / 3 + 3 * 1 / 2 * 1 / 2 * 3 / 5  # of hypergeometric draws
    expected = 2 * norm.sf((excess - 0.5) / np.sqrt(variance))
    assert mantel_haenszel(is_in, np.arange(10), labels, is_right) == pytest.approx(expected)
    threefold = [np.repeat(values, 3) for values in (is_in, np.arange(10), labels, is_right)]
    assert mantel_haenszel(*threefold) == pytest.approx(expected)  # three images a lesion
    assert mantel_haenszel(np.ones(10, bool), np.arange(10), labels, is_right) == 1.0


def test_small_groups_in_which_all_answers_are_right_are_seldom_flagged() -> None:
    """Of 40 parts with 20 groups of 25 lesions, 96 % of all answers right: a group without a mistake is no finding."""
    flagged = 0
    for trial in range(40):
        labels = np.ones(500, int)
        groups = np.random.default_rng(trial).permutation(np.repeat(np.arange(20), 25)).astype(str)
        given = answers(labels, np.full(500, 0.96), trial)
        rows = groups_of(table_of(localization=groups), labels, given, seed=trial, resamples=200)
        flagged += any(row.stands_out for row in rows)
    assert flagged <= 5


def test_a_gap_has_the_interval_of_the_truth() -> None:
    """Accuracy 0.9 against 0.6 in one diagnosis alone: the gap is -0.3, and its interval holds it."""
    labels = np.ones(1000, int)
    table = table_of(sex=np.repeat(["female", "male"], 500))
    given = answers(labels, np.repeat([0.9, 0.6], 500), 5)
    rows = {row.group: row for row in groups_of(table, labels, given)}
    low, high = rows["male"].gap_interval
    assert low < -0.3 < high and high - low < 0.15 and rows["male"].p_holm < 1e-6
    assert rows["male"].gap == pytest.approx(-rows["female"].gap)
    assert rows["male"].malignant == 0 and rows["male"].malignant_found is None


def test_malignant_lesions_are_counted_not_their_images() -> None:
    """Two melanomas missed in all of their nine images, eighteen found in their one: 18 of 20 lesions, not 18 of 36 images."""
    labels = np.r_[np.zeros(36, int), np.ones(20, int)]
    lesions = [f"m{i // 9}" for i in range(18)] + [f"m{i}" for i in range(2, 20)] + [f"n{i}" for i in range(20)]
    table = pd.DataFrame({"sex": ["male"] * 36 + ["female"] * 20, "lesion_id": lesions})
    given = np.where(np.arange(56) < 18, 1, labels)
    rows = {row.group: row for row in groups_of(table, labels, np.eye(7)[given])}
    assert rows["male"].malignant == 20 and rows["male"].malignant_found == pytest.approx(0.9)
    expected = binomtest(18, 20).proportion_ci(method="wilson")
    assert rows["male"].malignant_interval == pytest.approx([expected.low, expected.high], abs=1e-6)
    assert rows["male"].images == 36 and rows["male"].accuracy == 0.5
    given[0] = 0  # one of nine images of a lesion
    rows = {row.group: row for row in groups_of(table, labels, np.eye(7)[given])}
    assert rows["male"].malignant_found == pytest.approx((18 + 1 / 9) / 20)


def test_a_group_without_a_rest_has_no_gap() -> None:
    labels = np.arange(60) % 7
    (row,) = groups_of(table_of(dataset=["only"] * 60), labels, np.eye(7)[labels])
    assert row.gap is None and row.expected is None and row.p_holm is None and not row.stands_out
    assert row.malignant == (labels < 4).sum() - (labels == 1).sum() and row.malignant_found == 1.0
