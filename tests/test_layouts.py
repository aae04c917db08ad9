"""Every layout, made on disk, becomes the same table; every fault of a table is named with its row or column."""

import codecs
import csv
import io
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from builders import draw, one_hot, write
from lesionlab.data.layouts.findings import Finding
from lesionlab.data.layouts.recognise import TABLE_COLUMNS, Collection, index_images, read_collection
from lesionlab.errors import UsageError
from lesionlab.taxonomy import DX, HAM10000, read_taxonomy

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"
ROWS = (
    "HAM_1,ISIC_1,nv,histo,45.0,male,back,vidir_modern",
    "HAM_1,ISIC_2,nv,histo,45.0,male,back,vidir_modern",
    "HAM_2,ISIC_3,mel,histo,,female,face,rosendahl",
    "HAM_3,ISIC_4,bkl,consensus,0.0,unknown,unknown,vidir_molemax",
)
CSV = "\n".join([HEADER, *ROWS]) + "\n"
IMAGES = ("ISIC_1", "ISIC_2", "ISIC_3", "ISIC_4")


def by_kind(collection: Collection) -> dict[str, Finding]:
    return {found.kind: found for found in collection.findings}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw(tmp_path / "data" / "images", *IMAGES)
    write(tmp_path / "data" / "HAM10000_metadata.csv", CSV)
    return tmp_path / "data"


def check_rows(collection: Collection) -> None:
    """What `ROWS` say, whatever they were written in."""
    table = collection.table
    assert tuple(table.columns) == TABLE_COLUMNS
    assert list(table["image_id"]) == list(IMAGES)
    assert list(table["lesion_id"]) == ["HAM_1", "HAM_1", "HAM_2", "HAM_3"]
    assert list(table["dx"]) == ["nv", "nv", "mel", "bkl"]
    assert list(table["dx_type"]) == ["histo", "histo", "histo", "consensus"]
    assert table["age"].dtype == "float64"
    np.testing.assert_array_equal(table["age"], [45, 45, np.nan, 0])
    assert list(table["sex"]) == ["male", "male", "female", "unknown"]
    assert all(
        Path(path).is_absolute() and Path(path).stem == name
        for name, path in zip(table.image_id, table.path, strict=True)
    )


# Layouts


def test_one_folder_and_metadata(folder: Path) -> None:
    collection = read_collection(folder)
    assert (collection.layout, collection.folder, collection.findings) == ("images and metadata", folder, ())
    check_rows(collection)
    assert list(collection.table["dataset"]) == ["vidir_modern", "vidir_modern", "rosendahl", "vidir_molemax"]
    assert set(index_images(folder)) == set(IMAGES)


def test_kaggle_with_its_second_copy_in_lower_case(tmp_path: Path) -> None:
    for part, names in (("part_1", IMAGES[:2]), ("part_2", IMAGES[2:])):
        draw(tmp_path / f"HAM10000_images_{part}", *names, suffix=".jpg")
    draw(tmp_path / "ham10000_images_part_1", *IMAGES[:2], suffix=".jpg")
    write(tmp_path / "HAM10000_metadata.csv", "\n".join(line.rpartition(",")[0] for line in CSV.splitlines()))
    write(tmp_path / "hmnist_8_8_L.csv", "pixel0000,pixel0001,label\n1,2,3\n")
    collection = read_collection(tmp_path)
    assert collection.layout == "Kaggle"
    check_rows(collection)
    assert set(collection.table["dataset"]) == {"unknown"}
    found = by_kind(collection)
    assert found["columns-absent"].items == ("dataset",)
    assert found["image-twice"].items == ("ham10000_images_part_1/ISIC_1.jpg", "ham10000_images_part_1/ISIC_2.jpg")
    assert "taken are those in HAM10000_images_part_1" in found["image-twice"].decision


@pytest.mark.parametrize(("name", "separator"), [("HAM10000_metadata", ","), ("HAM10000_metadata.tab", "\t")])
def test_harvard_dataverse(tmp_path: Path, name: str, separator: str) -> None:
    draw(tmp_path / "HAM10000_images_part_1", *IMAGES, suffix=".jpg")
    draw(tmp_path / "HAM10000_segmentations_lesion_tschandl", *(f"{name}_segmentation" for name in IMAGES))
    draw(tmp_path / "ISIC2018_Task3_Test_Images", "ISIC_9")
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(csv.reader(CSV.splitlines()))
    write(tmp_path / name, text.getvalue())
    collection = read_collection(tmp_path)
    assert collection.layout == "Harvard Dataverse"
    check_rows(collection)
    assert [(found.kind, found.items) for found in collection.findings] == [("image-unlisted", ("ISIC_9",))]


@pytest.fixture
def isic(tmp_path: Path) -> Path:
    draw(tmp_path / "ISIC2018_Task3_Training_Input", *IMAGES[:3], suffix=".jpg")
    draw(tmp_path / "ISIC2018_Task3_Training_Input", "ISIC_1_superpixels")
    draw(tmp_path / "ISIC2018_Task3_Test_Input", "ISIC_4", suffix=".jpg")
    truth = "ISIC2018_Task3_{0}_GroundTruth/ISIC2018_Task3_{0}_GroundTruth.csv"
    write(tmp_path / truth.format("Training"), one_hot(("ISIC_1", "nv"), ("ISIC_2", "nv"), ("ISIC_3", "mel")))
    write(tmp_path / truth.format("Test"), one_hot(("ISIC_4", "vasc"), ("ISIC_5", "df")))
    write(
        tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv",
        "image,lesion_id,diagnosis_confirm_type\nISIC_2,HAM_1,serial imaging showing no change\n"
        "ISIC_1,HAM_1,single image expert consensus\nISIC_3,HAM_2,histopathology\n",
    )
    return tmp_path


