"""Several folders read as one: ids are told apart, and what is one lesion is kept on one side of a split."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab.cli import main
from lesionlab.data.clean import Cleaned
from lesionlab.data.layouts.findings import Finding
from lesionlab.data.layouts.joined import _united, read_data
from lesionlab.data.layouts.recognise import Collection
from lesionlab.data.phantom.write import write_phantoms
from lesionlab.data.split import split
from lesionlab.data.split_proof import prove
from lesionlab.errors import UsageError
from lesionlab.lifecycle.prepare import inspect
from lesionlab.recipe import SplitChoice
from lesionlab.taxonomy import from_facts, read_taxonomy, taxonomy_names


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(seed).integers(0, 255, (24, 24, 3)).astype(np.uint8)
    Image.fromarray(cells).resize((96, 96)).save(path)


def folder(path: Path, rows: list[tuple[str, str, str, int]], columns: str = "") -> Path:
    """Rows are image_id, lesion_id, dx, and the seed of the picture."""
    for image_id, _, _, seed in rows:
        draw(path / f"{image_id}.png", seed)
    lines = [f"{image_id},{lesion},{dx}{columns and ',' + columns}" for image_id, lesion, dx, _ in rows]
    header = "image_id,lesion_id,dx" + (",dataset" if columns else "")
    (path / "metadata.csv").write_text("\n".join([header, *lines]) + "\n")
    return path


def by_kind(of: Collection | Cleaned) -> dict[str, Finding]:
    return {found.kind: found for found in of.findings}


A_ROWS = [("p1", "L1", "nv", 1), ("p2", "L1", "nv", 2), ("p3", "L2", "mel", 3), ("p4", "L3", "bkl", 4)]


def test_one_folder_is_read_as_ever(tmp_path: Path) -> None:
    one = folder(tmp_path / "a", A_ROWS)
    collection = read_data(one)
    assert collection.data == one and collection.same == () and list(collection.table["dataset"]) == ["unknown"] * 4


def test_ids_that_two_folders_have_are_told_apart_and_kept_together(tmp_path: Path) -> None:
    one = folder(tmp_path / "a", A_ROWS)
    other = folder(tmp_path / "b", [("p1", "X1", "nv", 11), ("q2", "L2", "mel", 12), ("q3", "X3", "df", 13)])
    collection = read_data((one, other))
    assert collection.data == (one, other) and collection.sizes == (4, 3)
    assert list(collection.table["image_id"]) == ["p1", "p2", "p3", "p4", "b-p1", "q2", "q3"]
    assert list(collection.table["lesion_id"]) == ["L1", "L1", "L2", "L3", "X1", "b-L2", "X3"]
    assert list(collection.table["dataset"]) == ["a"] * 4 + ["b"] * 3
    shared = by_kind(collection)["image-shared"]
    assert shared.items == ("b-p1",) and "in 1 of 1 images the diagnosis agrees: taken for the same" in shared.decision
    assert by_kind(collection)["lesion-shared"].items == ("b-L2",)
    absent = [item for found in collection.findings if found.kind == "columns-absent" for item in found.items]
    assert {"a: dx_type", "b: dx_type"} <= set(absent)
    cleaned = inspect(collection)
    groups = cleaned.table.groupby("group")["image_id"].agg(list).tolist()
    assert sorted(groups) == [["p1", "p2", "b-p1"], ["p3", "q2"], ["p4"], ["q3"]]
    assert by_kind(cleaned)["lesion-common"].items == ("L1 ~ X1", "L2 ~ b-L2")


def test_numbers_that_two_folders_give_to_other_pictures_join_nothing(tmp_path: Path) -> None:
    one = folder(tmp_path / "a", A_ROWS)
    other = folder(tmp_path / "b", [(name, lesion, "nv", seed + 20) for name, lesion, _, seed in A_ROWS])
    collection = read_data((one, other))
    decision = by_kind(collection)["image-shared"].decision
    assert "in 2 of 4 images the diagnosis agrees: taken for numbers of other pictures" in decision
    cleaned = inspect(collection)
    assert collection.same == () and cleaned.table["group"].nunique() == 6 and "lesion-common" not in by_kind(cleaned)


def test_the_same_picture_in_two_folders_is_one_lesion(tmp_path: Path) -> None:
    one = folder(tmp_path / "a", A_ROWS)
    other = folder(tmp_path / "b", [("q1", "X1", "nv", 1), ("q2", "X1", "nv", 12), ("q3", "X3", "nv", 13)])
    cleaned = inspect(read_data((one, other)))
    assert cleaned.set_aside.to_dict("records") == [{"image_id": "q1", "reason": "the same file as p1", "group": "L1"}]
    assert by_kind(cleaned)["lesion-common"].items == ("L1 ~ X1",)
    assert cleaned.table.set_index("image_id")["group"][["p1", "p2", "q2"]].nunique() == 1


def test_patients_of_one_id_are_one_patient(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 10), ("c", 20)):
        folder(tmp_path / name, [(f"{name}1", f"{name}1", "nv", seed), (f"{name}2", f"{name}2", "mel", seed + 1)])
    for name in ("a", "b"):
        table = pd.read_csv(tmp_path / name / "metadata.csv")
        table.assign(patient_id=["P1", f"P-{name}"]).to_csv(tmp_path / name / "metadata.csv", index=False)
    cleaned = inspect(read_data((tmp_path / "a", tmp_path / "b", tmp_path / "c")))
    group = cleaned.table.set_index("image_id")["group"]
    assert group["a1"] == group["b1"] and group.nunique() == 5
    assert list(cleaned.table["patient_id"]) == ["P1", "P-a", "P1", "P-b", "unknown", "unknown"]


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    paths = tuple(folder(tmp_path / parent / "data", A_ROWS) for parent in ("x", "y"))
    assert list(read_data(paths).table["image_id"][4:]) == [f"y-data-p{number}" for number in range(1, 5)]


@pytest.mark.parametrize(
    ("inner", "words"), [("a", "is given twice. Give each folder once"), ("a/inner", "one lies in the other")]
)
def test_a_folder_is_read_once(tmp_path: Path, inner: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = folder(tmp_path / "a", A_ROWS)
    folder(one / "inner", [("q1", "X1", "nv", 11)])
    with pytest.raises(UsageError, match=words):
        read_data((one, tmp_path / inner))
    assert main(["check", str(one), str(tmp_path / inner)]) == 2
    assert words in capsys.readouterr().err
    with pytest.raises(UsageError, match="Give a folder of images"):
        read_data(())


def test_a_made_id_that_is_taken_is_refused(tmp_path: Path) -> None:
    one = folder(tmp_path / "a", [("p1", "L1", "nv", 1), ("b-p1", "L2", "mel", 2)])
    other = folder(tmp_path / "b", [("p1", "X1", "nv", 3)])
    with pytest.raises(UsageError, match="'b-p1' would stand twice among the folders: rename the folder b"):
        read_data((one, other))


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of generated lesions; the second holds scaled copies of 10 images of the first, under other ids."""
    root = tmp_path_factory.mktemp("halves")
    for name, seed, lesions in (("first", 1, 42), ("second", 2, 28)):
        write_phantoms(root / name, lesions=lesions, seed=seed, size_px=(225, 300))
    first, second = (read_data(root / name) for name in ("first", "second"))
    table_path = next((root / "second").glob("*etadata*"))
    table = pd.read_csv(table_path, dtype=str, keep_default_na=False)
    images = Path(second.table["path"].iloc[0]).parent
    for number, row in enumerate(first.table.drop_duplicates("lesion_id").head(10).itertuples()):
        Image.open(str(row.path)).resize((240, 180)).save(images / f"COPY_{number}.jpg", quality=90)
        like = table.iloc[:1].assign(image_id=f"COPY_{number}", lesion_id=f"COPY_{number}", dx=row.dx)
        table = pd.concat([table, like])
    table.to_csv(table_path, index=False)
    return root / "first", root / "second"


