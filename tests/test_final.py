"""`lesionlab train`: a finished run's recipe on all of its lesions, with what the run has chosen and measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import lesionlab_here
from lesionlab.data.images import read_image
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.model import load_model
from lesionlab.model.safe_load import load_network


@pytest.fixture(scope="module")
def trained(finished: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("final") / "run"
    shutil.copytree(finished[0], run)
    done = lesionlab_here("train", run)
    assert done.returncode == 0, done.stderr
    assert "final.onnx written. Research software" in done.stdout
    return run


def test_the_file_holds_the_runs_decision_and_card(trained: Path) -> None:
    facts = open_bundle(trained / "final.onnx").facts
    decision = json.loads((trained / "metrics.json").read_text())["decision"]
    assert (
        facts.decision | {"patient": decision["patient"]} == decision
        and facts.to_json()["thresholds"] == decision["thresholds"]
    )
    assert (trained / "card.md").read_text() in facts.card and "trained by the recipe" in facts.card
    assert "all of them" in facts.training_data
    is_training = pd.read_csv(trained / "splits.csv")["part"] == "train"
    assert len(pd.read_csv(trained / "final-history.csv")) == round(3 * is_training.mean()) < 3  # as many steps
    assert not (trained / "final-checkpoint.npz").exists()


def test_it_is_another_network_than_the_runs_and_equals_its_keras_file(trained: Path, phantoms: Path) -> None:
    paths = [Path(path) for path in read_collection(phantoms).table["path"][:20]]
    final, own = (load_model(trained / name).predict(paths).probabilities for name in ("final.onnx", "model.onnx"))
    assert np.abs(final - own).max() > 1e-3
    network = load_network(trained / "final.keras")
    pixels = np.stack([read_image(path, 24, 24, "centre") for path in paths]).astype(np.float32)
    np.testing.assert_allclose(np.asarray(network.predict_on_batch(pixels)), final, atol=1e-4)


def test_it_is_exported_in_other_formats(trained: Path, phantoms: Path, tmp_path: Path) -> None:
    paths = [Path(path) for path in read_collection(phantoms).table["path"][:20]]
    expected = load_model(trained / "final.onnx").predict(paths).probabilities
    done = lesionlab_here("export", trained, "--final", "--format", "onnx-int8", "--allowed-loss", 50)
    assert done.returncode == 0, done.stderr
    assert "final-int8.onnx written" in done.stdout and "validation images, trained on as well:" in done.stdout
    facts = open_bundle(trained / "final-int8.onnx").facts
    assert "all of them" in facts.training_data and "trained by the recipe" in facts.card
    assert np.abs(load_model(trained / "final-int8.onnx").predict(paths).probabilities - expected).mean() < 0.1
    done = lesionlab_here("export", trained, "--final", "--out", tmp_path / "mine.onnx")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(load_model(tmp_path / "mine.onnx").predict(paths).probabilities, expected, atol=1e-6)


def test_there_is_no_final_network_before_it_is_trained(finished: tuple[Path, str]) -> None:
    done = lesionlab_here("export", finished[0], "--final")
    assert done.returncode == 2 and f"make it first, by lesionlab train {finished[0]}" in done.stderr
    done = lesionlab_here("export", finished[0], "--final", "--format", "web")
    assert done.returncode == 2 and "give RUN/final.onnx in place of RUN" in done.stderr


def test_the_same_again(trained: Path) -> None:
    before = load_network(trained / "final.keras").get_weights()
    assert lesionlab_here("train", trained).returncode == 0
    for a, b in zip(before, load_network(trained / "final.keras").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_no_finished_run(tmp_path: Path, trained: Path) -> None:
    done = lesionlab_here("train", tmp_path)
    assert done.returncode == 2 and "is no run directory" in done.stderr
    manifest = json.loads((trained / "manifest.json").read_text())
    moved = tmp_path / "run"
    shutil.copytree(trained, moved)
    manifest["data"]["folder"] = str(tmp_path / "nowhere")
    (moved / "manifest.json").write_text(json.dumps(manifest))
    done = lesionlab_here("train", moved)
    assert done.returncode == 1 and "nowhere does not exist. Put them back." in done.stderr


def test_it_is_not_trained_on_other_images_than_the_run(trained: Path, phantoms: Path, tmp_path: Path) -> None:
    run, data = Path(shutil.copytree(trained, tmp_path / "run")), Path(shutil.copytree(phantoms, tmp_path / "data"))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["data"]["folder"] = str(data)
    (run / "manifest.json").write_text(json.dumps(manifest))
    before = (run / "final.keras").read_bytes()
    first, second = (next(data.rglob(f"{name}.jpg")) for name in pd.read_csv(run / "splits.csv")["image_id"][:2])
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    done = lesionlab_here("train", run)
    assert done.returncode == 1 and f"The images in {data} have changed since the run in" in done.stderr
    first.write_bytes(kept[:100])
    done = lesionlab_here("train", run)
    assert done.returncode == 1 and f"1 images of the run cannot be read any more ({first.stem}: " in done.stderr
    first.unlink()
    done = lesionlab_here("train", run)
    assert done.returncode == 1 and f"({first.stem}" in done.stderr and (run / "final.keras").read_bytes() == before
