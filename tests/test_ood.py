"""What is no dermatoscopic image: the score, its file, and what `predict` says."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.spatial.distance import mahalanobis

import tiny_onnx
from lesionlab.cli import main
from lesionlab.data.images import read_image
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.evaluation import ood
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.model import load_model
from lesionlab.model.export import ood_score

SIZE = tiny_onnx.HEIGHT, tiny_onnx.WIDTH


@pytest.fixture(scope="module")
def lesions(phantoms: Path) -> np.ndarray:
    paths = read_collection(phantoms).table["path"]
    return np.stack([read_image(Path(path), *SIZE, "centre") for path in paths])


@pytest.fixture(scope="module")
def strange() -> np.ndarray:
    rng = np.random.default_rng(2)
    noise = rng.integers(0, 256, (10, *SIZE, 3), dtype=np.uint8)
    stripes = np.tile(
        np.array([0, 255], np.uint8)[np.arange(SIZE[1]) // 4 % 2][None, None, :, None], (1, SIZE[0], 1, 3)
    )
    black, blue = np.zeros((1, *SIZE, 3), np.uint8), np.full((1, *SIZE, 3), (20, 40, 220), np.uint8)
    return np.concatenate([noise, stripes, black, blue])


@pytest.fixture(scope="module")
def scored(lesions: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ood.OodScore]:
    path = tiny_onnx.write(tmp_path_factory.mktemp("ood") / "m.onnx")
    model = onnx.load(path)  # the tiny model keeps its features to itself
    model.graph.output.append(onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["n", 3]))
    onnx.save(model, path)
    score = ood_score.add_ood_score(path, lesions, np.arange(80), np.arange(80, 163))
    assert score is not None
    return path, score


def test_the_distance_is_mahalanobis_where_all_axes_are_kept() -> None:
    values = np.random.default_rng(0).normal(size=(400, 3)) @ np.array([[2, 0.5, 0], [0, 1, 0.3], [0, 0, 0.5]])
    look = ood._fit(values, 3)
    inverse = np.linalg.inv(np.cov(values, rowvar=False, bias=True))
    expected = [mahalanobis(row, values.mean(axis=0), inverse) ** 2 for row in values[:50]]
    np.testing.assert_allclose(ood._squared_distance(look, values[:50]), expected, rtol=0.02)


def test_a_strange_look_alone_is_enough() -> None:
    rng = np.random.default_rng(0)
    training, reference = (
        {"thumbnail": rng.normal(size=(n, 40)), "texture": rng.normal(size=(n, 3))} for n in (300, 500)
    )
    model = ood.fit_ood_score(training, reference)
    assert model.images == 500 and model.refused_share <= ood.REFUSED
    fresh = {"thumbnail": rng.normal(size=(5000, 40)), "texture": rng.normal(size=(5000, 3))}
    assert (ood.ood_scores(model, fresh) > model.threshold).mean() < 0.05
    assert (ood.ood_scores(model, fresh | {"texture": fresh["texture"] + 9}) > model.threshold).mean() > 0.99
    assert (ood.ood_scores(model, fresh | {"thumbnail": fresh["thumbnail"] * 4}) > model.threshold).mean() > 0.99


def test_a_small_set_beside_a_large_one_is_rejected_no_more_than_it() -> None:
    """The last 60 of 1,060 images are another camera's: pooled, nearly all that is rejected would be theirs."""
    rng = np.random.default_rng(0)
    training, reference = ({"texture": rng.normal(size=(n, 3))} for n in (1000, 1060))
    reference["texture"][1000:] *= 1.7
    origin = np.repeat([0, 1], [1000, 60])
    pooled, apart = ood.fit_ood_score(training, reference), ood.fit_ood_score(training, reference, origin)
    other = {"texture": reference["texture"][1000:]}
    assert (ood.ood_scores(pooled, other) > pooled.threshold).mean() > 0.05
    assert (ood.ood_scores(apart, other) > apart.threshold).mean() <= ood.REFUSED and apart.images == 1060
    assert apart.refused_share < pooled.refused_share <= ood.REFUSED
    few = np.repeat([0, 1], [1020, 40])  # too few to say
    assert ood.fit_ood_score(training, reference, few).threshold <= apart.threshold


def test_the_file_scores_as_numpy_does(scored, lesions: np.ndarray, strange: np.ndarray) -> None:
    path, score = scored
    bundle = open_bundle(path)
    assert bundle.has_ood_score and bundle.facts.ood.threshold == score.threshold
    assert bundle.facts.ood.score == "Mahalanobis distances of features, middle, thumbnail, texture"
    pixels = np.concatenate([lesions, strange])
    features, found = bundle.session.run(["features", "ood_score"], {"image": pixels})
    cells = pixels.reshape(len(pixels), SIZE[0] // 8, 8, SIZE[1] // 8, 8, 3).mean(axis=(2, 4)) / 255  # all that it sees
    middle = np.concatenate([cells.mean(axis=(1, 2)), np.log(cells.std(axis=(1, 2)) + 1e-3)], axis=1)
    expected = ood.ood_scores(score, {"features": features, "middle": middle} | ood.see_image(pixels))
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.01)
    assert found[len(lesions) :].min() > score.threshold
    assert (found[: len(lesions)] > score.threshold).mean() <= 0.05
    assert {node.domain for node in onnx.load(path).graph.node} == {""}


def test_predict_refuses(scored, lesions: np.ndarray, strange: np.ndarray) -> None:
    model = load_model(scored[0])
    for prediction in model.predict(list(strange)):
        assert prediction.is_dermatoscopic is False and prediction.decision == "not dermatoscopic"
        assert prediction.ood_score > model.facts.ood.threshold
    kept = [item for item in model.predict(list(lesions)) if item.is_dermatoscopic]
    assert len(kept) >= 0.95 * len(lesions) and {item.decision for item in kept} <= {"malignant", "benign", "uncertain"}


def test_predict_says_so(scored, strange: np.ndarray, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    Image.fromarray(strange[0]).save(tmp_path / "noise.png")
    assert main(["predict", str(tmp_path / "noise.png"), "--model", str(scored[0]), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["is_dermatoscopic"] is False and said["ood_score"] > 1 and said["decision"] == "not dermatoscopic"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["predict", str(tmp_path / "noise.png"), "--model", str(scored[0])]) == 0
    assert "does not look dermatoscopic (score" in capsys.readouterr().out


def test_a_file_without_a_score_predicts_as_before(lesions: np.ndarray, tmp_path: Path) -> None:
    facts = tiny_onnx.facts()
    del facts["ood"]
    (prediction,) = load_model(tiny_onnx.write(tmp_path / "old.onnx", facts)).predict(lesions[0])
    assert prediction.ood_score is None and prediction.is_dermatoscopic is None
    assert prediction.decision in ("malignant", "benign", "uncertain")


def test_too_few_images_promise_nothing(lesions: np.ndarray, tmp_path: Path) -> None:
    path = tiny_onnx.write(tmp_path / "m.onnx")
    before = path.read_bytes()
    assert ood_score.add_ood_score(path, lesions, np.arange(60), np.arange(60, 100)) is None
    assert (
        path.read_bytes() == before
        and "needs 50 training images and as many validation images" in ood_score.in_words(None)
    )


def test_the_answers_stay_as_they_were(scored, lesions: np.ndarray, tmp_path: Path) -> None:
    before, after = load_model(tiny_onnx.write(tmp_path / "m.onnx")), load_model(scored[0])
    np.testing.assert_array_equal(
        before.predict(list(lesions)).probabilities, after.predict(list(lesions)).probabilities
    )