@pytest.fixture(scope="module")
def inspected(halves: tuple[Path, Path]) -> pd.DataFrame:
    """What is kept of both."""
    return inspect(read_data(halves)).table


@pytest.mark.slow
def test_no_lesion_of_two_folders_lies_on_two_sides(halves: tuple[Path, Path], inspected: pd.DataFrame) -> None:
    collection, table = read_data(halves), inspected
    is_copy = table["image_id"].str.startswith("COPY_")
    joined = table[is_copy]["group"].isin(table[~is_copy]["group"])
    assert joined.sum() == is_copy.sum() == 10
    for seed in range(3):
        parts = split(table, SplitChoice(), collection.taxonomy, seed=seed)
        assert not prove(table, parts).is_leaking
        assert set(parts) == {"train", "validation", "test"}


@pytest.mark.slow
def test_a_folder_can_be_held_out(halves: tuple[Path, Path], inspected: pd.DataFrame) -> None:
    """Trained on one folder, tested on the other, with what they have in common on the side of the test."""
    collection, table = read_data(halves), inspected
    second = table["row"] >= collection.sizes[0]
    table = table.assign(dataset=np.where(second, "second", "first"))
    parts = split(table, SplitChoice(name="source", source="second"), collection.taxonomy, seed=0)
    assert (parts[second] == "test").all() and not prove(table, parts).is_leaking
    assert (parts[~second] == "test").sum() == table[~second]["group"].isin(table[second]["group"]).sum() < 20


