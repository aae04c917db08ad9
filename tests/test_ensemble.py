"""`lesionlab ensemble`: finished runs on one split joined into a network whose logits are the mean of theirs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import lesionlab_here, write_blank
from lesionlab.data.images import read_image
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.errors import UsageError
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.model import load_model
from lesionlab.lifecycle.ensemble import ensemble
from lesionlab.model.safe_load import load_network
from lesionlab.recipe import read_recipe


@pytest.fixture(scope="module")
def members(
    finished: tuple[Path, str], recipe: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """The shared run, and one of another seed on the same split."""
    folder = tmp_path_factory.mktemp("members")
    shutil.copytree(finished[0], folder / "a")
    options = ("--seed", 5, "--split", folder / "a" / "splits.csv", "--epochs", 2, "--out", folder / "b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", write_blank)
        done = lesionlab_here("run", "--data", phantoms, "--recipe", recipe, *options)
    assert done.returncode == 0, done.stderr
    return [folder / "a", folder / "b"]


@pytest.fixture(scope="module")
def joined(members: list[Path]) -> Path:
    out = members[0].parent / "both"
    done = lesionlab_here("ensemble", *members, "--out", out, "--name", "two")
    assert done.returncode == 0, done.stderr
    assert "of the runs a, b" in done.stdout and "Research software" in done.stdout
    return out


def before_decision(run: Path, pixels: np.ndarray) -> np.ndarray:
    """Logits, but for a constant a row, of a run's network without its temperature and decision rule."""
    from lesionlab.model.backend import keras

    network = load_network(run / "model.keras")
    inner = keras.Model(network.inputs, network.get_layer("probabilities").output)
    decision = json.loads((run / "metrics.json").read_text())["decision"]
    logits = np.log(np.asarray(inner.predict_on_batch(pixels.astype(np.float32)))) * decision["temperature"]
    return logits - logits.mean(axis=1, keepdims=True)


def test_the_logits_are_the_mean_of_the_members(joined: Path, members: list[Path], phantoms: Path) -> None:
    paths = [Path(path) for path in read_collection(phantoms).table["path"][:12]]
    pixels = np.stack([read_image(path, 24, 24, "centre") for path in paths])
    mean = np.mean([before_decision(member, pixels) for member in members], axis=0)
    np.testing.assert_allclose(before_decision(joined, pixels), mean, atol=0.02)  # weights are rounded to 8 bits
    assert np.abs(before_decision(members[0], pixels) - mean).max() > 0.1


def test_the_run_directory_is_whole(joined: Path, members: list[Path]) -> None:
    metrics, manifest = (json.loads((joined / name).read_text()) for name in ("metrics.json", "manifest.json"))
    assert manifest["finished"] and manifest["model"]["architecture"] == "small-cnn + small-cnn"
    assert (
        manifest["split"]["proof"] and (joined / "splits.csv").read_bytes() == (members[0] / "splits.csv").read_bytes()
    )
    predictions = pd.read_csv(joined / "predictions.csv")
    test = predictions[predictions["part"] == "test"]
    assert metrics["test"]["accuracy"] == pytest.approx((test["truth"] == test["predicted"]).mean())
    assert len(pd.read_csv(joined / "history.csv")) == 5
    assert "of all members together" in (joined / "report.html").read_text()
    assert read_recipe(str(joined / "recipe.toml")).name == "two"


def test_the_file_equals_keras_and_is_a_fraction_as_large(joined: Path, members: list[Path], phantoms: Path) -> None:
    paths = [Path(path) for path in read_collection(phantoms).table["path"][:20]]
    model = load_model(joined / "model.onnx")
    predicted = model.predict(paths, explain=True)
    pixels = np.stack([read_image(path, 24, 24, "centre") for path in paths]).astype(np.float32)
    network = load_network(joined / "model.keras")
    np.testing.assert_allclose(np.asarray(network.predict_on_batch(pixels)), predicted.probabilities, atol=1e-4)
    assert predicted[0].activation_maps is not None and model.facts.name == "two"
    both = sum((member / "model.onnx").stat().st_size for member in members)
    assert (joined / "model.onnx").stat().st_size < 0.6 * both


