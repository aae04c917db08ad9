import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk

from labelled import labelled
from lesionlab.evaluation.intervals import bootstrap, wilson_interval
from lesionlab.evaluation.metrics import auc, curves, evaluate_part, headline
from lesionlab.taxonomy import DX


def draw(n: int, seed: int, *, skill: float = 1.5, decimals: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(7), rng.choice(7, n - 7, p=[0.11, 0.67, 0.05, 0.04, 0.1, 0.01, 0.02])]
    logits = rng.normal(size=(n, 7)) + skill * np.eye(7)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities.round(decimals)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(20, 200), decimals=st.sampled_from([1, 2, 8]))
def test_figures_equal_scikit_learns(seed: int, n: int, decimals: int) -> None:
    labels, probabilities = draw(n, seed, decimals=decimals)
    is_tie = np.sort(probabilities, axis=1)[:, -1] == np.sort(probabilities, axis=1)[:, -2]
    predicted = np.where(is_tie, 7, probabilities.argmax(axis=1))  # a tie is an answer of its own, always wrong
    ours = evaluate_part(labelled(labels, probabilities), seed=0)
    assert ours.undecided == is_tie.sum() and np.sum(ours.confusion) == n - is_tie.sum()
    assert ours.accuracy == pytest.approx(sk.accuracy_score(labels, predicted))
    areas = [sk.roc_auc_score(labels == c, probabilities[:, c]) for c in range(7)]
    assert ours.macro_auc == pytest.approx(np.mean(areas))
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=range(7), zero_division=np.nan
    )
    assert ours.balanced_accuracy == pytest.approx(recall.mean())
    for index, dx in enumerate(DX):
        mine = ours.per_class[dx]
        assert mine.images == support[index]
        assert mine.ppv == pytest.approx(precision[index], nan_ok=True)
        assert mine.sensitivity == pytest.approx(recall[index])
        assert mine.f1 == pytest.approx(f1[index], nan_ok=True)
        assert mine.auc == pytest.approx(areas[index])
        assert mine.misclassified == pytest.approx(1 - recall[index])


def test_hand_computed() -> None:
    labels = np.array([0, 0, 1, 1, 1, 4])
    predicted = np.array([0, 1, 1, 1, 0, 4])
    probabilities = np.eye(7)[predicted] * 0.7 + 0.3 / 7
    figures = headline(labels, probabilities)
    assert figures.accuracy == pytest.approx(4 / 6)
    assert figures.balanced_accuracy == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    hit, miss = -np.log(0.7 + 0.3 / 7), -np.log(0.3 / 7)
    assert figures.log_loss == pytest.approx((4 * hit + 2 * miss) / 6)
    part = evaluate_part(labelled(labels, probabilities, np.array(list("aabbcd"))), seed=0)
    assert part.lesions == 4 and part.majority_accuracy == 0.5
    assert part.confusion[0][:2] == [1, 1] and part.confusion[1][:2] == [1, 2]
    assert part.per_class["mel"].specificity == pytest.approx(3 / 4)
    assert np.isnan(part.per_class["df"].sensitivity) and part.per_class["df"].images == 0


def test_auc_counts_ties_half_and_is_nan_on_one_side() -> None:
    assert auc(np.array([True, False]), np.array([0.5, 0.5])) == 0.5
    assert np.isnan(auc(np.array([True, True]), np.array([0.5, 0.6])))


@pytest.mark.parametrize("decimals", [1, 8])
def test_a_draw_equals_the_figures_of_the_drawn_images(decimals: int) -> None:
    """Each draw of the bootstrap, computed at once, equals scikit-learn on the repeated images."""
    labels, probabilities = draw(60, 4, decimals=decimals)
    lesions = np.repeat(np.arange(30), 2)
    draws = bootstrap(labelled(labels, probabilities, lesions), seed=7, resamples=5)
    counts = np.random.default_rng(7).multinomial(30, np.full(30, 1 / 30), size=5)
    for index, count in enumerate(counts):
        chosen = np.repeat(np.arange(60), count[lesions])
        expected = headline(labels[chosen], probabilities[chosen])
        for name in ("accuracy", "balanced_accuracy", "macro_auc"):
            assert draws[name][index] == pytest.approx(getattr(expected, name), abs=1e-6)


def test_the_interval_covers_the_truth() -> None:
    """Of 200 simulated test parts about 95 % have an interval that holds the true accuracy."""
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        hits = rng.random(150) < 0.7
        labels = rng.integers(0, 7, 150)
        probabilities = np.eye(7)[np.where(hits, labels, (labels + 1) % 7)]
        draws = bootstrap(labelled(labels, probabilities), seed=trial, resamples=400)["accuracy"]
        low, high = np.percentile(draws, [2.5, 97.5])
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_wilsons_interval_equals_scipys() -> None:
    for hits, number in ((0, 1), (2, 2), (7, 9), (60, 83)):
        expected = binomtest(hits, number).proportion_ci(method="wilson")
        assert wilson_interval(hits / number, number) == pytest.approx([expected.low, expected.high], abs=1e-6)
    assert wilson_interval(float("nan"), 0) is None


def test_lesions_are_drawn_not_images() -> None:
    """Ten images of one lesion say what one says: the interval is as wide as with one image each."""
    labels, probabilities = draw(100, 1)
    once = evaluate_part(labelled(labels, probabilities), seed=0).intervals["accuracy"]
    repeated = labelled(labels.repeat(10), probabilities.repeat(10, axis=0), np.arange(100).repeat(10))
    tenfold = evaluate_part(repeated, seed=0)
    assert tenfold.intervals["accuracy"] == pytest.approx(once, abs=0.01)


def test_curves_run_from_corner_to_corner() -> None:
    labels, probabilities = draw(500, 2)
    drawn = curves(labelled(labels, probabilities))
    for dx in DX:
        assert drawn.roc[dx].fpr[0] == 0 and drawn.roc[dx].tpr[-1] == 1
        assert len(drawn.roc[dx].fpr) <= 200
        assert drawn.precision_recall[dx].sensitivity[-1] == 0
