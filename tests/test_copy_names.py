"""Copies by name: what tools write beside a picture is seen, and nothing else is joined."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from lesionlab.data.copy_names import sources
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.data.split import split
from lesionlab.data.split_proof import in_words, prove, unseen
from lesionlab.lifecycle.prepare import inspect
from lesionlab.recipe import SplitChoice

ROBOFLOW = "_jpg.rf.08cd7cfc11d974db2cb311976c1f2d24"
NAMED_SO = [
    "ISIC_77980_rot90", "ISIC_77980_rot-17", "ISIC_77980-rotation-270", "ISIC_77980_rotated_by_45", "ISIC_77980_r180",
    "ISIC_77980_aug3", "ISIC_77980_augmented_12", "ISIC_77980_flip", "ISIC_77980_hflip", "ISIC_77980_v_flip",
    "ISIC_77980_flip_lr", "ISIC_77980_mirrored", "ISIC_77980_flip_rot90_aug_3", "flip_ISIC_77980", "rot90_flip_ISIC_77980",
    "aug_2_ISIC_77980", "Copy of ISIC_77980", "ISIC_77980 - Copy", "ISIC_77980 - Copy (2)", "ISIC_77980 (1)",
    "ISIC_77980_downsampled", "ISIC_77980_resized_224x224", "ISIC_77980_bright1.2", "isic_77980_ROT90", "ISIC_77980_3",
    f"ISIC_77980{ROBOFLOW}", f"ISIC_77980_rot90{ROBOFLOW}",
    "MEL_original_ISIC_77980.jpg_0c3a7f0e-1b2c-4d5e-8f90-0123456789ab",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMED_SO)
def test_a_copy_by_name_has_its_picture_as_source(name: str) -> None:
    keys = sources(["ISIC_77980", name, "ISIC_77981"], ["mel"] * 3)
    assert keys[0] == keys[1] != keys[2]


def test_copies_are_joined_where_the_picture_itself_is_not_there() -> None:
    keys = sources(["ISIC_1_rot90", "flip_ISIC_1", f"ISIC_1{ROBOFLOW}", "ISIC_2_rot90"], ["nv"] * 4)
    assert len(set(keys[:3])) == 1 and keys[3] not in keys[:3]


@pytest.mark.parametrize(
    "names",
    [
        ("ISIC_0024306", "ISIC_0024307", "ISIC_00243061"),
        ("rot_1", "rot_2"),  # nothing is left of a name but a number of its own
        ("image_aug_1", "image_aug_2", "image_aug_3"),  # made of any picture
        ("mole", "mole_1", "mole_2"),
        ("PAT_8_15_820", "PAT_8_16_821"),
        ("melanoma (1)", "melanoma (2)"),  # numbered by Windows
        ("IMD002", "IMD003"),
        ("color_12", "color_13"),
    ],
)
def test_other_names_join_nothing(names: tuple[str, ...]) -> None:
    assert len(set(sources(names, ["nv"] * len(names)))) == len(names)


def test_pictures_numbered_in_each_folder_keep_apart() -> None:
    keys = sources(["1", "1_rot90", "1", "1_rot90"], ["mel", "mel", "nv", "nv"])
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_one_name_alone_joins_across_diagnoses() -> None:
    assert len(set(sources(["ISIC_1_rot90", "ISIC_1_aug2"], ["mel", "nv"]))) == 1


CASE = Path(__file__).resolve().parents[2] / "shared" / "cases" / "15-augmented-copies" / "data"


@pytest.mark.skipif(not CASE.exists(), reason="the shared cases are not there")
def test_no_source_of_an_export_lies_in_two_parts() -> None:
    """Three outputs of each picture, turned by 0, 17 and 34 degrees; 12 of 18 sources once leaked."""
    collection = read_collection(CASE)
    table = inspect(collection).table
    assert table["lesion_id"].nunique() == 18
    for seed in range(5):
        parts = split(table, SplitChoice(), collection.taxonomy, seed=seed)
        source = table["image_id"].str.partition("_jpg.rf.")[0]
        assert parts.groupby(source).nunique().max() == 1
        assert not prove(table, parts).is_leaking


def test_a_table_with_lesions_of_its_own_is_joined_too(tmp_path: Path) -> None:
    names = ["ISIC_1", "ISIC_1_rot90", "ISIC_2", "flip_ISIC_2"]
    for number, name in enumerate(names):
        Image.effect_noise((96, 96), 20 + number).convert("RGB").save(tmp_path / f"{name}.png")
    rows = "".join(f"{name},L{number},{'nv' if number < 3 else 'mel'}\n" for number, name in enumerate(names))
    (tmp_path / "metadata.csv").write_text(f"image_id,lesion_id,dx\n{rows}")
    cleaned = inspect(read_collection(tmp_path))
    assert list(cleaned.table["group"]) == ["L0", "L0", "L2", "L2"]
    found = {one.kind: one for one in cleaned.findings}
    assert found["copy-name"].items == ("ISIC_1_rot90 ~ ISIC_1",)
    assert found["copy-name-dx"].items == ("flip_ISIC_2 (mel) ~ ISIC_2 (nv)",)
    assert "label is likely wrong" in found["copy-name-dx"].decision


def test_a_proof_says_what_it_has_looked_for_and_what_it_cannot_see() -> None:
    rows = [("a", "L1", "nv", "L1"), ("b", "L2", "nv", "L2"), ("c", "L3", "mel", "L3")]
    table = pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx", "group"])
    (proved,) = in_words(prove(table, pd.Series(["train", "validation", "test"])))
    assert proved == "proved: no lesion, no near-duplicate, no copy by name and no image content on two sides"
    assert "lesionlab[match]" in unseen(by_points=False) and "15 points" in unseen(by_points=True)
    joined = table.assign(group="L1")
    assert prove(joined, pd.Series(["train", "validation", "test"])).is_leaking
