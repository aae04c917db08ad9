"""Every figure of a diagnosis has an interval: each draw equals scikit-learn's figure, and the intervals hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn import metrics as sk

from labelled import labelled
from lesionlab.evaluation.intervals import (
    CLASS_FIGURES,
    auc_interval,
    bootstrap,
    effective_number,
    paired_interval,
    percentile_interval,
    ranking,
)
from lesionlab.evaluation.metrics import auc, evaluate_part, sensitivity_at
from lesionlab.evaluation.operating_points import cross_evaluated
from lesionlab.taxonomy import DX


def drawn(n: int, seed: int, decimals: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(7), rng.choice(7, n - 7, p=[0.11, 0.6, 0.06, 0.05, 0.1, 0.04, 0.04])]
    weighed = np.exp(rng.normal(size=(n, 7)) + 1.5 * np.eye(7)[labels])
    return labels, (weighed / weighed.sum(axis=1, keepdims=True)).round(decimals)


@pytest.mark.parametrize("decimals", [1, 8])
def test_each_draw_equals_the_figures_of_the_drawn_images(decimals: int) -> None:
    labels, probabilities = drawn(80, 3, decimals)
    lesions = np.repeat(np.arange(40), 2)
    draws = bootstrap(labelled(labels, probabilities, lesions), seed=5, resamples=4)
    counts = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), size=4)
    for index, count in enumerate(counts):
        chosen = np.repeat(np.arange(80), count[lesions])
        y, p = labels[chosen], probabilities[chosen]
        answers = np.where((p == p.max(axis=1, keepdims=True)).sum(axis=1) > 1, -1, p.argmax(axis=1))  # a tie is none
        assert draws["log_loss"][index] == pytest.approx(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-15)).mean())
        for c in np.unique(y):
            tn, fp, fn, tp = sk.confusion_matrix(y == c, answers == c, labels=[False, True]).ravel()
            expected = {
                "sensitivity": tp / (tp + fn),
                "specificity": tn / (tn + fp),
                "ppv": tp / (tp + fp) if tp + fp else np.nan,
                "npv": tn / (tn + fn),
                "f1": 2 * tp / (2 * tp + fp + fn),
                "auc": sk.roc_auc_score(y == c, p[:, c]),
                "average_precision": sk.average_precision_score(y == c, p[:, c]),
            }
            for name in CLASS_FIGURES:
                assert draws[name][index, c] == pytest.approx(expected[name], abs=1e-6, nan_ok=True), (name, c)


def test_sensitivity_at_a_specificity_is_that_of_the_roc_curve() -> None:
    rng = np.random.default_rng(0)
    is_positive = rng.random(300) < 0.2
    score = rng.normal(size=300).round(1) + is_positive
    fpr, tpr, _ = sk.roc_curve(is_positive, score, drop_intermediate=False)
    for specificity in (0.0, 0.5, 0.9, 0.95, 1.0):
        expected = tpr[fpr <= 1 - specificity + 1e-12].max()
        assert sensitivity_at(is_positive, score, specificity) == pytest.approx(expected)
    assert np.isnan(sensitivity_at(np.ones(3, bool), np.arange(3.0)))


def test_blocks_of_draws_are_put_together_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities = drawn(50, 1)
    weights = np.random.default_rng(0).multinomial(50, np.full(50, 1 / 50), size=30).astype(np.float32)
    monkeypatch.setattr("lesionlab.evaluation.intervals._FEW_POSITIVES", 0)
    whole = ranking(labels == 1, probabilities[:, 1], weights)
    monkeypatch.setattr("lesionlab.evaluation.intervals._CELLS", 350)  # seven draws at a time
    for at_once, blockwise in zip(whole, ranking(labels == 1, probabilities[:, 1], weights), strict=True):
        np.testing.assert_array_equal(at_once, blockwise)


@given(
    st.integers(1, 40), st.integers(0, 40), st.integers(0, 2), st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.integers(0, 99)
)
def test_draws_rank_alike_by_positives_and_by_all_images(
    positives: int, negatives: int, decimals: int, specificity: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    number = positives + negatives
    is_positive, score = np.arange(number) < positives, rng.random(number).round(decimals)
    weights = rng.multinomial(number, np.full(number, 1 / number), size=20).astype(np.uint8)
    fast = ranking(is_positive, score, weights, specificity)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lesionlab.evaluation.intervals._FEW_POSITIVES", 0)
        whole = ranking(is_positive, score, weights, specificity)
    for one, other in zip(fast, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_intervals_hold_the_true_figures() -> None:
    """Two groups of normal scores: specificity, predictive value and area are known; about 95 % of intervals hold them."""
    trials, held = 150, dict.fromkeys(("specificity", "ppv", "auc"), 0)
    share, distance, line = 0.25, 1.2, 0.8  # of positives; standard deviations between the groups; the threshold
    sensitivity, specificity = norm.sf(line - distance), norm.cdf(line)
    found = share * sensitivity
    true = {
        "specificity": specificity,
        "ppv": found / (found + (1 - share) * (1 - specificity)),
        "auc": norm.cdf(distance / np.sqrt(2)),
    }
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        is_melanoma = rng.random(300) < share
        score = norm.cdf(rng.normal(size=300) + distance * is_melanoma - line)
        probabilities = np.zeros((300, 7))
        probabilities[:, 0], probabilities[:, 1] = score, 1 - score
        draws = bootstrap(labelled(np.where(is_melanoma, 0, 1), probabilities), seed=trial, resamples=300)
        for name, value in true.items():
            low, high = percentile_interval(draws[name][:, 0])
            held[name] += low <= value <= high
    assert all(0.89 <= number / trials <= 0.99 for number in held.values()), held


def test_a_share_that_no_draw_moves_has_wilsons_interval() -> None:
    labels, probabilities = np.arange(70) % 7, np.eye(7)[np.arange(70) % 7] * 0.9 + 0.1 / 7
    row = evaluate_part(labelled(labels, probabilities), seed=0).per_class["df"]
    expected = binomtest(10, 10).proportion_ci(method="wilson")
    assert row.sensitivity == 1.0 and row.intervals["sensitivity"] == pytest.approx([expected.low, 1.0], abs=1e-6)
    assert row.intervals["ppv"][0] == pytest.approx(expected.low, abs=1e-6)
    assert row.intervals["auc"] == pytest.approx([0.884, 1.0], abs=1e-3)  # 10 lesions against 60, all ranked right
    assert row.intervals["f1"] is None  # no method that would not lie


def test_answers_that_are_all_right_are_not_certain() -> None:
    part = evaluate_part(labelled(np.array([0, 1, 2]), np.eye(7)[:3]), seed=0)
    expected = binomtest(3, 3).proportion_ci(method="wilson")
    assert part.intervals.pop("accuracy") == pytest.approx([expected.low, 1.0], abs=1e-6)
    assert all(np.isnan(bounds).all() for bounds in part.intervals.values())


@pytest.mark.parametrize("positives", [1, 3, 10])
def test_intervals_of_an_area_hold_the_truth_with_few_positives(positives: int) -> None:
    """Of normal scores the area is known: where the positives' mean is 1.81 standard deviations higher, 0.9."""
    rng, held = np.random.default_rng(0), 0
    is_positive = np.arange(positives + 200) < positives
    for _ in range(200):
        score = rng.normal(1.8124 * is_positive, 1.0)
        low, high = auc_interval(auc(is_positive, score), positives, 200)
        held += low <= 0.9 <= high
    assert held >= 180  # the bootstrap: 12, 140, 180


