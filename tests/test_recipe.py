import dataclasses
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lesionlab.errors import UsageError
from lesionlab.recipe import Recipe, read_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipe_reads_and_writes_back(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name and recipe.summary
    copy = tmp_path / "copy.toml"
    copy.write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(str(copy)) == recipe


def test_the_notebook_is_kept_exactly() -> None:
    recipe = read_recipe("kaggle-cnn")
    assert (recipe.image.height, recipe.image.width) == (75, 100)
    assert (recipe.optimizer.name, recipe.optimizer.learning_rate) == ("adam", 1e-3)
    assert (recipe.optimizer.batch_size, recipe.optimizer.epochs) == (10, 50)
    plateau = recipe.optimizer
    assert (plateau.plateau_patience, plateau.plateau_factor, plateau.plateau_floor) == (3, 0.5, 1e-5)
    augment = recipe.augment
    assert (augment.flips, augment.rotation_degrees, augment.zoom, augment.shift) == (False, 10, 0.1, 0.1)


@given(
    height=st.integers(16, 1024),
    rate=st.floats(1e-8, 1.0),
    crop=st.sampled_from(["centre", "stretch"]),
    name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\"), max_size=40).filter(
        lambda name: name.strip() and name not in (".", "..")
    ),
    summary=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
@example(height=64, rate=0.1, crop="centre", name="\U0001f52c", summary="\x7f")
def test_any_recipe_round_trips(height: int, rate: float, crop: str, name: str, summary: str, tmp_path_factory) -> None:
    recipe = dataclasses.replace(Recipe(), name=name, summary=summary)
    recipe = recipe.with_changes("image", height=height, crop=crop).with_changes("optimizer", learning_rate=rate)
    path = tmp_path_factory.mktemp("recipe") / "r.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(str(path)) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", r"unknown key nmae \(did you mean 'name'\?\)"),
        ("[optimiser]\nname = 'adam'", r"unknown key optimiser \(did you mean 'optimizer'\?\)"),
        ("[optimizer]\nlearning_rat = 1.0", r"unknown key optimizer\.learning_rat \(did you mean 'learning_rate'\?\)"),
        ("[optimizer]\nname = 'adma'", r"optimizer\.name = 'adma' is not one of adam, adamw \(did you mean 'adam'\?\)"),
        ("[optimizer]\nepochs = '5'", r"optimizer\.epochs must be of type int, not '5'"),
        ("[optimizer]\nepochs = true", r"optimizer\.epochs must be of type int, not True"),
        ("[optimizer]\nepochs = 0", r"optimizer\.epochs = 0 is outside 1 to 10000"),
        ("[augment]\nzoom = nan", r"augment\.zoom = nan is outside 0 to 0\.9"),
        ("epochs = 3", r"unknown key epochs \(it belongs to the section \[optimizer\], as optimizer\.epochs\)"),
        ("[training]\nepochs = 3", r"unknown key training\.epochs \(it belongs to the section \[optimizer\]"),
        ("[split]\nfile = 'a.csv'", r"split\.file = 'a\.csv' needs split\.name = 'file' beside it: add it"),
        ("[split]\nsource = 'a'", r"split\.source = 'a' needs split\.name = 'source' beside it"),
        ("[split]\nname = 'file'", r"split\.name = 'file' needs split\.file: add it"),
        (
            "[split]\ntest_share = 0.6\nvalidation_share = 0.4",
            r"mine\.toml: split\.test_share = 0\.6 and split\.validation_share = 0\.4 leave nothing to train on",
        ),
        ("image = 3", r"image must be a section \[image\], not the value 3"),
        ("name = ", r"is not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_recipe(str(path))


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"There is no recipe 'mobil' \(did you mean 'mobile'\?\)"):
        read_recipe("mobil")
    with pytest.raises(UsageError, match="There is no recipe 'absent.toml'"):
        read_recipe("absent.toml")


def test_a_recipe_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"name = '\xff\xfe'")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_recipe(str(path))


def test_a_change_is_checked_too() -> None:
    with pytest.raises(UsageError, match=r"optimizer\.epochs = 0 is outside"):
        read_recipe("quick").with_changes("optimizer", epochs=0)


def test_files_are_named_in_full_for_who_stands_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "start.weights.h5").touch()
    recipe = read_recipe("mobile").with_changes("model", weights="start.weights.h5")
    recipe = recipe.with_changes("split", name="file", file="parts.csv").with_full_paths()
    assert (recipe.model.weights, recipe.split.file) == (
        str(tmp_path / "start.weights.h5"),
        str(tmp_path / "parts.csv"),
    )
    unchanged = read_recipe("mobile")
    assert unchanged.with_full_paths() == unchanged
