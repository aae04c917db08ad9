"""Operating points and prediction sets: closed forms, simulations with known truth, and promises that are kept."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from labelled import labelled
from lesionlab.evaluation import conformal
from lesionlab.evaluation.abstention import risk_coverage
from lesionlab.evaluation.intervals import folds
from lesionlab.evaluation.operating_points import (
    choose_threshold,
    cross_evaluated,
    evaluate_threshold,
    net_benefit,
    operating_points,
)
from lesionlab.evaluation.prediction_sets import images_needed, largest_score
from lesionlab.model.decision_rule import apply_decision, choose_decision, out_of_fold
from lesionlab.recipe import DecisionChoice
from lesionlab.taxonomy import DX, HAM10000


def normal_scores(n: int, distance: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores 0 to 1 of two groups that are `distance` standard deviations apart."""
    is_positive = rng.random(n) < 0.2
    return is_positive, norm.cdf(rng.normal(size=n) + distance * is_positive)


def test_a_line_is_where_theory_puts_it() -> None:
    rng = np.random.default_rng(0)
    is_positive, score = normal_scores(200_000, 1.5, rng)
    found = evaluate_threshold(
        is_positive, score, choose_threshold(is_positive, score, "sensitivity", 0.9), np.arange(len(score))
    )
    assert found["sensitivity"] == pytest.approx(0.9, abs=1e-3)
    assert found["specificity"] == pytest.approx(norm.cdf(1.5 + norm.ppf(0.1)), abs=0.01)
    found = evaluate_threshold(
        is_positive, score, choose_threshold(is_positive, score, "specificity", 0.95), np.arange(len(score))
    )
    assert found["specificity"] == pytest.approx(0.95, abs=1e-3)
    assert found["sensitivity"] == pytest.approx(norm.sf(norm.ppf(0.95) - 1.5), abs=0.01)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40),
    st.integers(0, 20).map(lambda i: i / 20),
)
@settings(max_examples=200, deadline=None)
def test_a_line_keeps_what_is_wanted_and_gives_the_most_of_the_other(items: list, wanted: float) -> None:
    is_positive, score = np.array([i[0] for i in items]), np.array([i[1] for i in items]) / 5
    if is_positive.all() or not is_positive.any():
        return
    lines = np.r_[np.unique(score), 1.1]
    kept = choose_threshold(is_positive, score, "sensitivity", wanted)
    assert (score[is_positive] >= kept).mean() >= wanted - 1e-9
    better = [(score[~is_positive] < t).mean() for t in lines if (score[is_positive] >= t).mean() >= wanted - 1e-9]
    assert (score[~is_positive] < kept).mean() == pytest.approx(max(better))
    kept = choose_threshold(is_positive, score, "specificity", wanted)
    if (score[~is_positive] < 1.0).mean() >= wanted:
        assert (score[~is_positive] < kept).mean() >= wanted - 1e-9


def test_net_benefit_by_hand() -> None:
    is_positive, score = np.array([True, True, False, False]), np.array([0.9, 0.3, 0.6, 0.1])
    (row,) = [row for row in net_benefit(is_positive, score) if row.threshold == 0.5]
    assert row.model == pytest.approx(1 / 4 - 1 / 4) and row.all == pytest.approx(0.5 - 0.5)
    (row,) = [row for row in net_benefit(is_positive, score) if row.threshold == 0.2]
    assert row.model == pytest.approx(2 / 4 - 0.25 / 4)