@pytest.mark.slow
def test_check_of_two_folders_says_what_they_have_in_common(
    halves: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.csv"
    assert main(["check", *map(str, halves), "--pairs", str(pairs)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "In common: 10 lesions, by" in said and "a split leaves each on one side" in said
    written = pd.read_csv(pairs, dtype=str)
    assert {f"COPY_{number}" for number in range(10)} <= set(written["image_id_b"])
    assert main(["check", *map(str, halves), "--pairs", str(tmp_path / "no" / "pairs.csv")]) == 2
    assert "Name another file with --pairs" in capsys.readouterr().err


def test_folders_of_two_sets_of_diagnoses_give_the_diagnoses_of_both(tmp_path: Path) -> None:
    """HAM10000's seven, and a folder of MILK10k's: eleven in all, no diagnosis lost."""
    one = folder(tmp_path / "a", A_ROWS)
    other = tmp_path / "b"
    for number in range(4):
        draw(other / "MILK10k_Training_Input" / f"IL_{number}" / f"ISIC_{number}.jpg", 30 + number)
    columns = "AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC".split(",")
    truth = [
        ",".join([f"IL_{n}", *("1.0" if c == dx else "0.0" for c in columns)])
        for n, dx in enumerate(("INF", "MEL", "SCCKA", "NV"))
    ]
    (other / "MILK10k_Training_GroundTruth.csv").write_text(
        "\n".join([",".join(["lesion_id", *columns]), *truth]) + "\n"
    )
    rows = [f"IL_{n},dermoscopic,ISIC_{n},50,male,3,trunk" for n in range(4)]
    header = "lesion_id,image_type,isic_id,age_approx,sex,skin_tone_class,site"
    (other / "MILK10k_Training_Metadata.csv").write_text("\n".join([header, *rows]) + "\n")
    collection = read_data((one, other))
    assert len(collection.table) == 8
    assert set(collection.taxonomy.dx) == {code.lower() for code in columns}
    assert set(collection.table["dx"]) <= set(collection.taxonomy.dx)
    assert collection.taxonomy.dx[: len(read_data(one).taxonomy.dx)] == read_data(one).taxonomy.dx


@pytest.mark.parametrize("pair", list(permutations(taxonomy_names(), 2)), ids="-".join)
def test_any_two_sets_of_diagnoses_are_one_set_or_refused(pair: tuple[str, str]) -> None:
    """What a model file would refuse is refused before anything is trained."""
    sets = [read_taxonomy(name) for name in pair]
    try:
        united = _united(sets)
    except UsageError as error:
        assert "Give one set for all of them by --taxonomy" in str(error)
        assert pair not in {("ham10000", "milk10k"), ("milk10k", "ham10000"), ("ham10000", "isic2020")}
        return
    assert from_facts(united.to_facts(), "the set of both") == united
    assert set(united.dx) == {*sets[0].dx, *sets[1].dx}