def test_the_same_again_is_not_done_again(joined: Path, members: list[Path]) -> None:
    before = (joined / "manifest.json").read_bytes()
    done = lesionlab_here("ensemble", *members, "--out", joined, "--name", "two")
    assert done.returncode == 0 and "Nothing was done again" in done.stdout
    assert (joined / "manifest.json").read_bytes() == before
    done = lesionlab_here("ensemble", *members, "--out", joined, "--name", "three")
    assert done.returncode == 2 and "holds another run" in done.stderr


def test_trained_on_all_lesions_by_training_the_members(joined: Path, members: list[Path]) -> None:
    done = lesionlab_here("train", joined)
    assert done.returncode == 0, done.stderr
    assert all((member / "final.keras").exists() for member in members)
    facts = open_bundle(joined / "final.onnx").facts
    assert "all of them" in facts.training_data and facts.name == "two"


def test_it_is_tracked_without_epochs_of_its_own(joined: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="needs pip install 'lesionlab[track]'")
    run = Path(shutil.copytree(joined, tmp_path / "run"))
    done = lesionlab_here("track", run, "--to", "tensorboard")
    assert done.returncode == 0 and "tensorboard --logdir" in done.stdout, done.stderr
    assert list((run / "tensorboard").iterdir())


def test_a_run_is_not_joined_with_itself(tmp_path: Path) -> None:
    for same in (tmp_path, tmp_path / ".." / tmp_path.name):
        with pytest.raises(UsageError, match=f"{same} is given twice. An ensemble needs two different runs or more."):
            ensemble([tmp_path, same], tmp_path / "out")


def test_a_member_is_not_written_over(members: list[Path]) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in members[0].iterdir()}
    done = lesionlab_here("ensemble", *members, "--out", members[0], "--again")
    assert done.returncode == 2 and f"{members[0]} is one of the runs to join" in done.stderr
    assert {path.name: path.stat().st_mtime_ns for path in members[0].iterdir()} == before


def test_an_ensemble_among_the_images_is_refused(members: list[Path], phantoms: Path) -> None:
    done = lesionlab_here("ensemble", *members, "--out", phantoms / "two")
    assert done.returncode == 2 and "lies in the data folder" in done.stderr and not (phantoms / "two").exists()


def test_the_weights_that_members_began_with_are_not_wanted(members: list[Path], tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(member, tmp_path / member.name)) for member in members]
    for run in runs:
        recipe = read_recipe(str(run / "recipe.toml")).with_changes("model", weights="/gone/start.weights.h5")
        (run / "recipe.toml").write_text(recipe.to_toml())
    done = lesionlab_here("ensemble", *runs, "--out", tmp_path / "out")
    assert "start.weights.h5" not in done.stderr


def test_runs_that_do_not_fit(joined: Path, members: list[Path], recipe: Path, tmp_path: Path) -> None:
    def refused(*runs: Path) -> str:
        done = lesionlab_here("ensemble", *runs, "--out", tmp_path / "out")
        assert done.returncode == 2 and "Traceback" not in done.stderr and not (tmp_path / "out").exists()
        return done.stderr

    assert "two runs or more" in refused(members[0])
    assert "is no run directory" in refused(members[0], tmp_path)
    said = refused(joined, members[0])
    assert f"{joined} is an ensemble. Give the runs that it was made of: {members[0]} {members[1]}." in said
    other = tmp_path / "split"
    shutil.copytree(members[0], other)
    table = pd.read_csv(other / "splits.csv", dtype=str)
    table["part"] = table["part"].map({"train": "test", "test": "train", "validation": "validation"})
    table.to_csv(other / "splits.csv", index=False)
    assert "has another split" in refused(members[0], other)
    sized = tmp_path / "sized"
    shutil.copytree(members[0], sized)
    (sized / "recipe.toml").rename(tmp_path / "recipe.toml")
    done = lesionlab_here("ensemble", members[0], sized, "--out", tmp_path / "out")
    assert done.returncode == 1 and f"The run in {sized} is damaged: recipe.toml is gone" in done.stderr
    (tmp_path / "recipe.toml").rename(sized / "recipe.toml")
    changed = read_recipe(str(sized / "recipe.toml")).with_changes("image", height=32)
    (sized / "recipe.toml").write_text(changed.to_toml())
    assert "another image size" in refused(members[0], sized)
    manifest = json.loads((sized / "manifest.json").read_text())
    manifest["data"]["fingerprint"] = "0" * 64
    (sized / "manifest.json").write_text(json.dumps(manifest))
    assert "has other images" in refused(members[0], sized)
