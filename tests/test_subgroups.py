"""Calibration and subgroups: known answers, and groups that differ only in their mix of diagnoses do not stand out."""

import numpy as np
import pandas as pd
import pytest

from lesionlab.trust.calibration import calibration, expected_calibration_error
from lesionlab.trust.subgroups import subgroups


def test_calibration_by_hand() -> None:
    stated, happened = np.array([0.8] * 10 + [0.3] * 10), np.array([1] * 6 + [0] * 4 + [1] * 3 + [0] * 7)
    assert expected_calibration_error(stated, happened) == pytest.approx(0.5 * 0.2 + 0.5 * 0.0)
    certain = np.eye(7)[[0, 1, 2, 3]]
    right = {"reliability": [{"images": 4, "stated": 1.0, "happened": 1.0}]}
    assert calibration(np.arange(4), certain) == {"ece": 0.0, "ece_mel": 0.0, "brier": 0.0} | right
    wrong = {"reliability": [{"images": 4, "stated": 1.0, "happened": 0.0}]}
    assert calibration(np.array([1, 2, 3, 4]), certain) == {"ece": 1.0, "ece_mel": 0.25, "brier": 2.0} | wrong


def test_probabilities_that_labels_were_drawn_from_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(7, 0.5), 20_000)
    labels = np.array([rng.choice(7, p=row) for row in probabilities])
    figures = calibration(labels, probabilities)
    assert figures["ece"] < 0.01 and figures["ece_mel"] < 0.01
    sharp = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert calibration(labels, sharp)["ece"] > 0.1


def answers(labels: np.ndarray, recall: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities whose largest is the truth with the chance `recall`, an image at a time."""
    rng = np.random.default_rng(seed)
    given = np.where(rng.random(len(labels)) < recall, labels, (labels + 1) % 7)
    return np.eye(7)[given] * 0.7 + 0.3 / 7


def table_of(**columns: object) -> pd.DataFrame:
    table = pd.DataFrame(columns)
    return table.assign(lesion_id=[f"L{i}" for i in range(len(table))])


def test_a_mix_of_diagnoses_alone_does_not_stand_out_a_harder_group_does() -> None:
    rng = np.random.default_rng(3)
    sex = np.repeat(["female", "male"], 600)
    labels = np.r_[rng.choice([1, 0], 600, p=[0.9, 0.1]), rng.choice([1, 0], 600, p=[0.4, 0.6])]
    recall = np.where(labels == 1, 0.95, 0.5)
    rows = {row["group"]: row for row in subgroups(table_of(sex=sex), labels, answers(labels, recall, 0), seed=0)}
    assert rows["female"]["accuracy"] - rows["male"]["accuracy"] > 0.15
    assert not rows["female"]["stands_out"] and not rows["male"]["stands_out"]
    harder = recall - np.where(sex == "male", 0.3, 0)
    rows = {row["group"]: row for row in subgroups(table_of(sex=sex), labels, answers(labels, harder, 0), seed=0)}
    assert rows["male"]["stands_out"] and rows["male"]["accuracy"] < rows["male"]["expected"]


def test_groups_are_banded_named_and_large_enough() -> None:
    ages = [5.0] * 25 + [30.0] * 25 + [75.0] * 25 + [None] * 25 + [50.0] * 19
    labels = np.arange(119) % 7
    table = table_of(age=ages, dataset=["a"] * 100 + ["b"] * 19)
    rows = subgroups(table, labels, np.eye(7)[labels], seed=0)
    assert [(row["by"], row["group"], row["lesions"]) for row in rows] == [
        ("age", "0 to 29", 25),
        ("age", "30 to 44", 25),
        ("age", "75 and over", 25),
        ("age", "unknown", 25),
        ("source", "a", 100),
    ]
    assert all(row["accuracy"] == row["expected"] == 1.0 and not row["stands_out"] for row in rows)