def test_isic_2018_task_3(isic: Path) -> None:
    collection = read_collection(isic)
    table = collection.table.set_index("image_id")
    assert collection.layout == "ISIC 2018 Task 3"
    assert table["dx"].to_dict() == {"ISIC_1": "nv", "ISIC_2": "nv", "ISIC_3": "mel", "ISIC_4": "vasc", "ISIC_5": "df"}
    assert table["lesion_id"].to_dict() == {
        "ISIC_1": "HAM_1", "ISIC_2": "HAM_1", "ISIC_3": "HAM_2", "ISIC_4": "ISIC_4", "ISIC_5": "ISIC_5",
    }  # fmt: skip
    assert list(table.loc[["ISIC_1", "ISIC_2", "ISIC_3"], "dx_type"]) == ["consensus", "follow_up", "histo"]
    assert table["dataset"].to_dict()["ISIC_4"] == "isic2018_test" and table.loc["ISIC_5", "path"] == ""
    found = by_kind(collection)
    assert found["lesion-unknown"].items == ("ISIC_4", "ISIC_5")
    assert "image-unlisted" not in found


def test_patients_of_training_images_alone_leave_the_others_without(isic: Path) -> None:
    write(isic / "patients.csv", "image,patient_id\nISIC_1,P1\nISIC_2,P1\nISIC_3,P2\n")
    table = read_collection(isic).table.sort_values("image_id")
    assert list(table["patient_id"]) == ["P1", "P1", "P2", "unknown", "unknown"]


def test_a_truth_whose_name_tells_no_part_is_of_no_part(isic: Path) -> None:
    (isic / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv").rename(isic / "more.csv")
    write(isic / "lesions.csv", "image,lesion_id\nISIC_4,HAM_4\nISIC_5,HAM_5\n")
    table = read_collection(isic).table.sort_values("image_id")
    assert list(table["official_part"]) == ["train"] * 3 + ["unknown"] * 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ISIC_3,1.0,0.0", "ISIC_3,1.0,1.0", r"Training_GroundTruth.csv, row 4: 2 of MEL, NV, .* exactly one must be"),
        ("ISIC_3,1.0,0.0", "ISIC_3,0.0,0.0", r"row 4: 0 of MEL, NV"),
        ("ISIC_3,1.0,0.0", "ISIC_3,0.9,0.1", r"row 4: 0.9 in the column MEL; ground truth is 0 or 1"),
        ("ISIC_3,1.0,0.0", "ISIC_3,yes,0.0", r"row 4: 'yes' in the column MEL is no number"),
        ("ISIC_3,1.0,0.0", "ISIC_3,nan,0.0", r"row 4: nan in the column MEL; ground truth is 0 or 1"),
        (
            "image,MEL,NV",
            "image,MEL,NVX",
            r"has no column 'nv'; it has image, mel, nvx,.*Rename the column 'nvx' to nv",
        ),
        ("ISIC_3,1.0", "ISIC_4,1.0", r"images have no lesion \(first: ISIC_4\)"),
        ("ISIC_3,1.0", "ISIC_1,1.0", r"image_id 'ISIC_1' stands in rows 2 and 4 with different values"),
    ],
)
def test_faults_of_a_one_hot_table_are_named(isic: Path, old: str, new: str, message: str) -> None:
    truth = isic / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv"
    assert old in truth.read_text()
    write(truth, truth.read_text().replace(old, new))
    with pytest.raises(UsageError, match=message):
        read_collection(isic)


def test_isic_needs_the_lesions_of_its_training_images(isic: Path) -> None:
    groupings = isic / "ISIC2018_Task3_Training_LesionGroupings.csv"
    write(groupings, groupings.read_text() + "ISIC_3,HAM_7,histopathology\n")
    with pytest.raises(UsageError, match="LesionGroupings.csv, row 5: image 'ISIC_3' is listed twice"):
        read_collection(isic)
    groupings.unlink()
    with pytest.raises(UsageError, match=r"3 images have no lesion .* Put ISIC2018_Task3_Training_LesionGroupings.csv"):
        read_collection(isic)
    shutil.rmtree(isic / "ISIC2018_Task3_Training_GroundTruth")
    assert set(read_collection(isic).table["image_id"]) == {"ISIC_4", "ISIC_5"}


ISIC_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"


def isic_2019(folder: Path, *marked: tuple[str, str]) -> Path:
    """A one-hot table with ISIC 2019's columns; returns it."""
    columns = ISIC_2019.strip().split(",")[1:]
    rows = [",".join([name, *(f"{float(column == mark)}" for column in columns)]) for name, mark in marked]
    draw(folder / "ISIC_2019_Training_Input", *(name for name, _ in marked))
    truth = folder / "ISIC_2019_Training_GroundTruth.csv"
    write(truth, ISIC_2019 + "\n".join(rows) + "\n")
    return truth


def test_a_row_that_marks_one_of_the_seven_and_another(tmp_path: Path) -> None:
    truth = isic_2019(tmp_path, ("a", "MEL"), ("b", "AK"))
    write(truth, truth.read_text().replace("a,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0", "a,1.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0"))
    with pytest.raises(UsageError, match=r"row 2: 2 of MEL, .*VASC, SCC are 1; exactly one must be"):
        read_collection(tmp_path)


def test_weights_of_the_challenge_are_no_diagnoses(isic: Path) -> None:
    truth = isic / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv"
    lines = truth.read_text().splitlines()
    write(truth, "\n".join([lines[0] + ",score_weight", *(f"{line},{n % 2}.0" for n, line in enumerate(lines[1:]))]))
    assert len(read_collection(isic).table) == 5
    (found,) = [item for item in read_collection(isic).findings if item.kind == "weighed"]
    assert "lesionlab score weighs them" in found.decision and found.items == ("ISIC_1", "ISIC_3")


def test_ground_truth_of_ham10000_is_told_where_its_lesions_are(tmp_path: Path) -> None:
    draw(tmp_path, "ISIC_1", "ISIC_2")
    write(tmp_path / "GroundTruth.csv", one_hot(("ISIC_1", "mel"), ("ISIC_2", "nv")))
    with pytest.raises(UsageError, match=r"of HAM10000, HAM10000_metadata.csv has the lesion_id of these very images"):
        read_collection(tmp_path)
    write(tmp_path / "HAM10000_metadata.csv", CSV)
    assert len(read_collection(tmp_path).table) == 4


