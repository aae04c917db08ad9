"""A model file names the ISIC images that it was trained on, so that no figure of them passes for one of unseen lesions."""

import json
import shutil
from pathlib import Path

import onnx
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionlab.cli import main
from lesionlab.data.clean import Cleaned
from lesionlab.data.isic_ids import are_among, is_written, isic_numbers, joined_ids, names_all, written_ids
from lesionlab.data.layouts.recognise import index_images, read_collection
from lesionlab.errors import UsageError
from lesionlab.inference.facts import facts_from_json
from lesionlab.inference.model import load_model
from lesionlab.lifecycle.overlap import Known, find_known, show_known, training_overlap, warnings_of
from lesionlab.runs.directory import open_evaluated

numbers = st.lists(st.integers(0, 400), max_size=60, unique=True)


def named(numbers: list[int]) -> list[str]:
    return [f"ISIC_{number:07d}" for number in numbers]


@given(numbers, numbers, numbers)
def test_ids_written_and_joined_are_those_and_no_others(first: list[int], second: list[int], asked: list[int]) -> None:
    ids = joined_ids(written_ids(named(first)), written_ids(named(second)))
    assert are_among(named(asked), ids).tolist() == [number in {*first, *second} for number in asked]
    assert is_written(ids) and names_all(ids) == bool(first and second)  # nobody knows of what an empty list is


def test_an_id_is_found_in_copies_and_not_in_other_names() -> None:
    names = ["ISIC_0024306", "isic_0024306_rot90", "flip-ISIC_0024306", "ISIC_24306", "xISIC_0024306", "0024306", "1"]
    assert isic_numbers(names).tolist() == [24306, 24306, 24306, -1, -1, -1, -1]
    assert written_ids(["ISIC_0000003", "ISIC_0000001", "ISIC_0000002", "ISIC_0000007"]) == "1-3,7"
    assert written_ids(["1", "patient"]) == "" and are_among([], "1-3").shape == are_among([], "").shape == (0,)


def test_ids_of_some_images_do_not_pass_for_those_of_all() -> None:
    assert written_ids(["ISIC_0000003", "patient"]) == "3,others" and not names_all("3,others") and not names_all("")
    assert (
        joined_ids("", "3") == joined_ids("3,others", "") == "3,others" and joined_ids("1,others", "3") == "1,3,others"
    )
    assert are_among(named([3, 4]), "3,others").tolist() == [True, False]


def test_another_photograph_of_a_known_lesion_or_group_is_known() -> None:
    table = pd.DataFrame({"image_id": named([1, 2, 3]), "lesion_id": ["a", "a", "b"]}, index=[7, 5, 6])
    assert show_known(table, "2").tolist() == [True, True, False]
    assert show_known(table.assign(group=["a", "a", "a"]), "3").tolist() == [True, True, True]
    without = table.assign(lesion_id=[None, "a", None])
    assert show_known(without, "9").tolist() == [False] * 3 and show_known(without, "1").tolist() == [
        True,
        False,
        False,
    ]


def cleaned(names: list[str], aside: dict[str, str | None]) -> Cleaned:
    table = pd.DataFrame({"image_id": names, "lesion_id": names, "group": names})
    rows = pd.DataFrame({"image_id": list(aside), "reason": "why", "group": list(aside.values())})
    return Cleaned(table, (), rows)


def test_what_was_set_aside_counts_and_what_cannot_be_told_is_said() -> None:
    names = named([1, 2])
    assert find_known(cleaned(names, {}), "5") == Known(frozenset(), "")
    twin = find_known(cleaned(names, {"ISIC_0000005": names[0]}), "5")  # a kept image is of its group
    assert twin == Known(frozenset(names[:1]), "")
    assert find_known(cleaned(names, {"ISIC_0000005": None}), "5").untold.startswith(
        "it was trained on 1 images that are set"
    )
    assert find_known(cleaned([*names, "clinic-1"], {}), "5").untold.startswith(
        "1 of the 3 images have no ISIC id (clinic-1"
    )
    assert "not all images" in find_known(cleaned(names, {}), "5,others").untold
    assert "does not say" in find_known(cleaned(names, {}), "").untold


