"""A student learns from a teacher's answers beside the truth: `loss.teacher` of a recipe."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import lesionlab as api
from conftest import lesionlab_here
from lesionlab.data.images import read_image
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.outputs import see
from lesionlab.lifecycle.prepare import read_data
from lesionlab.lifecycle.teach import as_trained, open_teacher, say_known, taught_labels, views_of
from lesionlab.model.backend import keras
from lesionlab.model.batches import Batches
from lesionlab.recipe import Recipe, read_recipe


def with_teacher(recipe: Path, teacher: object, **changes: object) -> Recipe:
    return read_recipe(str(recipe)).with_changes("loss", teacher=str(teacher), **changes)


def write(recipe: Recipe, folder: Path) -> Path:
    path = folder / "student.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    return path


def trained(recipe: Path, phantoms: Path, out: Path, *options: object) -> SimpleNamespace:
    return lesionlab_here("run", "--data", phantoms, "--recipe", recipe, "--out", out, *options)


@pytest.mark.usefixtures("undrawn")
def test_a_student_learns_from_a_run_and_is_a_run_like_any_other(
    finished: tuple[Path, str], recipe: Path, phantoms: Path, tmp_path: Path
) -> None:
    teacher = finished[0] / "model.onnx"
    student = write(with_teacher(recipe, teacher, teacher_share=0.9), tmp_path)
    done = trained(student, phantoms, tmp_path / "run", "--split", finished[0] / "splits.csv")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "teacher: quick, 8 views of" in done.stdout
    assert "does not say which images it was trained on" in done.stdout  # generated lesions have no ISIC ids
    assert read_recipe(str(tmp_path / "run" / "recipe.toml")).loss.teacher == str(teacher.resolve())
    alone, taught = (pd.read_csv(run / "history.csv")["loss"] for run in (finished[0], tmp_path / "run"))
    assert not np.allclose(alone, taught), "the same seed, data and split: the labels alone differ"
    card = (tmp_path / "run" / "card.md").read_text(encoding="utf-8")
    assert "Labels: 90% of each is what quick makes of the image (SHA-256 " in card
    assert "Labels:" not in (finished[0] / "card.md").read_text(encoding="utf-8")
    joined = lesionlab_here("ensemble", finished[0], tmp_path / "run", "--out", tmp_path / "joined")
    assert joined.returncode == 0, joined.stderr
    assert "Labels: 90% of each is what quick makes of the image" in (tmp_path / "joined" / "card.md").read_text(
        "utf-8"
    )
    again = lesionlab_here("train", tmp_path / "run")
    assert (again.returncode, again.stderr) == (0, ""), again.stderr
    assert "teacher: quick, 8 views of" in again.stdout and (tmp_path / "run" / "final.onnx").exists()


def test_soft_labels_are_the_truth_and_the_mean_over_the_teachers_views(
    finished: tuple[Path, str], recipe: Path, phantoms: Path
) -> None:
    teacher = finished[0] / "model.onnx"
    student = with_teacher(recipe, teacher, teacher_share=0.25)
    collection = read_data(phantoms, None, None)
    rows = np.array([3, 0, 7])
    labels = np.array([collection.taxonomy.index_of[dx] for dx in collection.table["dx"].iloc[rows]])
    bundle = open_teacher(student, collection.taxonomy)
    assert bundle
    soft = taught_labels(bundle, 0.25, collection, rows, labels)
    paths = collection.table["path"].iloc[rows]
    pixels = [read_image(Path(path), 24, 24, bundle.facts.crop) for path in paths]
    views = [
        [np.rot90(image, turn) for image in flipped]
        for turn in range(4)
        for flipped in (pixels, [i[:, ::-1] for i in pixels])
    ]
    answers = np.mean([as_trained(bundle, see(bundle, 3, view.__getitem__, has_maps=False)) for view in views], axis=0)
    np.testing.assert_allclose(soft, 0.75 * np.eye(7)[labels] + 0.25 * answers, atol=1e-6)
    assert soft.dtype == np.float32


def test_a_teacher_answers_as_it_was_trained_without_its_rule(finished: tuple[Path, str], phantoms: Path) -> None:
    """The rule moves answers to rare diagnoses, which a student that draws these more often would be told twice."""
    bundle = open_bundle(finished[0] / "model.onnx")
    images = [
        read_image(Path(path), 24, 24, bundle.facts.crop) for path in read_data(phantoms, None, None).table["path"][:40]
    ]
    seen = see(bundle, len(images), images.__getitem__, has_maps=False)
    network = keras.saving.load_model(finished[0] / "model.keras")
    features = keras.Model(network.input, network.get_layer("probabilities").output)
    np.testing.assert_allclose(as_trained(bundle, seen), features.predict(np.stack(images), verbose=0), atol=1e-4)


@pytest.mark.parametrize(("height", "width", "count"), [(5, 5, 8), (4, 6, 4)])
def test_views_are_all_that_keep_the_shape(height: int, width: int, count: int) -> None:
    image = np.arange(height * width * 3).reshape(height, width, 3)
    seen = {view(image).tobytes() for view in views_of(height, width)}
    assert len(seen) == count
    assert {view(image).shape for view in views_of(height, width)} == {image.shape}


def test_soft_labels_are_mixed_like_one_hot_ones() -> None:
    pixels, labels = np.zeros((8, 4, 4, 3), np.uint8), np.arange(8) % 2
    soft = np.full((8, 2), 0.5, np.float32) + 0.1 * np.eye(2, dtype=np.float32)[labels] - 0.05
    batches = Batches(pixels, np.arange(8), labels, batch_size=8, n_diagnoses=2, soft=soft, mixup=0.4, seed=0)
    given = batches[0][1]
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)
    assert given.min() >= 0.45 - 1e-6
    assert given.max() <= 0.55 + 1e-6


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_between_nothing_and_all(recipe: Path, share: float) -> None:
    with pytest.raises(api.UsageError, match=r"loss\.teacher_share = .* is outside 0 to 1"):
        with_teacher(recipe, "x.onnx", teacher_share=share)


def test_a_teacher_of_other_diagnoses_or_none_is_refused_before_anything_is_read(
    recipe: Path, phantoms: Path, tmp_path: Path
) -> None:
    for teacher, said in (("bundled", "answers in akiec, bcc, ben_oth"), (tmp_path / "no.onnx", "no.onnx")):
        done = trained(recipe, phantoms, tmp_path / "run", "--teacher", teacher)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_the_teachers_own_lesions_in_the_test_part_are_told(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = open_bundle(finished[0] / "model.onnx")
    table = pd.DataFrame({"image_id": [f"ISIC_000000{number}" for number in range(4)], "lesion_id": list("aabc")})
    table = table.assign(part=["train", "test", "test", "test"])
    for ids, said in (
        ("0", "1 of the 3 test images"),
        ("0,3", "2 of the 3 test images"),
        ("7", ""),
        ("", "does not say"),
    ):
        say_known(replace(bundle, facts=replace(bundle.facts, training_ids=ids)), table)
        shown = capsys.readouterr().out
        assert said in shown if said else not shown