PREDICTED = "image," + ",".join(HAM10000.columns) + "\nISIC_1,0.02,0.9,0.05,0.01,0.01,0.01,0\n"


def test_every_table_that_is_not_read_is_listed(folder: Path) -> None:
    write(folder / "README.txt", "about")
    write(folder / "clinics.csv", "image_id,clinic\nISIC_1,Vienna\n")
    write(folder / "truth" / "ISIC2018_Task3_Training_GroundTruth.csv", one_hot(("ISIC_1", "mel")))
    found = by_kind(read_collection(folder))["table-unused"]
    assert found.items == ("clinics.csv", "truth/ISIC2018_Task3_Training_GroundTruth.csv")


@pytest.mark.parametrize(
    "text",
    [
        PREDICTED,
        PREDICTED.replace(",", ";").replace("0.", "0,"),
        one_hot(("ISIC_1", "nv")).replace("VASC", "VASC,part,predicted").replace("0.0\n", "0.0,test,nv\n"),
    ],
    ids=["shares", "decimal commas", "a run's columns"],
)
def test_predictions_are_no_ground_truth(isic: Path, tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    write(isic / "predictions.csv", text)
    found = by_kind(read_collection(isic))["table-unused"]
    assert found.items == ("predictions.csv",) and "holds predictions" in found.decision
    folders = tmp_path_factory.mktemp("folders")
    draw(folders / "mel", "a")
    write(folders / "predictions.csv", text)
    collection = read_collection(folders)
    assert (collection.layout, list(collection.table["dx"])) == ("a folder per diagnosis", ["mel"])
    assert by_kind(collection)["table-unused"].items == ("predictions.csv",)
    draw(folders / "plain" / "images", "a")
    write(folders / "plain" / "predictions.csv", text)
    with pytest.raises(UsageError, match=r"1 images but no metadata \(predictions.csv holds predictions"):
        read_collection(folders / "plain")


def test_an_image_in_two_phases_of_isic(isic: Path) -> None:
    write(isic / "ISIC2018_Task3_Validation_GroundTruth.csv", one_hot(("ISIC_4", "vasc")))
    with pytest.raises(UsageError, match="'ISIC_4' stands in two tables"):
        read_collection(isic)


def test_a_folder_per_diagnosis(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "MEL", "a", "b")
    draw(tmp_path / "train" / "Melanocytic_Nevus", "c")
    draw(tmp_path / "test" / "dermatofibroma", "a")
    write(tmp_path / "README.txt", "what this is")
    collection = read_collection(tmp_path)
    table = collection.table
    assert collection.layout == "a folder per diagnosis"
    assert dict(zip(table["image_id"], table["dx"], strict=True)) == {
        "test-dermatofibroma-a": "df", "train-MEL-a": "mel", "b": "mel", "c": "nv",
    }  # fmt: skip
    assert (
        (table["lesion_id"] == table["image_id"]).all() and table["age"].isna().all() and (table.sex == "unknown").all()
    )
    found = by_kind(collection)
    assert found["image-id-made"].count == 2
    assert found["lesion-unknown"].count == 4 and "each image counts as a lesion" in found["lesion-unknown"].decision
    assert found["columns-absent"].items == ("dx_type", "age", "sex", "localization", "dataset")


@pytest.mark.parametrize("code", DX)
def test_folders_by_full_name(tmp_path: Path, code: str) -> None:
    draw(tmp_path / HAM10000.name_of[code].replace(" / intraepithelial carcinoma", "").upper(), "a")
    assert list(read_collection(tmp_path).table["dx"]) == [code]


@pytest.mark.parametrize(
    ("names", "taxonomy"),
    [
        (("nv", "bcc", "sccka"), "milk10k"),
        (("Nevus", "MEL_OTH", "INF", "MAL_OTH"), ""),  # MEL_OTH is a code of none
        (("nv", "MAL_OTH ", "squamous cell carcinoma"), "milk10k"),
        (("nv", "squamous cell carcinoma"), "isic2019"),
        (("nv", "bcc"), "ham10000"),
        (("nv", "verruca"), ""),  # a word of MILK10k's, but no code: it may be a stray folder
        (("nv", "sccka", "verruca"), ""),
    ],
)
def test_the_packaged_models_codes_are_read_as_such(tmp_path: Path, names: tuple[str, ...], taxonomy: str) -> None:
    for number, name in enumerate(names):
        draw(tmp_path / name.strip(), f"image{number}")
    if taxonomy:
        assert read_collection(tmp_path).taxonomy == read_taxonomy(taxonomy)
    else:
        with pytest.raises(UsageError, match="unknown diagnosis"):
            read_collection(tmp_path)


def test_folders_named_as_parts_are_said_to_be_none(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "mel", "a")
    draw(tmp_path / "Val" / "mel", "b")
    draw(tmp_path / "2020" / "test" / "nv", "c")
    found = by_kind(read_collection(tmp_path))["folders-parts"]
    assert found.items == ("Val", "test", "train") and "give --split" in found.decision
    draw(tmp_path / "other" / "nv", "d")
    for name in ("train", "Val", "2020"):
        shutil.rmtree(tmp_path / name)
    assert "folders-parts" not in by_kind(read_collection(tmp_path))


def test_two_columns_of_one_diagnosis_are_refused(tmp_path: Path) -> None:
    """Else the columns behind them would be read as others."""
    draw(tmp_path, "a", "b")
    header = "image,MEL,NV,BCC,AK,Solar keratosis,BKL,DF,VASC"
    write(tmp_path / "Training_GroundTruth.csv", f"{header}\na,0,0,0,0,1,0,0,0\nb,0,0,0,0,0,0,1,0\n")
    with pytest.raises(UsageError, match="the columns ak and solar_keratosis both mean akiec. Make one of them"):
        read_collection(tmp_path)


def test_copies_of_a_picture_are_one_lesion(tmp_path: Path) -> None:
    draw(tmp_path / "mel", "ISIC_1", "ISIC_1_flip", "ISIC_1 (2)", "ISIC_2")
    draw(tmp_path / "nv", "ISIC_10", "ISIC_2_aug_45", "flip_ISIC_10")
    collection = read_collection(tmp_path)
    lesions = collection.table.groupby("lesion_id")["image_id"].agg(sorted).tolist()
    assert sorted(lesions) == [
        ["ISIC_1", "ISIC_1 (2)", "ISIC_1_flip"],
        ["ISIC_10", "flip_ISIC_10"],
        ["ISIC_2"],
        ["ISIC_2_aug_45"],  # of another diagnosis: joined to one group, but no lesion has two
    ]
    assert "image-derived" not in by_kind(collection)


def test_additions_to_names_that_tell_no_picture_are_named(tmp_path: Path) -> None:
    draw(tmp_path / "mel", "mole", "mole_1", "mole_2", "spot_1")
    draw(tmp_path / "nv", "ISIC_10")
    collection = read_collection(tmp_path)
    found = by_kind(collection)["image-derived"]
    assert sorted(found.items) == ["mole_1", "mole_2"] and "lesion_id" in found.decision
    assert collection.table["lesion_id"].is_unique


def test_folders_of_other_diagnoses_are_counted(tmp_path: Path) -> None:
    draw(tmp_path / "mel", "a")
    draw(tmp_path / "kaposi", "b", "c")
    draw(tmp_path / "unk", "d")
    with pytest.raises(UsageError, match=r"'kaposi' \(2, first: kaposi.b.png\), 'unk' \(1, .* move it out of"):
        read_collection(tmp_path)


SYNONYMS = {
    "mel": ("MEL", "Malignant Melanoma", "Melanoma in situ"),
    "nv": ("Nevus", "naevus", "NEV", "mole", "melanocytic_nevus"),
    "bcc": ("BCC", "Basal cell carcinoma"),
    "akiec": ("AK", "ACK", "Actinic keratoses", "solar keratosis", "Bowen\u2019s disease", "intraepithelial carcinoma"),
    "bkl": ("SEK", "Seborrhoeic keratosis", "solar lentigo", "lichen planus-like keratosis", "benign keratosis"),
    "df": ("Dermatofibroma", "dermatofibromas"),
    "vasc": ("hemangioma", "Haemangioma", "angioma", "angiokeratoma", "pyogenic granuloma", "vascular lesion"),
}


@pytest.mark.parametrize(("dx", "name"), [(dx, name) for dx, names in SYNONYMS.items() for name in names])
def test_unambiguous_synonyms_are_read(folder: Path, dx: str, name: str) -> None:
    write(folder / "HAM10000_metadata.csv", CSV.replace("bkl", name))
    assert read_collection(folder).table["dx"].iloc[3] == dx


@pytest.mark.parametrize(
    "name",
    [
        "Merkel cell carcinoma", "keratoacanthoma", "lentigo", "lentigo NOS", "not melanoma",
        "non-melanoma", "nvs", "mell", "angiosarcoma", "hemangiosarcoma", "fibroma", "neurofibroma", "melanosis", "unknown",
    ],
)  # fmt: skip
def test_no_hint_leads_to_another_disease(folder: Path, name: str) -> None:
    write(folder / "HAM10000_metadata.csv", CSV.replace("bkl", name))
    with pytest.raises(UsageError, match="unknown diagnosis") as caught:
        read_collection(folder)
    assert "did you mean" not in str(caught.value)


def test_of_many_other_diagnoses_ten_are_listed(folder: Path) -> None:
    rows = [f"HAM_{n},IMG_{n},rare{chr(97 + n)},histo,45,male,back,x" for n in range(12)]
    write(folder / "HAM10000_metadata.csv", CSV + "\n".join([*rows, rows[11]]) + "\n")
    with pytest.raises(UsageError, match=r"'rarel' \(2, first: row 17\), 'rarea' \(1.* and 2 others\. Known are"):
        read_collection(folder)


def test_faults_of_folders_per_diagnosis(tmp_path: Path) -> None:
    draw(tmp_path / "mel", "a")
    draw(tmp_path / "melanomma", "b")
    with pytest.raises(UsageError, match=r"'melanomma' \(1, first: melanomma.b.png; did you mean 'mel'\?\)"):
        read_collection(tmp_path)
    shutil.rmtree(tmp_path / "melanomma")
    draw(tmp_path / "mel", "a", suffix=".bmp")
    with pytest.raises(UsageError, match="has the name of another image of its folder but for the suffix"):
        read_collection(tmp_path)


def medmnist(path: Path, **changes: object) -> Path:
    rng = np.random.default_rng(0)
    arrays: dict[str, object] = {}
    for part, number in (("train", 7), ("val", 2), ("test", 3)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (number, 28, 28, 3), np.uint8)
        arrays[f"{part}_labels"] = np.arange(number, dtype=np.uint8).reshape(-1, 1)
    arrays |= changes
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize("as_folder", [True, False])
def test_medmnist(tmp_path: Path, as_folder: bool) -> None:
    path = medmnist(tmp_path / "dermamnist_28.npz")
    collection = read_collection(tmp_path if as_folder else path)
    table = collection.table
    assert collection.layout == "MedMNIST" and len(table) == 12
    assert list(table["dx"][:7]) == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    assert list(table["dataset"].unique()) == ["dermamnist_train", "dermamnist_val", "dermamnist_test"]
    with np.load(path) as arrays:
        for name, row in (("train", 3), ("test", 11)):
            index = int(table["image_id"][row].rpartition("_")[2])
            np.testing.assert_array_equal(np.asarray(Image.open(table["path"][row])), arrays[f"{name}_images"][index])
    assert list(tmp_path.iterdir()) == [path], "nothing is written into the user's folder"
    assert by_kind(collection)["lesion-unknown"].count == 12
    assert {name: str(file) for name, file in index_images(tmp_path if as_folder else path).items()} == dict(
        zip(table["image_id"], table["path"], strict=True)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_images": None}, "is not a DermaMNIST file .*val_images"),
        ({"val_labels": np.array([[0], [7]])}, "val_labels holds 7; DermaMNIST's labels are 0 to 6"),
        ({"val_labels": np.array([["a"], ["b"]])}, "val_labels is <U1"),
        ({"val_labels": np.array([[print], [1]], dtype=object)}, r"val_labels is object \(2, 1\); expected integers"),
        ({"val_images": np.zeros((2, 28, 28), np.uint8)}, r"val_images is uint8 \(2, 28, 28\); expected uint8 \(2, "),
        ({"val_images": np.zeros((2, 28, 28, 3))}, "val_images is float64"),
        ({"val_images": np.zeros((1, 28, 28, 3), np.uint8)}, "one image a label"),
        ({"val_images": np.zeros((2, 0, 28, 3), np.uint8)}, r"val_images is uint8 \(2, 0, 28, 3\)"),
    ],
)
def test_faults_of_medmnist_are_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = medmnist(tmp_path / "dermamnist.npz", **changes)
    with pytest.raises(UsageError, match=message):
        read_collection(path)