def test_where_ids_do_not_tell_the_fingerprint_does() -> None:
    data, one = pd.DataFrame({"image_id": named([1, 2])}), Known(frozenset(named([1])), "")
    told, fingerprint = "9 images, fingerprint 0123456789abcdef", "0123456789abcdef99"
    on_all = f"{told}; all of them, those too that the card's figures were measured on"
    untold = Known()
    for said, known, mark, has_split, expected in (
        (told, untold, fingerprint, False, ("trained", None)),
        (told, untold, fingerprint, True, ("split", None)),
        (on_all, untold, fingerprint, True, ("trained", None)),
        (told, untold, "another", False, ("", None)),
        (told, one, "another", True, ("some", 1)),
        (told, one, fingerprint, False, ("some", 1)),
        (on_all, one, fingerprint, False, ("trained", 1)),
        (told, Known(frozenset(), ""), fingerprint, True, ("none", 0)),
        (told, Known(one.images, "why"), "another", False, ("some", 1)),
        (told, Known(frozenset(named([1, 2])), ""), "another", False, ("trained", 2)),
    ):
        assert training_overlap(said, known, data, mark, has_split=has_split) == expected


@pytest.mark.parametrize("ids", ["1-", "a", "1,,2", "1-2-3", "-1", 5, "2-1", "1" * 5000, "others"])
def test_ids_that_are_none_are_refused(ids: object) -> None:
    facts = load_model().facts.to_json() | {"training_ids": ids}
    with pytest.raises(UsageError, match="its fact 'training_ids' has no valid value"):
        facts_from_json(facts, "model.onnx")


def test_the_packaged_model_knows_what_it_was_trained_on(ham10000: Path) -> None:
    facts = load_model().facts
    table = read_collection(ham10000).table
    known = show_known(table, facts.training_ids)
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
    assert "The model was trained on none of these lesions" in (tmp_path / "unseen" / "report.html").read_text()

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
        (model, "all 163 images show a lesion"),
        (finished[0] / "model.onnx", "does not say which images it was trained on"),
        (finished[0] / "predictions.csv", "a table of predictions does not say what its model was trained on"),
    ):
        assert main(["evaluate", str(given_), *asked]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "e").exists() or not list((tmp_path / "e").glob("report.html"))


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_split_keeps_its_validation_part_and_names_without_ids_are_no_unseen_ones(
    finished: tuple[Path, str], archive: Path, phantoms: Path, tmp_path: Path, capsys
) -> None:
    table = read_collection(archive).table
    lesions = list(table["lesion_id"].unique())
    part = {lesion: ("train", "validation", "test", "test")[number % 4] for number, lesion in enumerate(lesions)}
    table = table.assign(part=table["lesion_id"].map(part))
    table[["image_id", "part"]].to_csv(tmp_path / "splits.csv", index=False)
    known = table[(table["part"] == "validation") | (table["lesion_id"] == lesions[2])]
    model = trained_on(finished[0] / "model.onnx", written_ids(known["image_id"]), tmp_path / "m.onnx")
    common = ["evaluate", str(model), "--out", str(tmp_path / "e"), "--unseen"]
    assert main([*common, "--data", str(archive), "--split", str(tmp_path / "splits.csv")]) == 0
    manifest = json.loads((tmp_path / "e" / "manifest.json").read_text())
    counts = table.groupby("part").size()
    assert manifest["split"]["images"] == dict(counts) | {
        "test": counts["test"] - (table["lesion_id"] == lesions[2]).sum()
    }
    assert manifest["data"]["images"] == manifest["split"]["images"]["test"] and manifest["images_trained_on"] == 0

    capsys.readouterr()
    assert main([*common, "--data", str(phantoms)]) == 2
    assert (
        "--unseen cannot leave out what quick was trained on: 163 of the 163 images have no ISIC id"
        in capsys.readouterr().err
    )


def test_an_older_evaluation_is_warned_of_too(tmp_path: Path) -> None:
    held = {"kind": "evaluation", "finished": "2026-11-25T10:00:00+00:00", "model": {"name": "m", "conformal": {}}}
    held |= {"acquaintance": "trained", "data": {"images": 9}}
    (tmp_path / "manifest.json").write_text(json.dumps(held))
    assert [text.split(" of ")[0] for text in warnings_of(open_evaluated(tmp_path))] == [
        "Warning: m was trained on the lesions"
    ]
    (tmp_path / "manifest.json").write_text(json.dumps(held | {"acquaintance": ""}))
    assert warnings_of(open_evaluated(tmp_path)) == []


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
