"""Statistics and figures of other sets of diagnoses than HAM10000's seven: two, eleven, none malignant, all, no focus."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from labelled import labelled, taxonomy_of
from lesionlab.data.explore import Explored
from lesionlab.errors import UsageError
from lesionlab.evaluation import conformal
from lesionlab.evaluation.compare import compare
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.measure import ModelChoices, Parts, headline_in_words, measure, recalibrated
from lesionlab.evaluation.metrics_file import Metrics, read_metrics
from lesionlab.evaluation.robustness import LabelledImages, robustness
from lesionlab.evaluation.tasks import positive_of_two, tasks_of
from lesionlab.evaluation.values import ChosenThreshold
from lesionlab.model.decision_rule import DecisionChoice, apply_decision, choose_decision, choose_thresholds
from lesionlab.report.figures import write_run_figures
from lesionlab.report.figures_data import write_data_figures
from lesionlab.report.style import colours_of
from lesionlab.taxonomy import HAM10000, Taxonomy

OLD = Path(__file__).parent / "data" / "run-8c5b32e"
TWO = taxonomy_of("benign", "mel", malignant=("mel",), focus="mel")
ELEVEN = taxonomy_of(*(f"d{number}" for number in range(11)), malignant=("d0", "d3"), focus="d3")
BENIGN = taxonomy_of("a", "b", "c")
ALL_MALIGNANT = taxonomy_of("a", "b", "c", malignant=("a", "b", "c"), focus="b")


def drawn(taxonomy: Taxonomy, n: int, seed: int, counts: dict[int, int] | None = None) -> LabelledPredictions:
    """Predictions of a network that is right in most cases; of some diagnoses as many images as `counts` says."""
    rng, k = np.random.default_rng(seed), len(taxonomy)
    labels = rng.integers(0, k, n)
    for index, number in (counts or {}).items():
        others = np.flatnonzero(labels == index)[number:]
        labels[others] = (index + 1) % k
    weighed = np.exp(rng.normal(size=(n, k)) + 2 * np.eye(k)[labels])
    return labelled(labels, weighed / weighed.sum(axis=1, keepdims=True), np.arange(n) // 2, taxonomy)


def measured(test: LabelledPredictions, validation: LabelledPredictions | None) -> Metrics:
    names = [f"i{number}" for number in range(len(test))]
    sexes = np.where(np.arange(len(test)) % 4 < 2, "female", "male")
    table = pd.DataFrame({"image_id": names, "sex": sexes, "dx_type": "histo"})
    promise = None if validation is None else conformal.calibrate(validation)
    model = ModelChoices(
        0.4, 0.8, [ChosenThreshold(task="malignant", wanted="sensitivity", at_least=0.9, threshold=0.3)]
    )
    stages = recalibrated(test, validation, seed=0)
    return measure(
        Parts(table, test, validation), stages, promise=promise, is_generated=True, seed=0, model=model,
        costs=1 - np.eye(len(test.taxonomy)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def of_two() -> Metrics:
    return measured(drawn(TWO, 200, 0), drawn(TWO, 200, 1))


@pytest.fixture(scope="module")
def of_eleven() -> Metrics:
    return measured(drawn(ELEVEN, 500, 0, {7: 5}), drawn(ELEVEN, 500, 1, {7: 5}))


def test_of_two_diagnoses_one_is_asked_for(of_two: Metrics) -> None:
    test = drawn(TWO, 200, 0)
    assert list(of_two.curves.roc) == list(of_two.curves.precision_recall) == ["mel"]
    assert list(of_two.operating_points) == list(of_two.decision_curves) == ["malignant"]
    area = sk.roc_auc_score(test.labels == 1, test.probabilities[:, 1])
    assert of_two.operating_points["malignant"].auc == pytest.approx(area)
    assert of_two.test.macro_auc == pytest.approx(area) and of_two.test.per_class["mel"].auc == pytest.approx(area)
    words = " ".join(headline_in_words(of_two))
    assert "balanced accuracy at 0.5" in words and "accuracy at 0.5" in words and "macro" not in words
    assert "at 0.5" not in " ".join(headline_in_words(read_metrics(json.loads((OLD / "metrics.json").read_text()))))


@pytest.mark.parametrize(
    ("taxonomy", "tasks", "positive"),
    [
        (TWO, {"malignant": ("mel",)}, "mel"),
        (taxonomy_of("a", "b"), {"b lesion": ("b",)}, "b"),
        (taxonomy_of("a", "b", focus="a"), {"a lesion": ("a",)}, "a"),
        (ELEVEN, {"malignant": ("d0", "d3"), "d3 lesion": ("d3",)}, None),
        (BENIGN, {}, None),
        (ALL_MALIGNANT, {"b lesion": ("b",)}, None),
        (HAM10000, {"malignant": ("mel", "bcc", "akiec"), "melanoma": ("mel",)}, None),
    ],
)
def test_tasks(taxonomy: Taxonomy, tasks: dict, positive: str | None) -> None:
    assert tasks_of(taxonomy) == tasks and positive_of_two(taxonomy) == positive


def test_of_eleven_with_five_images_of_one_what_cannot_be_had_is_said_with_its_support(of_eleven: Metrics) -> None:
    row = of_eleven.test.per_class["d7"]
    assert row.images == 5 and row.lesions <= 5 and 0 <= row.sensitivity <= 1
    low, high = row.sensitivity_interval
    assert high - low > 0.3 and row.intervals["average_precision"] is None
    sets = of_eleven.conformal.per_class["d7"]
    assert not sets.is_promised and sets.calibrated_on <= 5
    assert of_eleven.conformal.per_class["d1"].is_promised
    assert of_eleven.conformal.mean_size < 8  # the others are not all in every set for it
    assert len(of_eleven.test.confusion) == 11 and of_eleven.diagnoses == list(ELEVEN.dx)
    absent = measured(drawn(ELEVEN, 300, 0, {7: 0}), None)
    assert absent.test.per_class["d7"].images == 0 and absent.test.per_class["d7"].sensitivity is None
    assert absent.conformal is None and absent.conformal_repeated["aps"].per_class["d7"].coverage is None


@pytest.mark.parametrize("taxonomy", [BENIGN, ALL_MALIGNANT])
def test_without_both_kinds_nothing_is_said_of_malignant(taxonomy: Taxonomy) -> None:
    part = drawn(taxonomy, 200, 0)
    found = measured(part, drawn(taxonomy, 200, 1))
    assert "malignant" not in found.operating_points and found.model_thresholds == []
    assert all(row.malignant_referred is None for row in found.abstention)
    assert all(row.malignant == 0 and row.malignant_found is None for row in found.subgroups) and found.subgroups
    assert set(choose_thresholds(part)) == {"uncertainty"}
    compared = compare(part, drawn(taxonomy, 200, 0))
    assert np.isnan(compared.malignant_auc.first) and np.isnan(compared.delong_p)
    assert compared.figures["accuracy"].difference == 0


def test_without_a_focus_there_are_no_figures_of_one() -> None:
    found = measured(drawn(BENIGN, 200, 0), None)
    assert found.focus is None and found.test.focus_at_90 is None and "focus_at_90" not in found.test.intervals
    assert found.test.calibration.ece_focus is None and list(found.test.calibration.by_chance) == ["ece"]
    focused = measured(drawn(ALL_MALIGNANT, 200, 0), None)
    assert focused.test.focus_at_90 is not None
    assert focused.test.calibration.ece_focus == focused.test.calibration.per_class["b"].ece


@pytest.mark.parametrize("taxonomy", [TWO, ELEVEN])
def test_a_decision_is_chosen_for_any_number(taxonomy: Taxonomy) -> None:
    part, choice = drawn(taxonomy, 300, 2), DecisionChoice("prior-corrected", "vector")
    decision = choose_decision(choice, part.labels, part.probabilities, part.labels)
    assert len(decision.log_shift) == len(decision.scale) == len(taxonomy)
    np.testing.assert_allclose(apply_decision(part.probabilities, decision).sum(axis=1), 1)


def test_a_rule_that_moves_nothing_is_not_chosen() -> None:
    """One diagnosis alone has images enough to say how far to move the others: all move alike, by any exponent."""
    for seed in range(60):
        part = drawn(ELEVEN, 20, seed)
        labels = np.repeat([0, 1, 2, 3], [14, 2, 2, 2])
        decision = choose_decision(
            DecisionChoice("prior-corrected", "none"), labels, part.probabilities, np.repeat(labels, 5)
        )
        assert decision.exponent == 0.0 and not any(decision.log_shift), seed


@pytest.mark.parametrize("taxonomy", [TWO, BENIGN])
def test_robustness_of_any_function_from_pixels_to_probabilities(taxonomy: Taxonomy) -> None:
    k, rng = len(taxonomy), np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8), np.arange(12) % k

    def predict(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = pixels.mean(axis=(1, 2))[:, :k] / 4
        weighed = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weighed / weighed.sum(axis=1, keepdims=True), pixels.mean(axis=(1, 2, 3))

    given = LabelledImages([str(n) for n in range(12)], labels, np.arange(12), taxonomy, lambda number: images[number])
    found = robustness(predict, given, reject_above=1000.0, seed=0)
    assert found.clean.rejected == 0 and found.counts == {dx: 12 // k for dx in taxonomy.dx}
    assert (found.clean.sensitivity is None) is (taxonomy is BENIGN)
    assert found.mean.changed > 0 and (found.mean.specificity_drop is None) is (taxonomy is BENIGN)


def test_metrics_are_read_back_as_they_were_written(of_two: Metrics, of_eleven: Metrics) -> None:
    for metrics in (of_two, of_eleven):
        assert read_metrics(json.loads(json.dumps(msgspec.to_builtins(metrics), allow_nan=False))) == metrics


def test_predictions_that_do_not_fit_are_refused() -> None:
    good = drawn(TWO, 6, 0)
    with pytest.raises(UsageError, match=r"6 labels of the 2 diagnoses of made-up need probabilities \(6, 2\)"):
        LabelledPredictions(good.labels, np.full((6, 3), 1 / 3), good.lesions, TWO)
    with pytest.raises(UsageError, match=r"\(6, 2\) and 5\."):
        LabelledPredictions(good.labels, good.probabilities, good.lesions[:5], TWO)
    with pytest.raises(UsageError, match="Labels of made-up are 0 to 1; given are 0 to 2"):
        LabelledPredictions(np.array([0, 1, 2, 0, 1, 1]), good.probabilities, good.lesions, TWO)
    other = drawn(TWO, 6, 1)
    with pytest.raises(UsageError, match="of other images, or in another order"):
        compare(good, labelled(1 - good.labels, other.probabilities, other.lesions, TWO))
    with pytest.raises(UsageError, match="know other diagnoses"):
        compare(good, drawn(BENIGN, 6, 1))


def test_every_diagnosis_has_a_colour_of_its_own() -> None:
    for number in (2, 7, 11, 40):
        colours = colours_of(taxonomy_of(*(f"d{n}" for n in range(number)))).values()
        assert len({tuple(colour) if not isinstance(colour, str) else colour for colour in colours}) == number
    assert colours_of(HAM10000)["mel"] == "#D55E00" and colours_of(HAM10000)["vasc"] == "#7A5195"


@pytest.mark.parametrize("name", ["of_two", "of_eleven"])
@pytest.mark.slow
def test_figures_are_drawn(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    metrics, taxonomy = request.getfixturevalue(name), TWO if name == "of_two" else ELEVEN
    part, k = drawn(taxonomy, len(metrics.suspects) + 60, 3), len(taxonomy)
    names = [f"i{number}" for number in range(len(part))]
    predictions = pd.DataFrame(part.probabilities, columns=list(taxonomy.columns)).assign(
        image=names, part=["train", "validation", "test"] * (len(part) // 3) + ["test"] * (len(part) % 3),
        truth=np.array(taxonomy.dx)[part.labels], predicted=np.array(taxonomy.dx)[part.predicted],
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (len(part), 24, 32, 3), dtype=np.uint8)
    table = pd.DataFrame({"image_id": names, "row": range(len(part)), "dx": predictions["truth"], "lesion_id": names})
    history = pd.DataFrame(
        dict.fromkeys(("epoch", "loss", "val_loss", "accuracy", "val_accuracy", "val_balanced_accuracy"), [1.0, 0.5])
        | {"learning_rate": [0.1, 0.1]}
    )
    write_run_figures(tmp_path, metrics, taxonomy, history, predictions, pixels, table)
    drawn_files = {path.name for path in tmp_path.glob("*.svg")}
    assert {"confusion.svg", "roc.svg", "reliability.svg", "operating.svg", "split.svg"} <= drawn_files
    counts = dict.fromkeys(taxonomy.dx, 3)
    explored = {
        "images": 3 * k, "lesions": 3 * k,
        "by_diagnosis": {dx: {"images": 3, "lesions": 3, "share": 1 / k} for dx in taxonomy.dx},
        "age_years": dict.fromkeys(taxonomy.dx, [1, 2, 3, 4, 5]), "images_per_lesion": {"1": 3 * k},
        "missing": {"age": {"share": 0.1, "images": 1}}, "mean_colour": dict.fromkeys(taxonomy.dx, [200, 150, 100]),
        "by_column": {name: {"x": counts} for name in ("sex", "localization", "dataset", "dx_type")},
    }  # fmt: skip
    means = dict.fromkeys(taxonomy.dx, pixels[0].astype(float))
    write_data_figures(table, taxonomy, pixels, msgspec.convert(explored, Explored), means, tmp_path, is_generated=True)
    assert (tmp_path / "eda-mean-images.jpg").stat().st_size and (tmp_path / "eda-samples.jpg").stat().st_size


def test_metrics_of_an_older_run_are_read_under_todays_keys() -> None:
    """Written by commit 8c5b32e: the same figures, found under other names."""
    old = json.loads((OLD / "metrics.json").read_text(encoding="utf-8"))
    found = read_metrics(old)
    for part in ("train", "validation", "test"):
        mine = getattr(found, part)
        for name in ("balanced_accuracy", "macro_auc", "accuracy", "log_loss", "confusion", "majority_accuracy"):
            assert getattr(mine, name) == old[part][name]
        for dx in HAM10000.dx:
            row = old[part]["per_class"][dx]
            assert (mine.per_class[dx].sensitivity, mine.per_class[dx].ppv) == (row["recall"], row["precision"])
            assert mine.per_class[dx].intervals["ppv"] == row["intervals"]["precision"]
    assert found.test.focus_at_90 == old["test"]["mel_at_90"] and found.focus == "mel"
    assert found.test.calibration.ece_focus == old["test"]["calibration"]["ece_mel"]
    assert found.chosen_on == old["lines"] == "validation" and set(found.stages) < {
        "as_trained",
        "before_rule",
        "temperature",
        "vector",
    }
    assert found.stages["as_trained"].log_loss == old["test_as_trained"]["log_loss"]
    assert found.decision.thresholds == old["decision"]["thresholds"]
    assert found.operating_points["melanoma"].auc == old["operating"]["melanoma"]["auc"]
    assert msgspec.to_builtins(found.conformal) == old["conformal"]
    assert found == read_metrics(msgspec.to_builtins(found))