def test_medmnist_in_other_diagnoses(tmp_path: Path) -> None:
    path = medmnist(tmp_path / "dermamnist.npz")
    own = tmp_path / "own.toml"
    own.write_text(
        'name = "own"\nsummary = "by hand"\n'
        '[[diagnosis]]\ndx = "bad"\ncolumn = "BAD"\nname = "malignant"\nis_malignant = true\n'
        'synonyms = ["akiec", "bcc", "mel"]\n'
        '[[diagnosis]]\ndx = "good"\ncolumn = "GOOD"\nname = "benign"\nis_malignant = false\n'
        'synonyms = ["bkl", "df", "nv", "vasc"]\n'
    )
    collection = read_collection(path, read_taxonomy(str(own)))
    assert list(collection.table["dx"][:7]) == ["bad", "bad", "good", "good", "bad", "good", "good"]
    two = read_collection(path, read_taxonomy("isic2024"))
    assert (
        list(two.table["dx"][:3]) == ["malignant", "malignant", "benign"] and two.findings[-1].kind == "dx-in-two-kinds"
    )
    with pytest.raises(UsageError, match=r"unknown diagnosis 'akiec' \(3, first: dermamnist_train_00000.* --taxonomy"):
        read_collection(path, read_taxonomy("isic2017"))


