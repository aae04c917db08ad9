"""A model file names the ISIC images that it was trained on, so that no figure of them passes for one of unseen lesions."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionlab.cli import main
from lesionlab.data.isic_ids import are_among, isic_numbers, joined_ids, show_known_lesion, written_ids
from lesionlab.data.layouts.recognise import index_images, read_collection
from lesionlab.errors import UsageError
from lesionlab.inference.facts import facts_from_json
from lesionlab.inference.model import load_model
from lesionlab.lifecycle.overlap import training_overlap

numbers = st.lists(st.integers(0, 400), max_size=60, unique=True)


def named(numbers: list[int]) -> list[str]:
    return [f"ISIC_{number:07d}" for number in numbers]


@given(numbers, numbers, numbers)
def test_ids_written_and_joined_are_those_and_no_others(first: list[int], second: list[int], asked: list[int]) -> None:
    ids = joined_ids(written_ids(named(first)), written_ids(named(second)))
    assert are_among(named(asked), ids).tolist() == [number in {*first, *second} for number in asked]


def test_an_id_is_found_in_copies_and_not_in_other_names() -> None:
    names = ["ISIC_0024306", "isic_0024306_rot90", "flip-ISIC_0024306", "ISIC_24306", "xISIC_0024306", "0024306", "1"]
    assert isic_numbers(names).tolist() == [24306, 24306, 24306, -1, -1, -1, -1]
    assert written_ids(["ISIC_0000003", "a", "ISIC_0000001", "ISIC_0000002", "ISIC_0000007"]) == "1-3,7"
    assert written_ids(["1", "patient"]) == "" and are_among([], "1-3").shape == are_among([], "").shape == (0,)


def test_another_photograph_of_a_known_lesion_is_known() -> None:
    table = pd.DataFrame({"image_id": named([1, 2, 3]), "lesion_id": ["a", "a", "b"]}, index=[7, 5, 6])
    assert show_known_lesion(table, "2").tolist() == [True, True, False]


def test_without_ids_the_fingerprint_tells() -> None:
    told = "9 images, fingerprint 0123456789abcdef"
    on_all = f"{told}; all of them, those too that the card's figures were measured on"
    assert training_overlap(told, None, "0123456789abcdef99", has_split=False) == ("trained", None)
    assert training_overlap(told, None, "0123456789abcdef99", has_split=True) == ("split", None)
    assert training_overlap(on_all, None, "0123456789abcdef99", has_split=True) == ("trained", None)
    assert training_overlap(told, None, "f123456789abcdef99", has_split=False) == ("", None)
    assert training_overlap(told, np.array([True, False]), "f", has_split=True) == ("some", 1)


@pytest.mark.parametrize("ids", ["1-", "a", "1,,2", "1-2-3", "-1", 5])
def test_ids_that_are_none_are_refused(ids: object) -> None:
    facts = load_model().facts.to_json() | {"training_ids": ids}
    with pytest.raises(UsageError, match="its fact 'training_ids' has no valid value"):
        facts_from_json(facts, "model.onnx")


def test_the_packaged_model_knows_what_it_was_trained_on(ham10000: Path) -> None:
    facts = load_model().facts
    table = read_collection(ham10000).table
    known = show_known_lesion(table, facts.training_ids)
    assert len(table) - known.sum() == 1019 + 12  # its test part, and the images that the official test shows too
    assert facts.training_ids == load_model("bundled-int8").facts.training_ids


@pytest.fixture
def archive(phantoms: Path, tmp_path: Path) -> Path:
    """Generated lesions under the archive's names."""
    data = tmp_path / "archive"
    data.mkdir()
    (metadata,) = phantoms.glob("*.csv")
    table = pd.read_csv(metadata)
    renamed = dict(zip(table["image_id"], named(range(9_000_000, 9_000_000 + len(table))), strict=True))
    table.assign(image_id=table["image_id"].map(renamed)).to_csv(data / metadata.name, index=False)
    for path in index_images(phantoms).values():
        shutil.copy(path, data / f"{renamed[path.stem]}{path.suffix}")
    return data


