"""The field's data sets in small copies with their published columns: each is read as downloaded, with its own diagnoses."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlab.cli import main
from lesionlab.data.clean import clean
from lesionlab.data.images import ImageError, read_drafted, read_image
from lesionlab.data.layouts.image_types import KINDS, read_kinds
from lesionlab.data.layouts.recognise import Collection, index_images, read_collection
from lesionlab.data.pixels import decode_images
from lesionlab.data.split import split
from lesionlab.data.stored_images import entry_path, read_stored
from lesionlab.errors import UsageError
from lesionlab.recipe import SplitChoice
from lesionlab.taxonomy import read_taxonomy, taxonomy_names


def draw(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (24, 20), (200, 10 * number % 256, 90)).save(folder / name)


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def jpeg(number: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (24, 24), (200, 7 * number % 256, 90)).save(data, "JPEG")
    return data.getvalue()


def dx_of(collection: Collection) -> dict[str, str]:
    return dict(zip(collection.table["image_id"], collection.table["dx"], strict=True))


def kinds(collection: Collection) -> set[str]:
    return {one.kind for one in collection.findings}


# ISIC's challenges


ISIC_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"


def isic_2019(folder: Path, *marked: tuple[str, str], header: str = ISIC_2019) -> Path:
    columns = header.split(",")[1:]
    draw(folder / "ISIC_2019_Training_Input", *(f"{name}.jpg" for name, _ in marked))
    rows = [",".join([name, *(f"{float(column == mark)}" for column in columns)]) for name, mark in marked]
    write(
        folder / "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex",
        *(f"{name},55.0,anterior torso,{'BCN_1' if n < 2 else ''},female" for n, (name, _) in enumerate(marked)),
    )
    return write(folder / "ISIC_2019_Training_GroundTruth.csv", header, *rows)


def test_isic_2019_has_eight_and_a_state(tmp_path: Path) -> None:
    isic_2019(tmp_path, ("a", "SCC"), ("b", "SCC"), ("c", "UNK"), ("d", "AK"), ("e", "NV"))
    collection = read_collection(tmp_path)
    assert (collection.layout, collection.taxonomy.name, len(collection.taxonomy)) == ("ISIC 2019", "isic2019", 8)
    assert dx_of(collection) == {"a": "scc", "b": "scc", "d": "ak", "e": "nv"}
    assert collection.set_aside.to_dict("records") == [{"image_id": "c", "reason": "no diagnosis of the set: unk"}]
    table = collection.table
    assert list(table["lesion_id"]) == ["BCN_1", "BCN_1", "d", "e"] and list(table["age"]) == [55.0] * 4
    assert set(table["sex"]) == {"female"} and set(table["localization"]) == {"anterior torso"}
    with pytest.raises(UsageError, match=r"unknown diagnosis 'SCC' \(2, first: row 2\).*Known are mel, nv, bcc, akiec"):
        read_collection(tmp_path, read_taxonomy("ham10000"))


def test_columns_of_truth_in_another_order(tmp_path: Path) -> None:
    isic_2019(tmp_path, ("a", "SCC"), ("b", "SCC"), ("d", "AK"), header="image,UNK,SCC,AK,VASC,DF,BKL,BCC,NV,MEL")
    assert dx_of(read_collection(tmp_path)) == {"a": "scc", "b": "scc", "d": "ak"}


def test_isic_2019_without_its_metadata(tmp_path: Path) -> None:
    isic_2019(tmp_path, ("a", "SCC"), ("b", "NV"))
    (tmp_path / "ISIC_2019_Training_Metadata.csv").unlink()
    with pytest.raises(UsageError, match="2 images have no lesion .* Put ISIC_2019_Training_Metadata.csv"):
        read_collection(tmp_path)


def test_isic_2016_has_no_header(tmp_path: Path) -> None:
    draw(tmp_path / "ISBI2016_ISIC_Part3_Training_Data", "ISIC_0000000.jpg", "ISIC_0000001.jpg")
    draw(tmp_path / "ISBI2016_ISIC_Part3_Test_Data", "ISIC_0000003.jpg", "ISIC_0000006.jpg")
    write(tmp_path / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv", "ISIC_0000000,benign", "ISIC_0000001,malignant")
    write(tmp_path / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv", "ISIC_0000003,0.0", "ISIC_0000006,1.0")
    collection = read_collection(tmp_path)
    assert dx_of(collection) == {
        "ISIC_0000000": "benign", "ISIC_0000001": "mel", "ISIC_0000003": "benign", "ISIC_0000006": "mel",
    }  # fmt: skip
    part = dict(zip(collection.table["image_id"], collection.table["official_part"], strict=True))
    assert part == {"ISIC_0000000": "train", "ISIC_0000001": "train", "ISIC_0000003": "test", "ISIC_0000006": "test"}
    assert collection.taxonomy.malignant == ("mel",)


def test_isic_2017_knows_three(tmp_path: Path) -> None:
    for part, names in {"Training": ("a", "b"), "Validation": ("c",), "Test_v2": ("d",)}.items():
        draw(tmp_path / f"ISIC-2017_{part}_Data", *(f"{name}.jpg" for name in names))
        draw(tmp_path / f"ISIC-2017_{part}_Data", *(f"{name}_superpixels.png" for name in names))
        write(
            tmp_path / f"ISIC-2017_{part}_Part3_GroundTruth.csv",
            "image_id,melanoma,seborrheic_keratosis",
            *(f"{name},{float(name == 'b')},{float(name == 'c')}" for name in names),
        )
        write(
            tmp_path / f"ISIC-2017_{part}_Data_metadata.csv",
            "image_id,age_approximate,sex",
            *(f"{name},40,female" for name in names),
        )
    collection = read_collection(tmp_path)
    assert dx_of(collection) == {"d": "nv", "a": "nv", "b": "mel", "c": "sk"} and collection.taxonomy.name == "isic2017"
    assert set(collection.table["age"]) == {40.0} and "table-unused" not in kinds(collection)
    parts = dict(zip(collection.table["image_id"], collection.table["official_part"], strict=True))
    assert parts == {"a": "train", "b": "train", "c": "validation", "d": "test"}
    truth = tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv"
    write(truth, "image_id,melanoma,seborrheic_keratosis", "a,1,1", "b,0,0")
    with pytest.raises(UsageError, match="row 2: melanoma and seborrheic_keratosis are both 1"):
        read_collection(tmp_path)
    write(truth, "image_id,melanoma,seborrheic_keratosis", "a,yes,1", "b,0,0")
    with pytest.raises(UsageError, match="row 2: 'yes' in the column melanoma"):
        read_collection(tmp_path)


def isic_2020(folder: Path) -> Path:
    names = [f"ISIC_{number}" for number in range(6)]
    draw(folder / "train", *(f"{name}.jpg" for name in names))
    write(
        folder / "ISIC_2020_Training_GroundTruth_v2.csv",
        "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target",
        *(
            f"{name},IP_{n // 2},IL_{n},male,45,torso,{('nevus', 'unknown', 'melanoma')[n % 3]},"
            f"{'malignant' if n % 3 == 2 else 'benign'},{int(n % 3 == 2)}"
            for n, name in enumerate(names)
        ),
    )
    return write(
        folder / "ISIC_2020_Training_Duplicates.csv",
        "image_name_1,image_name_2", "ISIC_0,ISIC_3", "ISIC_3,ISIC_4", "ISIC_4,ISIC_0",
    )  # fmt: skip


def test_isic_2020_is_melanoma_against_the_rest(tmp_path: Path) -> None:
    isic_2020(tmp_path)
    collection = read_collection(tmp_path)
    assert dx_of(collection) == {"ISIC_0": "benign", "ISIC_1": "benign", "ISIC_2": "mel", "ISIC_5": "mel"}
    assert list(collection.set_aside["image_id"]) == ["ISIC_3", "ISIC_4"]
    assert set(collection.set_aside["reason"]) == {"the same picture as ISIC_0, by the published list of duplicates"}
    assert list(collection.table["patient_id"]) == ["IP_0", "IP_0", "IP_1", "IP_2"]
    by_name = read_collection(tmp_path, read_taxonomy("isic2017"))
    assert dx_of(by_name) == {"ISIC_0": "nv", "ISIC_2": "mel", "ISIC_5": "mel"}
    assert "ISIC_1" in set(by_name.set_aside["image_id"])


def isic_2024(folder: Path, number: int = 6) -> Path:
    h5py = pytest.importorskip("h5py")
    folder.mkdir(parents=True, exist_ok=True)
    write(
        folder / "train-metadata.csv",
        "isic_id,target,patient_id,age_approx,sex,anatom_site_general,image_type,tbp_tile_type,lesion_id,iddx_full,iddx_1,iddx_2,"
        "iddx_3,iddx_4,iddx_5",
        *(
            f"ISIC_{n},{int(n % 3 == 2)},IP_{n},60.0,male,torso,TBP tile: close-up,3D: XP,,"
            + (
                "x,Malignant,Malignant adnexal epithelial proliferations - Follicular,Basal cell carcinoma,"
                '"Basal cell carcinoma, Nodular",'
                if n % 3 == 2
                else "Benign,Benign,,,,"
            )
            for n in range(number)
        ),
    )
    with h5py.File(folder / "train-image.hdf5", "w") as file:
        for n in range(number):
            file.create_dataset(f"ISIC_{n}", data=np.void(jpeg(n)))
    return folder / "train-image.hdf5"


def test_isic_2024_is_read_out_of_its_hdf5(tmp_path: Path) -> None:
    isic_2024(tmp_path)
    collection = read_collection(tmp_path)
    assert (collection.layout, collection.taxonomy.dx) == ("ISIC 2024", ("malignant", "benign"))
    assert list(collection.table["dx"]) == ["benign", "benign", "malignant"] * 2
    assert set(index_images(tmp_path)) == {f"ISIC_{n}" for n in range(6)}
    images = list(zip(collection.table["image_id"], collection.table["path"], strict=True))
    cached = decode_images(images, height=16, width=16, crop="centre", cache_dir=tmp_path / "cache")
    assert list(cached.facts["error"]) == [""] * 6 and list(cached.facts["width"]) == [24] * 6
    for n, (_, path) in enumerate(images):
        file = tmp_path / f"{n}.jpg"
        file.write_bytes(jpeg(n))
        np.testing.assert_array_equal(read_image(Path(path), 16, 16, "centre"), read_image(file, 16, 16, "centre"))
    by_name = read_collection(tmp_path, read_taxonomy("isic2019"))
    assert set(by_name.table["dx"]) == {"bcc"} and len(by_name.set_aside) == 4


def test_entries_of_many_hdf5_files_are_read_in_any_order(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for number in range(8):
        with h5py.File(tmp_path / f"{number}.hdf5", "w") as file:
            for entry in range(3):
                file.create_dataset(f"{entry}", data=np.void(jpeg(10 * number + entry)))
    chosen = np.random.default_rng(0).integers((8, 3), size=(300, 2))
    read = [read_stored(entry_path(tmp_path / f"{number}.hdf5", f"{entry}")) for number, entry in chosen]
    assert read == [jpeg(10 * number + entry) for number, entry in chosen.tolist()]


def test_isic_2024_as_the_challenge_gives_it(tmp_path: Path) -> None:
    draw(tmp_path / "ISIC_2024_Training_Input", "ISIC_1.jpg", "ISIC_2.jpg")
    write(tmp_path / "ISIC_2024_Training_GroundTruth.csv", "isic_id,malignant", "ISIC_1,0.0", "ISIC_2,1.0")
    write(
        tmp_path / "ISIC_2024_Training_Input" / "metadata.csv",
        "isic_id,attribution,age_approx,image_type,patient_id,sex,tbp_tile_type",
        "ISIC_1,Hospital,60,TBP tile: close-up,IP_1,male,3D: XP",
        "ISIC_2,Hospital,65,TBP tile: close-up,IP_2,female,3D: XP",
    )
    collection = read_collection(tmp_path)
    assert dx_of(collection) == {"ISIC_1": "benign", "ISIC_2": "malignant"} and collection.layout == "ISIC 2024"
    assert list(collection.table["patient_id"]) == ["IP_1", "IP_2"] and list(collection.table["age"]) == [60, 65]
    alone = next(one for one in collection.findings if one.kind == "lesion-unknown")
    assert "its patient and near-duplicates keep a split from leaking" in alone.decision


def test_other_tables_that_name_files_do_not_hide_the_metadata(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg")
    write(tmp_path / "credits.csv", "file_name,licence", "a.jpg,CC0")
    write(tmp_path / "log.jsonl", '{"epoch": 1}')
    write(tmp_path / "metadata.csv", "image_id,lesion_id,dx", "a,L1,nv")
    collection = read_collection(tmp_path)
    assert (collection.layout, dx_of(collection)) == ("images and metadata", {"a": "nv"})


def test_missing_and_broken_entries_of_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = isic_2024(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["ISIC_0"], file["ISIC_1"], file["ISIC_2"]
        file.create_dataset("ISIC_1", data=np.void(b"no JPEG"))
        file.create_dataset("ISIC_2", data=[1.5, 2.5])
    collection = read_collection(tmp_path)
    images = list(zip(collection.table["image_id"], collection.table["path"], strict=True))
    facts = decode_images(images, height=16, width=16, crop="centre", cache_dir=tmp_path / "cache").facts
    assert facts["error"][0] == "missing" and "is no image" in facts["error"][1]
    assert "holds no bytes of an image" in facts["error"][2] and list(facts["error"][3:]) == [""] * 3
    cleaned = clean(collection, facts, [])
    assert len(cleaned.table) == 3 and list(cleaned.set_aside["image_id"]) == ["ISIC_0", "ISIC_1", "ISIC_2"]
    with pytest.raises(ImageError, match=r"train-image.hdf5 has no entry ISIC_0"):
        read_image(Path(f"{path}::ISIC_0"), 16, 16, "centre")
    cut = isic_2024(tmp_path / "cut")
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(UsageError, match=r"train-image.hdf5 is no HDF5 file, or cut short .* download it again"):
        read_collection(tmp_path / "cut")


# The ISIC archive


def archive(folder: Path, *rows: tuple[str, ...], extra: str = "") -> Path:
    """Rows are up to five levels; the names in them may hold commas."""
    names = [f"ISIC_{number}" for number in range(len(rows))]
    draw(folder, *(f"{name}.jpg" for name in names))
    return write(
        folder / "metadata.csv",
        "isic_id,attribution,age_approx,anatom_site_general,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4,diagnosis_5,"
        "diagnosis_confirm_type,image_type,lesion_id,patient_id,sex",
        *(
            f"{name},Hospital,50,torso,"
            + ",".join(f'"{level}"' for level in (*levels, "", "", "", "", "")[:5])
            + f",histopathology,dermoscopic,{'' if n % 2 else f'IL_{n}'},{'' if n % 2 else 'IP_1'},male"
            for n, (name, levels) in enumerate(zip(names, rows, strict=True))
        ),
    )


NEVUS = ("Benign", "Benign melanocytic proliferations", "Nevus", "Nevus, Spitz")
BOWEN = (
    "Malignant", "Malignant epidermal proliferations", "Squamous cell carcinoma in situ",
    "Squamous cell carcinoma in situ, Bowens disease",
)  # fmt: skip
MERKEL = ("Malignant", "Merkel cell proliferation", "Merkel cell carcinoma")
VASCULAR = ("Benign", "Benign soft tissue proliferations - Vascular")


def test_the_archive_gives_the_smallest_set_that_has_all(tmp_path: Path) -> None:
    archive(tmp_path / "seven", NEVUS, VASCULAR)
    collection = read_collection(tmp_path / "seven")
    assert (collection.layout, collection.taxonomy.name) == ("ISIC archive", "ham10000")
    assert dx_of(collection) == {"ISIC_0": "nv", "ISIC_1": "vasc"}
    assert list(collection.table["lesion_id"]) == ["IL_0", "ISIC_1"]
    assert list(collection.table["patient_id"]) == ["IP_1", "unknown"]
    archive(tmp_path / "eleven", NEVUS, MERKEL, BOWEN, ("Benign",), ())
    collection = read_collection(tmp_path / "eleven")
    assert collection.taxonomy.name == "milk10k"
    assert dx_of(collection) == {"ISIC_0": "nv", "ISIC_1": "mal_oth", "ISIC_2": "akiec"}
    assert dict(collection.set_aside.itertuples(index=False)) == {
        "ISIC_3": "diagnosis 'Benign' is none of milk10k", "ISIC_4": "the diagnosis is empty",
    }  # fmt: skip
    two = read_collection(tmp_path / "eleven", read_taxonomy("isic2024"))
    assert list(two.table["dx"]) == ["benign", "malignant", "malignant", "benign"]


def test_the_archives_words_are_known_in_any_table(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg")
    write(
        tmp_path / "metadata.csv", "image_id,lesion_id,dx", 'a,L1,"Nevus, Spitz"', 'b,L2,"Melanoma Invasive, Nodular"'
    )
    assert dx_of(read_collection(tmp_path)) == {"a": "nv", "b": "mel"}


def test_every_group_of_the_archive_has_a_column_of_milk10k() -> None:
    from lesionlab.data.layouts.written_diagnoses import find_dx, levels_of

    taxonomy = read_taxonomy("milk10k")
    assert levels_of("nevus of ota") == (
        "Benign", "Benign melanocytic proliferations", "Dermal melanocytosis", "Nevus of Ota",
    )  # fmt: skip
    assert find_dx("Cylindoma", taxonomy) == "ben_oth" and find_dx("Porokeratosis", taxonomy) == "inf"
    assert find_dx("Atypical Spitz tumor", taxonomy) is None  # indeterminate: of no column


def test_image_types_are_set_aside_unless_asked_for(cases: Path) -> None:
    folder = cases / "02-isic-archive-image-types" / "data"
    collection = read_collection(folder)
    assert len(collection.table) == 2 and len(collection.set_aside) == 5
    assert "image type synthetic, not dermoscopic" in set(collection.set_aside["reason"])
    assert len(read_collection(folder, image_types=("tbp", "dermoscopic")).table) == 3
    assert read_kinds("Clinical, tbp") == ("clinical", "tbp") and read_kinds("all") == KINDS
    with pytest.raises(UsageError, match="'photo' is none of dermoscopic, clinical"):
        read_kinds("photo")


# Others


def test_pad_ufes_20(tmp_path: Path) -> None:
    draw(tmp_path / "imgs_part_1", "PAT_8_15_820.png", "PAT_46_881_939.png")
    write(
        tmp_path / "metadata.csv",
        "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,skin_cancer_history,"
        "cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,itch,grew,hurt,"
        "changed,bleed,elevation,img_id,biopsed",
        "PAT_8,15,,,,,8,,,,,,,,ARM,,,NEV,FALSE,FALSE,FALSE,FALSE,FALSE,FALSE,PAT_8_15_820.png,False",
        "PAT_46,881,False,False,POMERANIA,POMERANIA,55,False,FEMALE,True,True,True,True,3.0,NECK,6.0,5.0,BCC,True,True,False,"
        "True,True,True,PAT_46_881_939.png,True",
    )
    collection = read_collection(tmp_path)
    assert (collection.layout, collection.taxonomy.name) == ("PAD-UFES-20", "pad-ufes-20")
    assert dx_of(collection) == {"PAT_8_15_820": "nev", "PAT_46_881_939": "bcc"} and collection.set_aside.empty
    row = collection.table.set_index("image_id").loc["PAT_46_881_939"]
    assert (row["sex"], row["localization"], row["age"], row["dx_type"]) == ("female", "neck", 55, "histo")
    assert row["patient_id"] == "PAT_46" and row["image_type"] == "clinical"


def test_bcn20000(tmp_path: Path) -> None:
    header = "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split"
    draw(tmp_path / "BCN_20k_train" / "bcn_20k_train", "BCN_0000000001.jpg", "BCN_0000000003.jpg")
    draw(tmp_path / "BCN_20k_test" / "bcn_20k_test", "BCN_0000000009.jpg", "BCN_0000000010.jpg")
    write(
        tmp_path / "bcn_20k_train.csv",
        header,
        "BCN_0000000001.jpg,55.0,anterior torso,MEL,BCN_0003884,2012-05-16,male,train",
        "BCN_0000000003.jpg,50.0,anterior torso,SCC,BCN_0000019,2015-07-09,female,train",
    )
    write(
        tmp_path / "bcn_20k_test.csv",
        header,
        "BCN_0000000009.jpg,55.0,,OOD,BCN_0003885,2012-05-16,male,test",
        "BCN_0000000010.jpg,,,NV,,2012-05-16,male,test",
    )
    collection = read_collection(tmp_path)
    assert dx_of(collection) == {"BCN_0000000001": "mel", "BCN_0000000003": "scc", "BCN_0000000010": "nv"}
    assert collection.taxonomy.name == "bcn20000" and list(collection.set_aside["image_id"]) == ["BCN_0000000009"]
    assert list(collection.table["official_part"]) == ["test", "train", "train"]


def derm7pt(folder: Path) -> None:
    draw(folder / "images" / "NEL", "Nel026.jpg", "NEL027.JPG", "NEL028.jpg", "NEL029.jpg")
    write(
        folder / "meta" / "meta.csv",
        "case_num,diagnosis,seven_point_score,pigment_network,streaks,pigmentation,regression_structures,dots_and_globules,"
        "blue_whitish_veil,vascular_structures,level_of_diagnostic_difficulty,elevation,location,sex,management,clinic,derm,case_id,"
        "notes",
        "1,basal cell carcinoma,0,absent,absent,absent,absent,absent,absent,arborizing,medium,nodular,abdomen,female,excision,"
        "NEL/NEL027.JPG,NEL/NEL026.jpg,,",
        "2,melanoma (less than 0.76 mm),1,absent,absent,absent,absent,absent,absent,absent,low,flat,back,male,excision,"
        "NEL/NEL029.jpg,NEL/NEL028.jpg,,",
    )
    write(folder / "meta" / "train_indexes.csv", "indexes", "1")
    write(folder / "meta" / "test_indexes.csv", "indexes", "0")


def test_derm7pt(tmp_path: Path) -> None:
    derm7pt(tmp_path)
    collection = read_collection(tmp_path)
    assert dx_of(collection) == {"NEL026": "bcc", "NEL028": "mel"} and collection.taxonomy.name == "derm7pt"
    assert list(collection.set_aside["reason"]) == ["image type clinical, not dermoscopic"] * 2
    assert list(collection.table["official_part"]) == ["test", "train"]
    assert [Path(path).name for path in collection.table["path"]] == ["Nel026.jpg", "NEL028.jpg"]
    assert "image-unlisted" not in kinds(collection) and "table-unused" not in kinds(collection)
    assert len(read_collection(tmp_path, image_types=("clinical", "dermoscopic")).table) == 4
    write(tmp_path / "meta" / "test_indexes.csv", "indexes", "2")
    with pytest.raises(UsageError, match=r"test_indexes.csv, row 2: '2' is no row of meta.csv, which has 2"):
        read_collection(tmp_path)


def test_hugging_face_jsonl(tmp_path: Path) -> None:
    for part, names in {"train": ("a", "b"), "test": ("c",)}.items():
        draw(tmp_path / part, *(f"{name}.jpg" for name in names))
        rows = [json.dumps({"file_name": f"{name}.jpg", "label": "melanoma", "age": 40.0}) for name in names]
        write(tmp_path / part / "metadata.jsonl", *rows)
    collection = read_collection(tmp_path)
    assert dx_of(collection) == {"a": "mel", "b": "mel", "c": "mel"} and set(collection.table["age"]) == {40.0}
    assert sorted(collection.table["official_part"]) == ["test", "train", "train"]
    write(tmp_path / "test" / "metadata.jsonl", '{"file_name": "c.jpg"')
    with pytest.raises(UsageError, match=r"metadata.jsonl, row 1: no JSON"):
        read_collection(tmp_path)


def parquet(path: Path, images: Sequence[bytes | None], labels: Sequence[object], **metadata: bytes) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [{"bytes": data, "path": f"img{n}.jpg"} for n, data in enumerate(images)]
    table = pa.table({"image": pa.array(values, kind), "label": pa.array(labels)})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata(metadata), path, row_group_size=2)
    return path


def test_parquet_with_labels_as_numbers_that_have_names(tmp_path: Path) -> None:
    names = {"info": {"features": {"label": {"names": ["nevus", "melanoma"], "_type": "ClassLabel"}}}}
    path = parquet(
        tmp_path / "data" / "train-00000-of-00001.parquet",
        [jpeg(n) for n in range(4)] + [b"no image"],
        [0, 1, 0, 1, 0],
        huggingface=json.dumps(names).encode(),
    )
    collection = read_collection(tmp_path)
    assert list(collection.table["dx"]) == ["nv", "mel", "nv", "mel", "nv"]
    images = list(zip(collection.table["image_id"], collection.table["path"], strict=True))
    facts = decode_images(images, height=16, width=16, crop="centre", cache_dir=tmp_path / "cache").facts
    assert list(facts["error"][:4]) == [""] * 4 and "is no image" in facts["error"][4]
    np.testing.assert_array_equal(
        read_image(Path(f"{path}::image/3"), 16, 16, "centre"), read_image(jpeg(3), 16, 16, "centre")
    )
    parquet(path, [jpeg(0), None], [0, 1], huggingface=json.dumps(names).encode())
    collection = read_collection(tmp_path)
    images = list(zip(collection.table["image_id"], collection.table["path"], strict=True))
    facts = decode_images(images, height=16, width=16, crop="centre", cache_dir=tmp_path / "cache").facts
    assert "row 2 of train-00000-of-00001.parquet has no bytes of an image" in facts["error"][1]


def test_numbers_without_names(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", [jpeg(0), jpeg(1)], [3, 5])
    with pytest.raises(UsageError, match=r"'3' \(1, first: row 1\).* numbers without names: .*--taxonomy FILE.toml"):
        read_collection(tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1 but cut")
    with pytest.raises(UsageError, match="train.parquet is no Parquet file"):
        read_collection(tmp_path)


def test_folders_of_ones_own_names(tmp_path: Path) -> None:
    for name in ("zoon", "pityriasis", "wart", "eczema"):
        draw(tmp_path / "data" / name, f"{name}1.jpg", f"{name}2.jpg")
    with pytest.raises(UsageError, match=r"folders are .*wart \(2\).*--write-taxonomy FILE.toml"):
        read_collection(tmp_path / "data")
    draw(tmp_path / "mixed" / "nevus", "a.jpg")
    draw(tmp_path / "mixed" / "wart", "b.jpg")
    with pytest.raises(UsageError, match=r"unknown diagnosis 'wart' .*--write-taxonomy FILE.toml"):
        read_collection(tmp_path / "mixed")
    file = write(
        tmp_path / "mine.toml",
        'name = "mine"',
        *(
            f'[[diagnosis]]\ndx = "{name}"\nis_malignant = {str(name == "zoon").lower()}'
            for name in ("zoon", "pityriasis")
        ),
        '[[diagnosis]]\ndx = "wart"\nis_malignant = false\nsynonyms = ["eczema"]',
    )
    collection = read_collection(tmp_path / "data", read_taxonomy(file))
    assert sorted(collection.table["dx"]) == ["pityriasis"] * 2 + ["wart"] * 4 + ["zoon"] * 2
    assert "folders-joined" in kinds(collection)


def test_a_drafted_taxonomy_is_refused_until_the_user_has_said_what_is_malignant(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, file = tmp_path / "data", tmp_path / "mine.toml"
    rng = np.random.default_rng(0)
    for name in ("Zoon", "pityriasis rosea", "wart", "wart!"):
        (data / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(rng.integers(0, 255, (80, 80, 3), np.uint8)).save(data / name / f"{name}{number}.png")
    assert main(["check", str(data)]) == 2 and "--write-taxonomy FILE.toml" in capfd.readouterr().err
    assert main(["check", str(data), "--write-taxonomy", str(file)]) == 0
    assert "4 diagnoses" in capfd.readouterr().out
    assert main(["check", str(data), "--taxonomy", str(file)]) == 2
    assert "does not say whether it counts as malignant" in capfd.readouterr().err
    file.write_text(file.read_text().replace("# is_malignant = true or false?", "is_malignant = true #"))
    assert read_taxonomy(file).dx == ("zoon", "pityriasis-rosea", "wart", "wart-4")
    assert main(["check", str(data), "--taxonomy", str(file)]) == 0
    assert "8 images kept" in capfd.readouterr().out
    assert (
        main(["check", str(data), "--write-taxonomy", str(file)]) == 2 and "is there already" in capfd.readouterr().err
    )
    assert main(["check", str(data), "--write-taxonomy", str(tmp_path / "a.txt")]) == 2
    assert main(["check", str(tmp_path / "none"), "--write-taxonomy", str(tmp_path / "b.toml")]) == 2
    assert main(["check", str(data), "--image-type", "photo"]) == 2 and "none of dermoscopic" in capfd.readouterr().err


def test_official_parts_are_a_split_by_name(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for dx in ("mel", "nv"):
            draw(tmp_path / part / dx, *(f"{part}-{dx}{number}.png" for number in range(6)))
    collection = read_collection(tmp_path)
    table = collection.table.assign(group=collection.table["lesion_id"])
    parts = split(table, SplitChoice(name="official"), collection.taxonomy, seed=0)
    assert set(table["image_id"][parts == "test"]) == {f"test-{dx}{n}" for dx in ("mel", "nv") for n in range(6)}
    assert (parts == "validation").sum() == 2 and set(table["dx"][parts == "validation"]) == {"mel", "nv"}
    assert parts.tolist() == split(table, SplitChoice(name="official"), collection.taxonomy, seed=0).tolist()
    with pytest.raises(UsageError, match="and the data have no train and no test"):
        split(table.drop(columns="official_part"), SplitChoice(name="official"), collection.taxonomy, seed=0)
    some = table.assign(official_part=table["official_part"].where(table["image_id"] != "test-nv0", "unknown"))
    with pytest.raises(UsageError, match="finds no part for 1 images: test-nv0"):
        split(some, SplitChoice(name="official"), collection.taxonomy, seed=0)


def test_a_folder_that_no_reader_knows_names_the_nearest(tmp_path: Path) -> None:
    draw(tmp_path, "PAT_1.png")
    write(tmp_path / "metadata.csv", "patient_id,img_id,diagnostic,region", "PAT_1,PAT_1.png,NEV,ARM")
    with pytest.raises(UsageError, match=r"nearest layout is that of PAD-UFES-20, .*; missing are lesion_id\."):
        read_collection(tmp_path)


def test_all_faults_of_a_table_are_listed_together(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{name}.jpg" for name in "abcdef"))
    write(
        tmp_path / "metadata.csv", "image_id,lesion_id,dx,patient_id",
        "a,L1,nv,P1", "b,L1,mel,P1", "c,L2,nv,P1", "d,L2,nv,P2", "e,L3,kaposi,P3", "f,,nv,P4",
    )  # fmt: skip
    with pytest.raises(UsageError) as caught:
        read_collection(tmp_path)
    text = str(caught.value)
    assert text.startswith("4 faults:\n") and "unknown diagnosis 'kaposi' (1, first: row 6)" in text
    assert "lesion 'L1' has two diagnoses, nv (row 2) and mel (row 3)" in text
    assert "lesion 'L2' has two patients, P1 (row 4) and P2 (row 5)" in text and "row 7: lesion_id is ''" in text


def test_fitzpatrick17k_is_read_once_mended_as_the_docs_say(tmp_path: Path) -> None:
    draw(tmp_path, "5e82.jpg", "d2ba.jpg")
    header = "md5hash,fitzpatrick_scale,label,nine_partition_label,three_partition_label,url"
    rows = (
        "5e82,3,melanoma,malignant melanoma,malignant,http",
        "d2ba,2,seborrheic keratosis,benign epidermal,benign,http",
    )
    path = write(tmp_path / "fitzpatrick17k.csv", header, *rows)
    with pytest.raises(UsageError, match="Rename the column 'md5hash' to image_id"):
        read_collection(tmp_path)
    mended = [f"{row},{row[:4]}" for row in rows]
    write(path, header.replace("md5hash", "image_id").replace("label,nine", "dx,nine") + ",lesion_id", *mended)
    assert dx_of(read_collection(tmp_path)) == {"5e82": "mel", "d2ba": "bkl"}


@pytest.mark.parametrize("name", taxonomy_names())
def test_every_taxonomy_is_documented_with_its_diagnoses(name: str) -> None:
    text = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| `") and f"`{name}`" in line.split(" | ")[0])
    taxonomy = read_taxonomy(name)
    assert set(row.split(" | ")[1].split()) == set(taxonomy.dx) and "malignant" in taxonomy.summary


# The cases and the real data


@pytest.mark.parametrize(
    ("case", "taxonomy", "counts", "set_aside"),
    [
        ("01-isic-archive-ham10000/data", "ham10000", dict(nv=2, akiec=2, vasc=2, mel=1, bcc=1, bkl=1, df=1), 0),
        ("04-milk10k/data", "milk10k", dict.fromkeys(("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc"), 2), 14),
        ("05-isic2024/hdf5-only", "isic2024", dict(benign=2, malignant=2), 0),
        ("05-isic2024/with-jpg", "isic2024", dict(benign=2, malignant=2), 0),
        ("07-binary-truth/isic2020", "isic2020", dict(benign=4, mel=1), 0),
        ("07-binary-truth/isic2017", "isic2017", dict(nv=2, mel=1, sk=1), 0),
        ("07-binary-truth/folders", "isic2024", dict(benign=6, malignant=6), 0),
        ("08-hf-imagefolder/splits", "ham10000", dict(nv=5, mel=5, bkl=5), 0),
        ("08-hf-imagefolder/paths", "ham10000", dict(nv=2, mel=2), 0),
        ("09-hf-parquet/data", "ham10000", dict(nv=2, mel=2, bkl=2), 0),
        ("15-augmented-copies/data", "ham10000", dict(bcc=18, mel=18, nv=18), 0),
        ("19-kaggle-nine-classes/data", "isic2019", dict(bkl=4, ak=2, bcc=2, df=2, mel=2, nv=2, scc=2, vasc=2), 0),
    ],
)
def test_cases_are_read_to_the_right_value(
    cases: Path, case: str, taxonomy: str, counts: dict[str, int], set_aside: int
) -> None:
    collection = read_collection(cases / case)
    assert collection.taxonomy.name == taxonomy and len(collection.set_aside) == set_aside
    assert collection.table["dx"].value_counts().to_dict() == counts and (collection.table["path"] != "").all()


def test_truth_of_ham10000_without_lesions_names_the_table_that_has_them(cases: Path) -> None:
    with pytest.raises(UsageError, match="of HAM10000, HAM10000_metadata.csv has the lesion_id of these very images"):
        read_collection(cases / "10-groundtruth-and-masks" / "data")


def test_the_real_milk10k(milk10k: Path) -> None:
    """Counts as in the copy's README; the clinical half of the rows has no image there and is set aside for its type."""
    collection = read_collection(milk10k)
    counts = dict(
        bcc=1399, nv=575, mel=333, bkl=326, sccka=252, akiec=166, df=36, vasc=33, inf=27, ben_oth=24, mal_oth=5
    )
    assert collection.table["dx"].value_counts().to_dict() == counts and (collection.table["path"] != "").all()
    assert collection.table["lesion_id"].nunique() == len(collection.table) == len(collection.set_aside) == 3176
    assert set(collection.table["dx_type"]) == {"histo", "single contributor clinical assessment"}
    by_name = read_collection(milk10k, read_taxonomy("isic2024"))
    assert by_name.table["dx"].value_counts().to_dict() == {"malignant": 2083, "benign": 1021}
    aside = by_name.set_aside["reason"].value_counts().to_dict()
    assert aside["no diagnosis of the set: Solar or actinic keratosis"] == 72  # the archive calls it indeterminate