def test_damaged_medmnist_files(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "dermamnist.npz"
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UsageError, match="is not a DermaMNIST file"):
        read_collection(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2, 900, 900, 3)})
    medmnist(path, val_images=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("val_images.npy", header.getvalue())
    with pytest.raises(UsageError, match="an array is cut short"):
        read_collection(path)
    assert not list(cache.glob("medmnist-*.*")), "no half-built folder is left"
    medmnist(path)
    medmnist(tmp_path / "dermamnist_64.npz", val_images=np.ones((2, 28, 28, 3), np.uint8))
    with pytest.raises(UsageError, match="several tables or archives .*dermamnist.npz, dermamnist_64.npz"):
        read_collection(tmp_path)


# Ways of writing the same table


def reordered(text: str) -> str:
    rows = list(csv.reader(text.splitlines()))
    return "\n".join(",".join(reversed(row)) for row in rows)


SAME: dict[str, Callable[[str], bytes]] = {
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "UTF-16, little-endian, marked": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "UTF-16, big-endian, marked": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "UTF-16, little-endian": lambda text: text.encode("utf-16-le"),
    "UTF-16, big-endian": lambda text: text.encode("utf-16-be"),
    "UTF-16 and tabs, as Excel's Unicode text": lambda text: text.replace(",", "\t").encode("utf-16"),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "semicolons and decimal commas": lambda text: text.replace(",", ";").replace(".0", ",0").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "a line that names the separator": lambda text: ("sep=;\r\n" + text.replace(",", ";")).encode("cp1252"),
    "bars": lambda text: text.replace(",", "|").encode(),
    "capitals and blanks in the header": lambda text: (
        text.replace("image_id", " Image ID ").replace("dx,", "DX,").encode()
    ),
    "reordered columns": lambda text: reordered(text).encode(),
    "quotes": lambda text: text.replace("nv", '"nv"').replace("back", '" back "').encode(),
    "blanks around values": lambda text: text.replace(",", " , ").encode(),
    "empty lines": lambda text: ("\n\n" + text.replace("\n", "\n\n,,,,,,,\n")).encode(),
    "a separator at each end": lambda text: text.replace("\n", ",,\n").replace("dataset,,", "dataset").encode(),
    "no end of line at the end": lambda text: text.rstrip("\n").encode(),
    "image ids with suffix": lambda text: text.replace("ISIC_1", "ISIC_1.JPG").replace("ISIC_3", "ISIC_3.png").encode(),
    "diagnoses in capitals": lambda text: text.replace("nv", "NV").replace("mel,", "Mel,").encode(),
    "diagnoses by name": lambda text: (
        text.replace("nv", "Melanocytic nevi").replace("bkl", "benign keratosis").encode()
    ),
    "unknown written otherwise": lambda text: text.replace("unknown,unknown", "N/A,").replace(",,", ",NaN,").encode(),
    "sex as a letter": lambda text: text.replace(",male", ",M").replace("female", "F").encode(),
    "ISIC's column names": lambda text: (
        text.replace("image_id", "isic_id").replace("age", "age_approx").replace("localization", "anatom_site_general")
    ).encode(),
}


@pytest.mark.parametrize("way", SAME)
def test_the_same_table_written_otherwise(folder: Path, way: str) -> None:
    (folder / "HAM10000_metadata.csv").write_bytes(SAME[way](CSV))
    collection = read_collection(folder)
    check_rows(collection)
    expected = ["dx-written"] if way.startswith("diagnoses") else []
    assert [found.kind for found in collection.findings] == expected


@pytest.mark.parametrize(
    ("word", "encoding"), [("R\xfccken", "latin-1"), ("\u2019\u0153il", "cp1252"), ("\x81\xfc", "latin-1")]
)
def test_text_of_one_byte_a_character(folder: Path, word: str, encoding: str) -> None:
    write(folder / "HAM10000_metadata.csv", CSV.replace("back", word), encoding)
    assert read_collection(folder).table["localization"][0] == word.lower()


def test_a_table_whose_start_ends_within_a_character(folder: Path) -> None:
    """The header is read from a file's first 4,096 bytes."""
    (folder / "HAM10000_metadata.csv").unlink()
    text = CSV + "".join(f"HAM_{n},ISIC_{n},nv,histo,45,male,R\xfccken,\xe9\n" for n in range(5, 400))
    for blanks in range(2):
        (folder / "labels.csv").write_bytes((text.replace("back", "back" + " " * blanks)).encode("utf-8-sig"))
        assert len(read_collection(folder).table) == 399


def test_a_line_that_names_the_separator_counts_as_a_row(folder: Path) -> None:
    write(folder / "HAM10000_metadata.csv", "sep=,\n" + CSV.replace("bkl", "kaposi"))
    with pytest.raises(UsageError, match=r"unknown diagnosis 'kaposi' \(1, first: row 6\)"):
        read_collection(folder)


def test_names_as_macos_writes_them(folder: Path) -> None:
    """Accents apart from their letters in files, and blanks that do not break in the names of screenshots."""
    (folder / "images" / "ISIC_3.png").rename(folder / "images" / "Jose\u0301.png")
    (folder / "images" / "ISIC_4.png").rename(folder / "images" / "10.00\u202fAM\xa0b.png")
    written = CSV.replace("ISIC_3", "Jos\xe9").replace("ISIC_4", "10.00\u202fAM\xa0b")
    write(folder / "HAM10000_metadata.csv", written)
    collection = read_collection(folder)
    assert list(collection.table["image_id"]) == ["ISIC_1", "ISIC_2", "Jos\xe9", "10.00\u202fAM\xa0b"]
    assert all(Path(path).is_file() for path in collection.table["path"]) and collection.findings == ()


# Faults

FAULTS: list[tuple[str, Callable[[str], str], str]] = [
    ("empty", lambda text: "", "HAM10000_metadata.csv is empty"),
    ("blank lines", lambda text: "\n \n,,,\n", "is empty: it should hold a header"),
    ("header only", lambda text: HEADER, "has a header but no rows"),
    (
        "no image_id",
        lambda text: text.replace("image_id", "picture_id"),
        r"has no column 'image_id'; it has lesion_id, pic",
    ),
    (
        "misspelt image_id",
        lambda text: text.replace("image_id", "imageid"),
        r"no column 'image_id'; it has lesion_id, imageid, .*Rename the column 'imageid' to image_id",
    ),
    ("no lesion_id", lambda text: text.replace("lesion_id", "patient"), "no column 'lesion_id'.*two sides of a split"),
    ("no dx", lambda text: text.replace("dx,dx", "a,dx"), "no column 'dx'"),
    ("repeated column", lambda text: text.replace("dataset", " Sex"), "row 1: the column 'sex' stands there twice"),
    ("short row", lambda text: text.replace(",rosendahl", ""), "row 4: 7 values where the header has 8"),
    ("long row", lambda text: text.replace("face,", "face, left,"), "row 4: 9 values where the header has 8"),
    ("open quote", lambda text: text.replace("face", '"face'), "row 4: unexpected end of data. Mend the quotes"),
    ("quote within", lambda text: text.replace("face", '"fa"ce'), "row 4: ',' expected after '\"'"),
    (
        "unknown dx",
        lambda text: text.replace("mel,", "mell,").replace("bkl", "kaposi").replace(",nv,", ",kaposi,"),
        r"csv: unknown diagnosis 'kaposi' \(3, first: row 2\), 'mell' \(1, first: row 4\)\. Known are .* remove these rows",
    ),
    ("foreign dx", lambda text: text.replace("bkl", "kaposi"), r"'kaposi' \(1, first: row 5\)\. Known are mel, nv"),
    ("empty dx", lambda text: text.replace("bkl", ""), r"unknown diagnosis '' \(1, first: row 5\)"),
    ("dx as a number", lambda text: text.replace("bkl", "4"), r"unknown diagnosis '4' \(1, first: row 5\)\. Known are"),
    (
        "image twice",
        lambda text: text.replace("ISIC_3", "ISIC_1"),
        r"image_id 'ISIC_1' stands in rows 2 and 4 with different values \(lesion_id, dx, age, sex, localization",
    ),
    (
        "image twice, once with suffix",
        lambda text: text.replace("ISIC_3", "ISIC_1.jpg"),
        "'ISIC_1' stands in rows 2 and 4",
    ),
    (
        "lesion with two diagnoses",
        lambda text: text.replace("ISIC_2,nv", "ISIC_2,bcc"),
        r"lesion 'HAM_1' has two diagnoses, nv \(row 2\) and bcc \(row 3\)\. Give it one\.$",
    ),
    (
        "two lesions with two diagnoses",
        lambda text: text.replace("ISIC_2,nv", "ISIC_2,bcc").replace("HAM_3", "HAM_2"),
        "lesion 'HAM_1' has two diagnoses.* 1 more lesions have the same fault",
    ),
    ("empty lesion_id", lambda text: text.replace("HAM_2", " "), "row 4: lesion_id is ''"),
    ("unknown lesion_id", lambda text: text.replace("HAM_2", "NaN"), "row 4: lesion_id is 'NaN'. Give each lesion"),
    ("empty image_id", lambda text: text.replace("ISIC_3", ""), "row 4: image_id is empty"),
    ("only a suffix", lambda text: text.replace("ISIC_3", "."), r"row 4: image_id '\.' is no name"),
    (
        "path upwards",
        lambda text: text.replace("ISIC_3", "../../etc/passwd"),
        r"row 4: image_id '../../etc/passwd' is no name",
    ),
    (
        "path",
        lambda text: text.replace("ISIC_3", "images/ISIC_3.jpg"),
        "row 4: image_id 'images/ISIC_3.jpg' is no name of a file: .* Give the name alone: 'ISIC_3'",
    ),
    ("Windows path", lambda text: text.replace("ISIC_3", "..\\ISIC_3"), "row 4: .* is no name of a file: no folders"),
    ("NUL", lambda text: text.replace("ISIC_3", "ISIC_3\0.jpg"), r"row 4: image_id 'ISIC_3\\x00.jpg' is no name"),
    (
        "line break",
        lambda text: text.replace("ISIC_3", '"ISIC\n_3"'),
        r"row 4: image_id 'ISIC\\n_3' is no name of a file",
    ),
    ("line separator", lambda text: text.replace("ISIC_3", "IS\u2028IC"), r"row 4: image_id 'IS\\u2028IC' is no name"),
    ("a row after a line break", lambda text: text.replace("back", '"ba\nck"').replace("bkl", "x"), "first: row 7"),
    (
        "other images",
        lambda text: text.replace("ISIC_", "IMG_"),
        r"lists 4 images \(first: IMG_1\), and none of them is",
    ),
    ("web page", lambda text: "<!DOCTYPE html>\n<html>", "is a web page, not a text table"),
    ("Excel", lambda text: "PK\x03\x04\x14", "is an Excel workbook or a ZIP archive"),
    ("binary", lambda text: "\x01\x02\x03,\n" + text, "is not a text table"),
]


@pytest.mark.parametrize(("change", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_fault_of_a_table_is_named(folder: Path, change: Callable[[str], str], message: str) -> None:
    """Row 5 of the promises: file, row or column, and what to do."""
    write(folder / "HAM10000_metadata.csv", change(CSV))
    with pytest.raises(UsageError, match=message) as caught:
        read_collection(folder)
    assert "HAM10000_metadata.csv" in str(caught.value)


def test_broken_utf_16(folder: Path) -> None:
    (folder / "HAM10000_metadata.csv").write_bytes(CSV.encode("utf-16")[:-1])
    with pytest.raises(UsageError, match="begins as UTF-16 but is not"):
        read_collection(folder)


def test_a_table_that_is_too_large(folder: Path) -> None:
    with (folder / "HAM10000_metadata.csv").open("r+b") as file:
        file.truncate(300_000_000)  # sparse
    with pytest.raises(UsageError, match="has more than 200 MB"):
        read_collection(folder)


REPAIRED: list[tuple[str, Callable[[str], str], str, tuple[str, ...]]] = [
    ("repeated row", lambda text: text + ROWS[2] + "\n", "row-twice", ("row 6: ISIC_3",)),
    ("extra columns", lambda text: text.replace("\n", ",1\n").replace("set,1", "set,fold"), "columns-extra", ("fold",)),
    ("age as text", lambda text: text.replace(",,", ",forty,"), "age-text", ("row 4: forty",)),
    ("dx by name", lambda text: text.replace("bkl", "Benign Keratosis"), "dx-written", ("row 5: Benign Keratosis",)),
]


@pytest.mark.parametrize(
    ("change", "kind", "items"), [case[1:] for case in REPAIRED], ids=[case[0] for case in REPAIRED]
)
def test_what_can_be_read_is_read_and_reported(
    folder: Path, change: Callable[[str], str], kind: str, items: tuple[str, ...]
) -> None:
    write(folder / "HAM10000_metadata.csv", change(CSV))
    collection = read_collection(folder)
    check_rows(collection)
    assert [(found.kind, found.items, found.count) for found in collection.findings] == [(kind, items, len(items))]


def test_patients_are_read_where_a_table_names_them(folder: Path) -> None:
    lines = [
        f"{line},{patient}" for line, patient in zip(CSV.split(), ("patient_id", "P1", "P1", "NaN", ""), strict=True)
    ]
    write(folder / "HAM10000_metadata.csv", "\n".join(lines))
    collection = read_collection(folder)
    assert tuple(collection.table.columns) == (*TABLE_COLUMNS, "patient_id") and collection.findings == ()
    assert list(collection.table["patient_id"]) == ["P1", "P1", "unknown", "unknown"]


@pytest.mark.parametrize(("written", "age"), [("-1", -1), ("250", 250), ("0", 0), ("45,5", 45.5), ("unknown", np.nan)])
def test_ages_are_read_as_they_stand(folder: Path, written: str, age: float) -> None:
    write(folder / "HAM10000_metadata.csv", CSV.replace(",,", f',"{written}",'))
    np.testing.assert_array_equal(read_collection(folder).table["age"][2], age)


# Folders


def test_missing_and_surplus_images(folder: Path) -> None:
    (folder / "images" / "ISIC_2.png").unlink()
    draw(folder / "more", "ISIC_8", "ISIC_7")
    collection = read_collection(folder)
    assert list(collection.table["path"] == "") == [False, True, False, False]
    assert by_kind(collection)["image-unlisted"].items == ("ISIC_7", "ISIC_8")


def test_what_is_no_image_of_the_data_set_is_passed_over(folder: Path) -> None:
    for other in (".thumbnails", "__MACOSX", "HAM10000_segmentations", "masks", "ISIC2018_Task1_Training_GroundTruth"):
        draw(folder / other, "ISIC_1")
    draw(folder / "images", "._ISIC_2", "ISIC_2_segmentation")
    (folder / "images" / "ISIC_3.png.part").write_bytes(b"")
    (folder / "images" / "loop").symlink_to(folder)
    (folder / "images" / "itself").symlink_to("itself")
    assert read_collection(folder).findings == ()
    assert {name: path.relative_to(folder).as_posix() for name, path in index_images(folder).items()} == {
        name: f"images/{name}.png" for name in IMAGES
    }


def test_linked_images_are_read(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "images", tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    check_rows(read_collection(folder))


def test_an_id_that_stands_twice(folder: Path) -> None:
    draw(folder / "HAM10000_images", "ISIC_1")
    draw(folder / "images", "ISIC_2", suffix=".jpg")
    collection = read_collection(folder)
    check_rows(collection)
    assert index_images(folder)["ISIC_1"] == folder / "HAM10000_images" / "ISIC_1.png"
    assert by_kind(collection)["image-twice"].items == ("images/ISIC_1.png", "images/ISIC_2.png")


def test_which_table_is_taken(folder: Path) -> None:
    (folder / "HAM10000_metadata.csv").rename(folder / "labels.csv")
    write(folder / "history.csv", "epoch,loss\n1,2\n")
    check_rows(read_collection(folder))
    write(folder / "copy" / "labels.csv", CSV)
    write(folder / "again.csv", CSV)
    check_rows(read_collection(folder))
    write(folder / "again.csv", CSV.replace("rosendahl", "elsewhere"))
    with pytest.raises(
        UsageError, match="several tables or archives to choose from: again.csv, labels.csv. Keep the one"
    ):
        read_collection(folder)
    write(folder / "my_metadata.csv", CSV.replace("rosendahl", "mine"))
    assert read_collection(folder).table["dataset"][2] == "mine"
    write(folder / "HAM10000_metadata.csv", CSV)
    assert read_collection(folder).table["dataset"][2] == "rosendahl"


def test_a_table_by_another_name_without_dx(folder: Path) -> None:
    write(folder / "labels.csv", CSV.replace("dx,dx", "diagnose,dx"))
    (folder / "HAM10000_metadata.csv").unlink()
    with pytest.raises(UsageError, match=r"labels.csv has no column 'dx'"):
        read_collection(folder)


@pytest.mark.parametrize("read", [read_collection, index_images])
def test_no_folder(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(UsageError, match=f"There is no folder {tmp_path / 'absent'}. Read are: HAM10000 as Kaggle"):
        read(tmp_path / "absent")
    write(tmp_path / "metadata.csv", CSV)
    with pytest.raises(UsageError, match="metadata.csv is a file, not a folder"):
        read(tmp_path / "metadata.csv")


def test_empty_folder_images_alone_metadata_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no images \(.jpg, .*\). Read are: HAM10000 as Kaggle or Harvard .*npz"):
        read_collection(tmp_path)
    assert index_images(tmp_path) == {}
    write(tmp_path / "HAM10000_metadata.csv", CSV)
    with pytest.raises(UsageError, match="has no images .* for HAM10000_metadata.csv: put the images beside it"):
        read_collection(tmp_path)
    write(tmp_path / "HAM10000_images_part_1.zip", "")
    with pytest.raises(UsageError, match="for HAM10000_metadata.csv: unpack HAM10000_images_part_1.zip"):
        read_collection(tmp_path)
    draw(tmp_path / "images", *IMAGES)
    pattern = (
        rf"images has 4 images but no metadata. Read are: .*HAM10000_metadata.csv lies in {re.escape(str(tmp_path))}"
    )
    with pytest.raises(UsageError, match=pattern):
        read_collection(tmp_path / "images")


@given(st.binary(max_size=400))
def test_no_bytes_make_it_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("noise")
    (folder / "metadata.csv").write_bytes(data)
    draw(folder, "a")
    with pytest.raises(UsageError, match="metadata.csv"):
        read_collection(folder)
    shutil.rmtree(folder)


# The real table


def test_the_real_metadata(ham10000: Path) -> None:
    """Row 7 of the promises; counts as in the copy's README."""
    collection = read_collection(ham10000)
    table = collection.table
    assert len(table) == 10_015 and table["image_id"].is_unique and table["lesion_id"].nunique() == 7_470
    counts = {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
    assert table["dx"].value_counts().to_dict() == counts
    lesions = {"nv": 5403, "bkl": 727, "mel": 614, "bcc": 327, "akiec": 228, "vasc": 98, "df": 73}
    assert table.groupby("dx")["lesion_id"].nunique().to_dict() == lesions
    images = table["lesion_id"].value_counts()
    assert ((images > 1).sum(), images[images > 1].sum(), images.max()) == (1_956, 4_501, 6)
    confirmed = {"histo": 5340, "follow_up": 3704, "consensus": 902, "confocal": 69}
    assert table["dx_type"].value_counts().to_dict() == confirmed
    # What the confirmation gives away: it must be no feature.
    assert set(table["dx"][table["dx_type"] == "follow_up"]) == {"nv"}
    assert set(table["dx"][table["dx_type"] == "confocal"]) == {"bkl"}
    assert set(table["dx_type"][table["dx"].isin(["mel", "bcc", "akiec"])]) == {"histo"}
    assert (table["age"].isna().sum(), (table["age"] == 0).sum()) == (57, 39)
    assert ((table["sex"] == "unknown").sum(), (table["localization"] == "unknown").sum()) == (57, 234)
    clinics = {"vidir_molemax": 3954, "vidir_modern": 3363, "rosendahl": 2259, "vienna_dias": 439}
    assert table["dataset"].value_counts().to_dict() == clinics
    # All images are in HAM10000_images, the eight of full_size too: those are left.
    assert table["path"].str.contains("/HAM10000_images/").all()
    found = by_kind(collection)
    assert found["image-twice"].items == tuple(f"full_size/ISIC_00243{number:02}.jpg" for number in range(6, 14))
    assert found["table-unused"].items == ("seen_in_official_test.csv",) and len(found) == 2
    assert collection.taxonomy.name == "ham10000"