def drawn(n: int, rng: np.random.Generator, shares: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a network that is right about seven in ten and overconfident."""
    labels = rng.choice(7, n, p=shares)
    logits = rng.normal(size=(n, 7)) + 1.8 * np.eye(7)[labels]
    sharp = np.exp(2 * logits)
    return labels, sharp / sharp.sum(axis=1, keepdims=True)


def test_operating_points_are_drawn_on_validation_and_judged_on_test() -> None:
    rng = np.random.default_rng(1)
    validation, test = labelled(*drawn(4000, rng)), labelled(*drawn(4000, rng))
    found = operating_points(validation, test)
    assert set(found) == {"malignant", "melanoma"}
    for task in found.values():
        for point in task.points:
            assert getattr(point, point.wanted) == pytest.approx(point.at_least, abs=0.03)
            assert point.sensitivity_interval[0] <= point.sensitivity <= point.sensitivity_interval[1]
    assert found["melanoma"].positives == (test.labels == HAM10000.index_of["mel"]).sum()
    nevi = np.full(4000, HAM10000.index_of["nv"])
    assert operating_points(validation, labelled(nevi, test.probabilities)) == {}


def test_a_specificity_is_kept_where_benign_images_have_probability_1() -> None:
    is_positive, score = np.arange(200) < 100, np.ones(200)
    score[108:] = 0.0  # eight of a hundred negatives have a 1
    assert (score[~is_positive] >= choose_threshold(is_positive, score, "specificity", 0.95)).mean() <= 0.05


def test_sets_keep_their_promise_for_every_diagnosis_on_average_over_draws() -> None:
    """Rare diagnoses with 15 calibration images too; a promise over all diagnoses together would break there."""
    rng = np.random.default_rng(2)
    shares = np.array([0.1, 0.6, 0.05, 0.05, 0.1, 0.05, 0.05])
    coverage, per_class = [], {dx: [] for dx in DX}
    for _ in range(60):
        found = conformal.calibrate(labelled(*drawn(300, rng, shares)))
        result = conformal.measure(labelled(*drawn(2000, rng, shares)), found)
        coverage.append(result.coverage)
        for dx in DX:
            per_class[dx].append(result.per_class[dx].coverage)
    assert 0.89 < np.mean(coverage) < 0.96
    assert all(0.885 < np.mean(values) < 0.97 for values in per_class.values()), {
        k: np.mean(v) for k, v in per_class.items()
    }


def test_the_intervals_of_the_sets_count_lesions() -> None:
    """Every image four times over, as of one lesion, leaves every share and every interval as it is: scipy's of lesions."""
    rng = np.random.default_rng(10)
    found = conformal.calibrate(labelled(*drawn(900, rng)))
    labels, probabilities = drawn(300, rng)
    once = conformal.measure(labelled(labels, probabilities), found)
    repeated = labelled(labels.repeat(4), probabilities.repeat(4, axis=0), np.arange(300).repeat(4))
    fourfold = conformal.measure(repeated, found)
    assert fourfold.interval == pytest.approx(once.interval)
    expected = binomtest(round(300 * once.coverage), 300).proportion_ci(method="wilson")
    assert once.interval == pytest.approx([expected.low, expected.high], abs=1e-6)
    for dx in DX:
        assert fourfold.per_class[dx].interval == pytest.approx(once.per_class[dx].interval)
        assert fourfold.per_class[dx].images == 4 * once.per_class[dx].images


def test_too_few_calibration_images_promise_nothing() -> None:
    labels, probabilities = drawn(200, np.random.default_rng(3))
    chosen = (labels != 5) | (np.cumsum(labels == 5) <= 8)
    labels, probabilities = labels[chosen], probabilities[chosen]
    found = conformal.calibrate(labelled(labels, probabilities))
    of_all = np.sort(conformal.scores(probabilities, 0.0)[np.arange(len(labels)), labels])
    assert found.images[5] == 8 and found.thresholds[5] == of_all[int(np.ceil(0.9 * (len(of_all) + 1))) - 1]
    assert not conformal.prediction_sets(probabilities, found.thresholds)[:, 5].all()
    assert max(found.thresholds) < 1.0


@pytest.mark.parametrize("penalty", [0.0, 0.01, 0.05])
def test_a_diagnosis_of_the_largest_threshold_is_in_every_set(penalty: float) -> None:
    """In those sets too whose probabilities sum to a little more than 1, as floats do."""
    probabilities = np.random.default_rng(11).dirichlet(np.full(7, 0.3), 20_000)
    probabilities[:, 5] = 0
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    largest = conformal.calibrate(labelled(np.array([], int), np.empty((0, 7))), penalty=penalty).thresholds
    assert (conformal.scores(probabilities, penalty) > largest).any()
    assert conformal.prediction_sets(probabilities, largest, penalty).all()


def test_a_sure_wrong_answer_raises_no_threshold_above_the_largest() -> None:
    """Sums of 32-bit shares come out above 1; a model file takes thresholds of 0 to 1."""
    probabilities = np.tile(np.float32([0.3, 0.3, 0.2, 0.1, 0.05, 0.05 + 1e-6, 0]), (12, 1)).astype(float)
    assert conformal.scores(probabilities).max() > 1
    found = conformal.calibrate(labelled(np.full(12, 6), probabilities))
    assert found.promised[6] and found.thresholds[6] == 1.0


def test_sets_hold_the_likeliest_and_grow_with_the_promise() -> None:
    labels, probabilities = drawn(500, np.random.default_rng(4))
    sizes = []
    for coverage in (0.5, 0.8, 0.9, 0.95):
        found = conformal.calibrate(labelled(labels, probabilities), coverage)
        sets = conformal.prediction_sets(probabilities, found.thresholds)
        assert sets[np.arange(500), probabilities.argmax(axis=1)].all()
        sizes.append(sets.sum())
    assert sizes == sorted(sizes)


def test_scores_by_hand() -> None:
    row = np.array([[0.5, 0.3, 0.1, 0.05, 0.03, 0.02, 0.0]])
    expected = [0.25, 0.65, 0.85, 0.925, 0.965, 0.99, 1.0]
    np.testing.assert_allclose(conformal.scores(row)[0], expected)
    np.testing.assert_allclose(conformal.scores(row[:, ::-1])[0], expected[::-1])


def test_a_penalty_by_hand() -> None:
    row = np.array([[0.5, 0.3, 0.1, 0.05, 0.03, 0.02, 0.0]])
    expected = np.array([0.25, 0.65, 0.85, 0.925, 0.965, 0.99, 1.0]) + 0.2 * np.array([0, 0, 1, 2, 3, 4, 5])
    np.testing.assert_allclose(conformal.scores(row, 0.2)[0], expected)
    few = conformal.calibrate(labelled(np.array([1]), row), penalty=0.2)
    assert conformal.prediction_sets(row, few.thresholds, 0.2).all()


@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_sets_are_those_of_crepes(penalty: float) -> None:
    """A conformal classifier of crepes for each diagnosis gives the same sets, the likeliest one apart."""
    crepes = pytest.importorskip("crepes", reason="crepes is absent: pip install -e '.[dev]'")
    rng = np.random.default_rng(9)
    (labels, probabilities), (_, judged) = drawn(900, rng), drawn(400, rng)
    found = conformal.calibrate(labelled(labels, probabilities), penalty=penalty)
    own = conformal.scores(probabilities, penalty)[np.arange(900), labels]
    asked = conformal.scores(judged, penalty)
    expected = np.zeros((400, 7), bool)
    for index in range(7):
        classifier = crepes.ConformalClassifier().fit(own[labels == index])
        p_values = classifier.predict_p(asked[:, [index]], smoothing=False)[:, 0]
        expected[:, index] = p_values > 0.1 + 1e-12  # Vovk's sets; crepes' own take p = 0.1 in as well
    expected[np.arange(400), judged.argmax(axis=1)] = True
    np.testing.assert_array_equal(conformal.prediction_sets(judged, found.thresholds, penalty), expected)


@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_repeated_halves_find_the_promise_kept(penalty: float) -> None:
    labels, probabilities = drawn(1500, np.random.default_rng(6))
    found = conformal.repeated(labelled(labels, probabilities), seed=0, repeats=60, penalty=penalty)
    assert found.coverage == pytest.approx(0.9, abs=0.015)
    for row in found.per_class.values():
        assert row.coverage == pytest.approx(0.9, abs=0.025) and row.range[0] < 0.9 < row.range[1]


def test_the_promise_counts_lesions() -> None:
    """Nine images of three lesions promise nothing, and of several images of one lesion the first calibrates."""
    labels, probabilities = drawn(400, np.random.default_rng(12))
    lesions = np.arange(400)
    rare = np.flatnonzero(labels == HAM10000.index_of["df"])[:9]
    lesions[rare] = 1000 + np.arange(len(rare)) // 3
    kept = (labels != HAM10000.index_of["df"]) | np.isin(np.arange(400), rare)
    found = conformal.calibrate(labelled(labels[kept], probabilities[kept], lesions[kept]))
    assert len(rare) == 9 and found.images[HAM10000.index_of["df"]] == 3 and not found.promised[HAM10000.index_of["df"]]
    once = conformal.calibrate(labelled(labels, probabilities))
    threefold = labelled(labels.repeat(3), probabilities.repeat(3, axis=0), np.arange(400).repeat(3))
    assert conformal.calibrate(threefold) == once


@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_a_diagnosis_of_few_lesions_has_the_threshold_of_all_together(penalty: float) -> None:
    """As the null cluster of Ding et al. (2023)."""
    labels, probabilities = drawn(400, np.random.default_rng(13))
    rare = HAM10000.index_of["df"]
    kept = (labels != rare) | (np.cumsum(labels == rare) <= 8)
    labels, probabilities = labels[kept], probabilities[kept]
    found = conformal.calibrate(labelled(labels, probabilities), penalty=penalty)
    own = np.sort(conformal.scores(probabilities, penalty)[np.arange(len(labels)), labels])
    assert found.images[rare] == 8 and found.promised.count(False) == 1
    assert found.thresholds[rare] == own[int(np.ceil(0.9 * (len(own) + 1))) - 1] < largest_score(7, penalty)
    assert len(set(found.thresholds)) == 7  # the others have their own


def test_sets_are_calibrated_on_images_that_the_scaling_was_not_fitted_to() -> None:
    """Another label of a lesion changes what other fifths get, and nothing in its own; a temperature is left as it is."""
    labels, as_trained = drawn(200, np.random.default_rng(15))
    decision = choose_decision(DecisionChoice("prior-corrected", "vector"), labels, as_trained, labels)
    given = labelled(labels, apply_decision(as_trained, decision))
    found = out_of_fold(given, as_trained, decision, seed=0).probabilities
    others = np.r_[(labels[0] + 3) % 7, labels[1:]]
    after = out_of_fold(labelled(others, given.probabilities), as_trained, decision, seed=0).probabilities
    own = folds(given.lesions, 5, seed=0) == folds(given.lesions, 5, seed=0)[0]
    assert (found[own] == after[own]).all() and (np.abs(found[~own] - after[~own]).max(axis=1) > 0).all()
    assert np.abs(found - given.probabilities).max() > 1e-3
    tempered = dataclasses.replace(decision, scale=(), offset=(), temperature=1.5)
    assert out_of_fold(given, as_trained, tempered, seed=0) is given


def test_too_few_lesions_in_all_leave_every_diagnosis_in_every_set() -> None:
    """Eight lesions, one short of a promise of 90 %."""
    labels, probabilities = drawn(8, np.random.default_rng(14))
    found = conformal.calibrate(labelled(labels, probabilities))
    assert not any(found.promised) and found.thresholds == (1.0,) * 7
    assert conformal.prediction_sets(probabilities, found.thresholds).all()


def test_a_diagnosis_without_images_has_no_coverage() -> None:
    labels, probabilities = drawn(300, np.random.default_rng(7))
    kept = labels != 5
    part = labelled(labels[kept], probabilities[kept])
    found = conformal.repeated(part, seed=0, repeats=5)
    assert np.isnan(found.per_class["df"].coverage) and found.per_class["df"].range is None
    measured = conformal.measure(part, conformal.calibrate(part))
    assert not measured.per_class["df"].is_promised and measured.per_class["nv"].is_promised
    assert images_needed(0.9) == 9 and images_needed(0.95) == 19


def test_lines_drawn_crosswise_are_not_judged_where_they_were_drawn() -> None:
    """Of scores that mean nothing, the wanted sensitivity is kept, and the specificity is no better than chance."""
    rng = np.random.default_rng(8)
    labels, probabilities = rng.choice(7, 2000), rng.dirichlet(np.ones(7), 2000)
    found = cross_evaluated(labelled(labels, probabilities), seed=0)
    for task in found.values():
        low, high = task.auc_interval
        assert low < task.auc < high and task.auc == pytest.approx(0.5, abs=0.05)
        for point in task.points:
            assert getattr(point, point.wanted) == pytest.approx(point.at_least, abs=0.04)
            assert point.sensitivity + point.specificity == pytest.approx(1.0, abs=0.06)
    nevi = np.full(2000, HAM10000.index_of["nv"])
    assert cross_evaluated(labelled(nevi, probabilities), seed=0) == {}


def test_fewer_answers_fewer_errors() -> None:
    labels, probabilities = drawn(2000, np.random.default_rng(5))
    rows = risk_coverage(labelled(labels, probabilities), 1 - probabilities.max(axis=1))
    assert rows[0].answered == 0.05 and rows[-1].answered == 1.0
    assert rows[0].error < rows[-1].error == pytest.approx((probabilities.argmax(axis=1) != labels).mean())