def test_lesions_of_many_images_do_not_count_as_many() -> None:
    assert effective_number(np.arange(30)) == effective_number(np.arange(30).repeat(4)) == 30
    assert effective_number(np.r_[np.arange(90), np.repeat(np.arange(90, 100), 10)]) == pytest.approx(190**2 / 1090)
    assert effective_number(np.array([])) == 0


def test_one_lesion_alone_has_no_interval() -> None:
    labels, probabilities = drawn(20, 0)
    part = evaluate_part(labelled(labels, probabilities, np.array(["one"] * 20)), seed=0)
    assert part.lesions == 1 and all(np.isnan(bounds).all() for bounds in part.intervals.values())
    assert 0 <= part.accuracy <= 1


def test_an_absent_diagnosis_has_figures_of_its_absence_alone() -> None:
    labels, probabilities = drawn(200, 2)
    kept = labels != DX.index("vasc")
    row = evaluate_part(labelled(labels[kept], probabilities[kept]), seed=0).per_class["vasc"]
    assert row.images == 0 and row.sensitivity_interval is None
    for name in ("sensitivity", "f1", "auc", "average_precision"):
        assert np.isnan(getattr(row, name)) and row.intervals[name] is None
    assert 0 < row.specificity <= 1 and row.intervals["specificity"][0] < 1


def test_an_area_of_1_has_an_interval() -> None:
    """Of twenty-five malignant and as many benign lesions, all told apart: no draw differs, and the truth may."""
    labels = np.repeat([0, 1], 25)
    part = labelled(labels, 0.2 / 7 + 0.8 * np.eye(7)[labels])
    of_melanoma = evaluate_part(part, seed=0).per_class["mel"].intervals["auc"]
    of_task = cross_evaluated(part, seed=0)["malignant"].auc_interval
    assert of_melanoma == of_task == auc_interval(1.0, 25, 25)
    assert of_task is not None and of_task[0] < 0.95 and of_task[1] == 1


def test_draws_that_are_all_alike_are_no_interval() -> None:
    assert np.isnan(percentile_interval(np.full(50, 0.7))).all()
    assert paired_interval(np.zeros(50)) == [0.0, 0.0] and np.isnan(paired_interval(np.full(50, 0.1))).all()
