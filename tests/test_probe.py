"""`lesionlab probe`: a linear head on a model's features as a whole run, without Keras."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tiny_onnx
from conftest import MakeOnce, lesionlab_here
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.model import load_model
from lesionlab.model.linear_head import fit_linear_head
from lesionlab.model.nearest_head import NUMBERS, fit_nearest
from lesionlab.runs.directory import open_run

PROBE = """
import sys
from lesionlab.cli import main
code = main(sys.argv[1:])
heavy = {"keras", "tensorflow", "jax", "torch"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else code)
"""


@pytest.fixture(scope="module")
def probed(phantoms: Path, tiny: Path, make_once: MakeOnce, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished probe of the tiny model on generated lesions, made in a process of its own."""

    def fit(folder: Path) -> None:
        command = [sys.executable, "-c", PROBE, "probe", "--data", phantoms, "--model", tiny, "--out", folder / "probe"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=580)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr

    out = tmp_path_factory.mktemp("probe") / "probe"
    shutil.copytree(make_once("probed", fit) / "probe", out)
    return out


@pytest.mark.slow
def test_a_probe_is_a_whole_run(probed: Path, phantoms: Path, tiny: Path) -> None:
    for name in ("report.html", "card.md", "metrics.json", "splits.csv", "predictions.csv", "model.onnx"):
        assert (probed / name).stat().st_size > 0, name
    run = open_run(probed)
    assert run.manifest.finished and run.manifest.split.proof.is_leaking is False
    assert run.metrics().test.images == run.manifest.split.parts["test"].images
    assert (run.manifest.export.largest_difference or 1) < 1e-4
    page = (probed / "report.html").read_text(encoding="utf-8")
    assert "nearest training images instead" in page and 0 < run.metrics().stages["neighbours"].balanced_accuracy <= 1
    assert "strengths of L2" in page and "model.keras" not in page.split("checklists")[0]
    again = lesionlab_here("probe", "--data", phantoms, "--model", tiny, "--out", probed)
    assert again.returncode == 0 and "Nothing was done again" in again.stdout


@pytest.mark.slow
def test_its_model_file_predicts_what_the_run_did(probed: Path, phantoms: Path, tiny: Path) -> None:
    run = open_run(probed)
    predictions = run.predictions().set_index("image")
    model = load_model(probed)
    assert "features were trained on" in model.facts.training_data
    made = model.predict(phantoms)
    written = predictions.loc[[item.image for item in made], list(model.facts.taxonomy.columns)].to_numpy(float)
    np.testing.assert_allclose(made.probabilities, written, atol=1e-4)
    pixels = np.random.default_rng(0).integers(0, 256, (3, tiny_onnx.HEIGHT, tiny_onnx.WIDTH, 3), np.uint8)
    before, after = (
        open_bundle(path).with_features().run(["probabilities", "features"], pixels) for path in (tiny, probed)
    )
    np.testing.assert_array_equal(before["features"], after["features"])
    assert np.abs(before["probabilities"] - after["probabilities"]).max() > 0.01


def test_a_probe_needs_a_model_with_features_and_onnx(phantoms: Path, tiny: Path, tmp_path: Path, monkeypatch) -> None:
    done = lesionlab_here("probe", "--data", phantoms, "--model", tmp_path / "none.onnx", "--out", tmp_path / "run")
    assert done.returncode == 2 and "There is no model file" in done.stderr
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = lesionlab_here("probe", "--data", phantoms, "--model", tiny, "--out", tmp_path / "run")
    assert done.returncode == 2 and "needs onnx, which is not installed: pip install 'lesionlab[adapt]'" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("labels", [(0, 1, 2), (0, 2)])
def test_a_linear_head_is_the_logistic_regression_of_its_strength(labels: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    truth = random.choice(labels, 200)
    features = (random.normal(size=(200, 5)) * [1, 10, 0.1, 1, 0] + truth[:, None] * [0, 8, 0, 1, 0] + 3).astype(
        np.float32
    )
    halves = (features[:120], truth[:120]), (features[120:], truth[120:])
    head = fit_linear_head(*halves, 4)
    assert [strength.val_loss for strength in head.tried].index(min(s.val_loss for s in head.tried)) == [
        strength.l2 for strength in head.tried
    ].index(head.l2)
    found = head.probabilities(features[120:])
    np.testing.assert_allclose(found.sum(axis=1), 1)
    absent = sorted({0, 1, 2, 3} - set(labels))
    assert found[:, absent].max() < 1e-4 and found.shape == (80, 4)
    from sklearn.linear_model import LogisticRegression

    standard = (features - features[:120].mean(axis=0)) / np.where(
        features[:120].std(axis=0) > 0, features[:120].std(axis=0), 1
    )
    expected = LogisticRegression(C=1 / (head.l2 * 120), tol=1e-8, max_iter=10_000).fit(standard[:120], truth[:120])
    np.testing.assert_allclose(found[:, list(labels)], expected.predict_proba(standard[120:]), atol=5e-3)


def test_the_nearest_training_images_vote() -> None:
    """As scikit-learn's classifier by cosine, of as many neighbours, where all that vote are equally near."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 400)
    features = (random.normal(size=(400, 6)) + 3 * np.eye(6)[truth]).astype(np.float32)
    training, validation = (features[:200], truth[:200]), (features[200:300], truth[200:300])
    head = fit_nearest(training, validation, 4)
    found = head.probabilities(features[300:] * 7)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found[:, 3].max() == 0 and head.number in NUMBERS
    from sklearn.neighbors import KNeighborsClassifier

    sharp = {"weights": lambda distance: np.exp(-distance / 0.07), "metric": "cosine"}
    other = KNeighborsClassifier(head.number, **sharp).fit(*training).predict_proba(features[300:])
    mix = np.bincount(truth[:200], minlength=3) / 200
    np.testing.assert_allclose(found[:, :3], (other * head.number + mix) / (head.number + 1), atol=1e-4)
