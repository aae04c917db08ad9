"""Labels that may be wrong: cleanlab's, in cleanlab's order, and in a simulation the ones that were made wrong."""

import numpy as np
import pytest

from labelled import labelled
from lesionlab.evaluation.label_errors import confidently_held, suspects

NAMES = [f"i{number}" for number in range(2000)]


def mislabelled(n: int, seed: int, wrong: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of which some were made wrong, probabilities of a good model, and which were made wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(7, n, p=[0.11, 0.6, 0.06, 0.05, 0.1, 0.04, 0.04])
    weighed = np.exp(rng.normal(size=(n, 7)) + 6 * np.eye(7)[truth])
    is_wrong = rng.random(n) < wrong
    return (
        np.where(is_wrong, (truth + rng.integers(1, 7, n)) % 7, truth),
        weighed / weighed.sum(axis=1)[:, None],
        is_wrong,
    )


def test_they_are_cleanlabs_in_its_order() -> None:
    filter_ = pytest.importorskip("cleanlab.filter", reason="cleanlab is absent: pip install -e '.[dev]'")
    for seed in range(3):
        labels, probabilities, _ = mislabelled(800, seed, 0.1)
        expected = filter_.find_label_issues(
            labels,
            probabilities,
            filter_by="confident_learning",
            return_indices_ranked_by="normalized_margin",
            n_jobs=1,
        )
        found = suspects(labelled(labels, probabilities, np.arange(800)), NAMES)
        assert [s.row for s in found] == [row for row in expected if row in {s.row for s in found}]
        others = set(expected) - {s.row for s in found}  # ties, which cleanlab keeps
        assert {s.row for s in found} <= set(expected) and len(others) <= 2


def test_wrong_labels_are_found_and_come_first() -> None:
    labels, probabilities, is_wrong = mislabelled(2000, 7, 0.05)
    found = suspects(labelled(labels, probabilities, np.arange(2000)), NAMES)
    rows = np.array([s.row for s in found])
    assert is_wrong[rows[: is_wrong.sum() // 2]].mean() > 0.95
    assert np.isin(np.flatnonzero(is_wrong), rows).mean() > 0.7
    assert [s.margin for s in found] == sorted(s.margin for s in found) and all(-1 <= s.margin < 0 for s in found)
    assert all(s.given != s.suggested for s in found)


def test_a_diagnosis_of_few_lesions_is_never_suggested() -> None:
    labels, probabilities, _ = mislabelled(300, 8, 0.1)
    labels = np.where(labels == 5, 1, labels)
    assert 5 not in confidently_held(labelled(labels, probabilities, np.arange(300)))
    assert suspects(labelled(np.ones(5, int), np.full((5, 7), 1 / 7)), NAMES) == []
    assert 4 in confidently_held(labelled(labels, probabilities, np.arange(300)))
    lesions = np.where(labels == 4, 0, np.arange(300))  # many images, of one lesion
    assert 4 not in confidently_held(labelled(labels, probabilities, lesions))


def test_a_tie_that_the_decision_rule_has_made_is_no_question() -> None:
    labels = np.repeat([1, 4], 20)
    probabilities = np.full((40, 7), 0.02)
    probabilities[:20, 1], probabilities[20:, 4] = 0.4, 0.4
    probabilities[0, 1], probabilities[0, 4] = 0.41, 0.41001
    assert confidently_held(labelled(labels, probabilities, np.arange(40)))[0] == 4
    assert suspects(labelled(labels, probabilities, np.arange(40)), NAMES) == []
