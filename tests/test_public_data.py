"""The table of public data sets in docs/commands.md: small tables with their columns are refused, mended as it says, and read."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders import draw
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.errors import UsageError

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Public:
    """A data set: its table, what reading it says at first, how the docs mend it, and what is read then."""

    text: str
    refused: tuple[str, ...]
    mend: Callable[[Rows], Rows]
    read: dict[str, str]


def renamed(rows: Rows, **names: str) -> Rows:
    return [{names.get(name, name): value for name, value in row.items()} for row in rows]


def without(rows: Rows, *diagnoses: str) -> Rows:
    return [row for row in rows if row["dx"] not in diagnoses]


def mend_derm7pt(rows: Rows) -> Rows:
    mended = renamed(rows, derm="image_id", diagnosis="dx", case_num="lesion_id")
    for row in mended:
        row["image_id"] = row["image_id"].split("/")[-1]
        row["dx"] = "nevus" if row["dx"].endswith("nevus") else row["dx"]
        row["dx"] = "melanoma" if row["dx"].startswith("melanoma (") else row["dx"]
    return without(mended, "lentigo")


def mend_isic(rows: Rows) -> Rows:
    mended = renamed(rows, diagnosis_3="dx")
    return [row | {"lesion_id": row["lesion_id"] or row["isic_id"]} for row in without(mended, "")]


def mend_fitzpatrick(rows: Rows) -> Rows:
    mended = renamed(rows, md5hash="image_id", label="dx")
    return [row | {"lesion_id": row["image_id"]} for row in without(mended, "squamous cell carcinoma")]


PUBLIC = {
    "ISIC archive": Public(
        "isic_id,attribution,age_approx,anatom_site_general,benign_malignant,diagnosis_1,diagnosis_2,diagnosis_3,"
        "diagnosis_confirm_type,lesion_id,sex\n"
        "ISIC_1,ViDIR,45,posterior torso,benign,Benign,Benign melanocytic proliferations,Nevus,histopathology,IL_1,male\n"
        "ISIC_2,ViDIR,60,head/neck,malignant,Malignant,Malignant melanocytic proliferations (Melanoma),"
        "Melanoma Invasive,histopathology,,female\n"
        "ISIC_3,ViDIR,60,head/neck,benign,Benign,Benign epidermal proliferations,Seborrheic keratosis,,,\n"
        "ISIC_4,ViDIR,60,,,Indeterminate,,,,,\n",
        ("Rename the column 'diagnosis_3' to dx", "lesion_id is ''", "'' (1, first: row 5)"),
        mend_isic,
        {"ISIC_1": "nv", "ISIC_2": "mel", "ISIC_3": "bkl"},
    ),
    "BCN20000": Public(
        "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split\n"
        "BCN_0000000001.jpg,55,anterior torso,MEL,BCN_1,2012-05-16,male,train\n"
        "BCN_0000000002.jpg,50,head/neck,SCC,BCN_2,2018-02-23,female,train\n"
        "BCN_0000000003.jpg,60,head/neck,AK,BCN_3,2018-02-23,female,train\n",
        (
            "Rename the column 'bcn_filename' to image_id",
            "Rename the column 'diagnosis' to dx",
            "'SCC' (1, first: row 3)",
        ),
        lambda rows: without(renamed(rows, bcn_filename="image_id", diagnosis="dx"), "SCC"),
        {"BCN_0000000001": "mel", "BCN_0000000003": "akiec"},
    ),
    "PAD-UFES-20": Public(
        "patient_id,lesion_id,smoke,age,fitspatrick,region,itch,diagnostic,img_id,biopsed\n"
        "PAT_1,1,False,43,2,NECK,False,NEV,PAT_1_1_1.png,True\n"
        "PAT_2,2,False,63,2,NOSE,True,ACK,PAT_2_2_2.png,False\n"
        "PAT_3,3,False,63,2,NOSE,True,SEK,PAT_3_3_3.png,False\n"
        "PAT_4,4,False,63,2,NOSE,True,SCC,PAT_4_4_4.png,True\n",
        ("Rename the column 'img_id' to image_id", "Rename the column 'diagnostic' to dx", "'SCC' (1, first: row 5)"),
        lambda rows: without(renamed(rows, img_id="image_id", diagnostic="dx"), "SCC"),
        {"PAT_1_1_1": "nv", "PAT_2_2_2": "akiec", "PAT_3_3_3": "bkl"},
    ),
    "Derm7pt": Public(
        "case_num,diagnosis,seven_point_score,location,sex,clinic,derm\n"
        "1,basal cell carcinoma,0,abdomen,female,NEL/NEL025.JPG,NEL/Nel026.jpg\n"
        "2,clark nevus,0,back,male,NEL/NEL027.JPG,NEL/Nel028.jpg\n"
        "3,melanoma (in situ),5,back,male,NEL/NEL029.JPG,NEL/Nel030.jpg\n"
        "4,lentigo,0,back,male,NEL/NEL031.JPG,NEL/Nel032.jpg\n",
        ("has no column 'image_id'; it has case_num, diagnosis", "Rename the column 'diagnosis' to dx"),
        mend_derm7pt,
        {"Nel026": "bcc", "Nel028": "nv", "Nel030": "mel"},
    ),
    "Fitzpatrick17k": Public(
        "md5hash,fitzpatrick_scale,label,nine_partition_label,three_partition_label,url\n"
        "5e82,3,melanoma,malignant melanoma,malignant,http\n"
        "fa29,1,squamous cell carcinoma,malignant epidermal,malignant,http\n"
        "d2ba,2,seborrheic keratosis,benign epidermal,benign,http\n",
        ("Rename the column 'md5hash' to image_id", "Rename the column 'label' to dx", "no column 'lesion_id'"),
        mend_fitzpatrick,
        {"5e82": "mel", "d2ba": "bkl"},
    ),
}


def as_text(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def messages(folder: Path, rows: Rows) -> str:
    """What is said one after the other when a person renames what it asks to rename."""
    said = []
    for names in ({}, {"bcn_filename": "image_id", "img_id": "image_id", "md5hash": "image_id", "derm": "image_id"}):
        for more in ({}, {"diagnosis": "dx", "diagnosis_3": "dx", "diagnostic": "dx", "label": "dx"}):
            for lesions in ("", "own"):
                given = [row | ({"lesion_id": row.get("lesion_id") or lesions} if lesions else {}) for row in rows]
                (folder / "table.csv").write_text(as_text(renamed(given, **names, **more)), encoding="utf-8")
                with pytest.raises(UsageError) as caught:
                    read_collection(folder)
                said.append(str(caught.value))
    return "\n".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_table_is_refused_with_its_remedy_and_then_read(name: str, tmp_path: Path) -> None:
    public = PUBLIC[name]
    rows = list(csv.DictReader(io.StringIO(public.text)))
    draw(tmp_path, *public.read)
    said = messages(tmp_path, rows)
    assert all(message in said for message in public.refused), said
    (tmp_path / "table.csv").write_text(as_text(public.mend(rows)), encoding="utf-8")
    table = read_collection(tmp_path).table
    assert dict(zip(table["image_id"], table["dx"], strict=True)) == public.read


def test_isic_2019_with_its_metadata_as_groupings(tmp_path: Path) -> None:
    draw(tmp_path, "ISIC_1", "ISIC_2")
    truth = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\nISIC_1,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
    (tmp_path / "ISIC_2019_Training_GroundTruth.csv").write_text(
        truth + truth.splitlines()[1].replace("_1", "_2") + "\n"
    )
    header = "image,age_approx,anatom_site_general,lesion_id,sex\n"
    (tmp_path / "ISIC_2019_Training_Metadata.csv").write_text(f"{header}ISIC_1,55,,MSK_1,\nISIC_2,55,,,\n")
    with pytest.raises(
        UsageError, match=r"2 images have no lesion .* a copy of ISIC_2019_Training_Metadata.csv"
    ) as caught:
        read_collection(tmp_path)
    assert "ISIC2018" not in str(caught.value)
    (tmp_path / "ISIC_2019_Training_LesionGroupings.csv").write_text(f"{header}ISIC_1,,,MSK_1,\nISIC_2,,,ISIC_2,\n")
    table = read_collection(tmp_path).table
    assert table[["lesion_id", "dx"]].values.tolist() == [["MSK_1", "akiec"], ["ISIC_2", "akiec"]]