def test_a_file_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", "a.jpg")
    draw(tmp_path / "data", "b.jpg")
    rows = [json.dumps({"file_name": str(tmp_path / "elsewhere" / "a.jpg"), "label": "melanoma"})]
    rows.append(json.dumps({"file_name": "b.jpg", "label": "melanoma"}))
    write(tmp_path / "data" / "metadata.jsonl", *rows)
    table = read_collection(tmp_path / "data").table.set_index("image_id")
    assert table["path"]["b"].endswith("b.jpg") and table["path"]["a"] == ""


def test_folders_and_files_with_the_mark_in_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "a::b"
    parquet(folder / "train.parquet", [jpeg(0), jpeg(1)], ["nv", "mel"])
    collection = read_collection(folder)
    images = list(zip(collection.table["image_id"], collection.table["path"], strict=True))
    (folder / "c::d.jpg").write_bytes(jpeg(2))
    images.append(("c::d", str(folder / "c::d.jpg")))
    found = decode_images(images, height=16, width=16, crop="centre", cache_dir=tmp_path / "cache")
    assert list(found.facts["error"]) == [""] * 3
    expected = [read_drafted(jpeg(number), 16, 16, "centre")[0] for number in range(3)]
    np.testing.assert_array_equal(found.pixels, expected)