def trained_on(model: Path, ids: str, out: Path) -> Path:
    file = onnx.load(model)
    facts = {prop.key: prop.value for prop in file.metadata_props} | {"training_ids": json.dumps(ids)}
    onnx.helper.set_model_props(file, facts)
    onnx.save(file, out)
    return out


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_an_evaluation_of_known_lesions_says_so_and_leaves_them_out(
    finished: tuple[Path, str], archive: Path, tmp_path: Path, capsys
) -> None:
    table = read_collection(archive).table
    lesions = table["lesion_id"].unique()[:20]
    own = table[table["lesion_id"].isin(lesions)]
    model = trained_on(
        finished[0] / "model.onnx", written_ids(own.groupby("lesion_id")["image_id"].first()), tmp_path / "m.onnx"
    )
    common = ["evaluate", str(model), "--data", str(archive)]
    assert main([*common, "--out", str(tmp_path / "all")]) == 0
    said = f"{len(own):,} of the {len(table):,} images of {tmp_path / 'all'} show a lesion that quick was trained on"
    assert said in capsys.readouterr().out
    manifest = json.loads((tmp_path / "all" / "manifest.json").read_text())
    assert manifest["overlap_with_training"] == "some" and manifest["images_trained_on"] == len(own)
    assert f"{len(own)} of the {len(table)} images show a lesion" in (tmp_path / "all" / "report.html").read_text()

    assert main([*common, "--out", str(tmp_path / "unseen"), "--unseen"]) == 0
    assert "Warning" not in capsys.readouterr().out
    manifest = json.loads((tmp_path / "unseen" / "manifest.json").read_text())
    assert manifest["overlap_with_training"] == "none" and manifest["data"]["images"] == len(table) - len(own)
    reason = "the model was trained on its lesion"
    assert [row["image_id"] for row in manifest["set_aside"] if row["reason"] == reason] == list(own["image_id"])
    assert "No image shows a lesion that the model was trained on" in (tmp_path / "unseen" / "report.html").read_text()

    assert main(["compare", str(tmp_path / "all"), str(tmp_path / "all")]) == 0
    assert said in capsys.readouterr().out
    assert main(["compare", "--json", str(tmp_path / "all"), str(tmp_path / "all")]) == 0
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_what_unseen_cannot_leave_out_is_said(
    finished: tuple[Path, str], archive: Path, tmp_path: Path, capsys
) -> None:
    ids = written_ids(read_collection(archive).table["image_id"])
    model = trained_on(finished[0] / "model.onnx", ids, tmp_path / "m.onnx")
    asked = ["--data", str(archive), "--out", str(tmp_path / "e"), "--unseen"]
    for given_, words in (
        (model, "all"),
        (finished[0] / "model.onnx", "does not say which images it was trained on"),
        (finished[0] / "predictions.csv", "--unseen needs a model"),
    ):
        assert main(["evaluate", str(given_), *asked]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "e").exists() or not list((tmp_path / "e").glob("report.html"))


@pytest.mark.slow
def test_a_run_names_its_images_and_an_adapted_file_those_too(archive: Path, tmp_path: Path, capsys) -> None:
    assert main(["probe", "--data", str(archive), "--out", str(tmp_path / "probe")]) == 0
    splits = pd.read_csv(tmp_path / "probe" / "splits.csv")
    base, own = load_model().facts.training_ids, load_model(str(tmp_path / "probe" / "model.onnx")).facts.training_ids
    assert own == joined_ids(written_ids(splits.loc[splits["part"] != "test", "image_id"]), base)

    model = tmp_path / "probe" / "model.onnx"
    assert main(["adapt", str(model), "--data", str(archive), "--out", str(tmp_path / "adapted.onnx")]) == 0
    said = capsys.readouterr().out
    assert "Before and after are too good: " in said and "by the ISIC ids in its file" in said
    assert are_among(list(splits["image_id"]), load_model(str(tmp_path / "adapted.onnx")).facts.training_ids).all()
    assert main(["adapt", "--data", str(archive), "--out", str(tmp_path / "adapted.onnx")]) == 0
    assert "was trained on none of these lesions" in capsys.readouterr().out
    again = ["probe", "--data", str(archive), "--model", str(model), "--out", str(tmp_path / "again"), "--seed", "1"]
    assert main(again) == 0  # its test part holds lesions that the first probe trained on
    assert "test images show a lesion that probe was trained on: every figure is too good" in capsys.readouterr().out
    assert "test images show a lesion that probe was trained on" in (tmp_path / "again" / "report.html").read_text()
