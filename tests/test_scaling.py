"""Recalibration and abstention: known truths are found again, and nothing is judged where it was chosen."""

import numpy as np
import pytest
from scipy.stats import binomtest

from labelled import labelled
from lesionlab.evaluation import abstention
from lesionlab.evaluation.calibration import calibration
from lesionlab.evaluation.intervals import folds
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.evaluation.vector_scaling import (
    VectorScaling,
    cross_fitted,
    fit_temperature,
    fit_vector_scaling,
    fitted_temperature,
    temper,
)


def calibrated(n: int, seed: int, sharpness: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(7, sharpness), n) * 0.98 + 0.02 / 7
    return (rng.random((n, 1)) > probabilities.cumsum(axis=1)).sum(axis=1), probabilities


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def test_vector_scaling_undoes_what_was_done() -> None:
    labels, truth = calibrated(20_000, 0)
    scale, offset = (2.0, 1.5, 1.0, 2.5, 1.8, 1.2, 2.0), (1.0, -1.0, 0.5, 0.0, -0.5, 0.3, -0.3)
    found = fit_vector_scaling(labels, VectorScaling(scale, offset)(truth))
    assert log_loss(labels, found(VectorScaling(scale, offset)(truth))) == pytest.approx(
        log_loss(labels, truth), abs=0.01
    )
    off, back = VectorScaling(scale, offset)(truth), found(VectorScaling(scale, offset)(truth))
    errors = [calibration(labelled(labels, p)).classwise_ece for p in (off, back)]
    assert errors[0] > 5 * errors[1]
    np.testing.assert_allclose(back.sum(axis=1), 1)


def test_vector_scaling_of_a_mere_temperature_is_that_temperature() -> None:
    labels, truth = calibrated(20_000, 1)
    found = fit_vector_scaling(labels, temper(truth, 0.5))
    assert np.abs(np.array(found.scale) - 0.5).max() < 0.05 and np.ptp(found.offset) < 0.1


def test_few_images_hold_vector_scaling_near_the_temperature() -> None:
    labels, truth = calibrated(40, 2)
    found = fit_vector_scaling(labels, truth)
    assert np.abs(found.offset).max() < 3 and np.isfinite(found(truth)).all()


def test_a_known_temperature_is_found() -> None:
    labels, truth = calibrated(2000, 3)
    assert fit_temperature(labels, truth**2 / (truth**2).sum(axis=1, keepdims=True)) == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("fit", [fitted_temperature, fit_vector_scaling])
def test_a_lesion_does_not_recalibrate_itself(fit) -> None:
    """Other labels for the lesions of one fifth leave that fifth's probabilities as they are."""
    labels, truth = calibrated(400, 4)
    lesions = np.repeat(np.arange(200), 2)
    fold = folds(lesions, 5, seed=0)
    assert all(len(set(fold[lesions == lesion])) == 1 for lesion in range(200))
    other = np.where(fold == 2, (labels + 3) % 7, labels)
    first, second = (cross_fitted(fit, labelled(y, truth, lesions), seed=0) for y in (labels, other))
    np.testing.assert_array_equal(first[fold == 2], second[fold == 2])
    assert (first[fold != 2] != second[fold != 2]).any()


def test_the_bound_is_clopper_and_pearsons() -> None:
    for errors, number in ((0, 40), (3, 100), (50, 50)):
        expected = binomtest(errors, number).proportion_ci(1 - 2 * 0.05 / 20, method="exact").high
        assert abstention.error_bound(errors, number) == pytest.approx(expected)


def test_the_chosen_risk_is_kept() -> None:
    """Of 200 drawn lines, at most about one in twenty lets more wrong answers through than chosen."""
    broken = answered = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        uncertainty = rng.random(3000)
        line = abstention.choose_threshold(rng.random(3000) < 0.5 * uncertainty, uncertainty, 0.1)
        answered += line is not None
        broken += line is not None and line / 4 > 0.1  # the error below a line u is u / 4
    assert answered > 150 and broken <= 12


def test_equal_uncertainties_stand_or_fall_together() -> None:
    """Whatever order they come in: 700 of 1,000 saturated answers are wrong, so nothing can be promised."""
    is_wrong, saturated = np.arange(1000) >= 300, np.zeros(1000)
    assert abstention.choose_threshold(is_wrong, saturated, 0.05) is None
    surer = np.where(np.arange(1000) < 300, 0.0, 0.5)
    assert abstention.choose_threshold(is_wrong, surer, 0.05) == 0.0


def test_the_chosen_risk_is_kept_on_steps() -> None:
    """Ten levels of uncertainty, whose errors are known: the line breaks its promise at most about once in twenty draws."""
    error_at = np.arange(10) / 20
    up_to = np.cumsum(error_at) / np.arange(1, 11)
    broken = answered = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        level = rng.integers(0, 10, 3000)
        is_wrong = rng.random(3000) < error_at[level]
        right_first = np.argsort(is_wrong, kind="stable")  # the order that flatters a line drawn inside a step
        line = abstention.choose_threshold(is_wrong[right_first], level[right_first].astype(float), 0.12)
        answered += line is not None
        broken += line is not None and up_to[int(line)] > 0.12
    assert answered > 150 and broken <= 12


def test_too_few_images_promise_nothing() -> None:
    assert abstention.choose_threshold(np.zeros(30, bool), np.arange(30.0), 0.1) is None
    assert abstention.choose_threshold(np.zeros(200, bool), np.arange(200.0), 0.1) == 199
    labels, probabilities = calibrated(20, 5)
    part = labelled(labels, probabilities)
    for row in (*abstention.abstention(part, part), *abstention.cross_evaluated(part, seed=0)):
        assert row.answered == 0 and row.error is None and row.malignant_referred == 1
    assert (
        abstention.evaluate_threshold(labelled(np.ones(20, int), probabilities), None, 0.1).malignant_referred is None
    )


def test_abstaining_is_judged_on_other_images() -> None:
    drawn, judged = calibrated(3000, 6, 0.1), calibrated(3000, 7, 0.1)
    rows = abstention.abstention(labelled(*drawn), labelled(*judged), (0.1, 0.2))
    assert [row.risk for row in rows] == [0.1, 0.2] and 0 < rows[0].answered < rows[1].answered
    for row in rows:
        below = uncertainties(judged[1]) <= row.threshold
        assert row.answered == below.mean() and row.error <= row.risk
        assert row.error_interval[0] <= row.error <= row.error_interval[1]
        malignant = np.isin(judged[0], [0, 2, 3])
        assert row.malignant_referred == pytest.approx((~below[malignant]).mean())


def test_malignant_lesions_shown_to_a_specialist_are_counted_not_their_images() -> None:
    """One melanoma of nine unsure images, nine melanomas of one sure image each: a tenth of the lesions, half of the images."""
    unsure, sure = np.full((9, 7), 1 / 7), np.eye(7)[np.zeros(9, int)]
    part = labelled(np.zeros(18, int), np.r_[unsure, sure], np.r_[np.zeros(9, int), np.arange(1, 10)])
    found = abstention.evaluate_threshold(part, 0.5, 0.1)
    assert found.malignant_referred == pytest.approx(0.1) and found.answered == 0.5
