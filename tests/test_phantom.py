"""Generated lesions: HAM10000's layout, the same bytes from the same seed, diagnoses to be learnt, not read off."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from conftest import MakeOnce
from lesionlab.data.phantom import write
from lesionlab.data.phantom.lesion import MIMICS, STRUCTURES, TRAITS
from lesionlab.data.phantom.structures import PAINTERS
from lesionlab.data.phantom.write import count_lesions, is_generated, write_phantoms
from lesionlab.errors import UsageError
from lesionlab.taxonomy import DX

SMALL = (60, 80)
COLUMNS = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]


@pytest.fixture(scope="module")
def folder(make_once: MakeOnce) -> Path:
    def write(out: Path) -> None:
        write_phantoms(out / "ham", lesions=360, seed=3, size_px=SMALL)

    return make_once("many-phantoms", write) / "ham"


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_layout_is_ham10000s(folder: Path, table: pd.DataFrame) -> None:
    assert list(table.columns) == COLUMNS
    assert sorted(p.name for p in folder.iterdir()) == ["HAM10000_images", "HAM10000_metadata.csv", "README.txt"]
    assert {p.stem for p in (folder / "HAM10000_images").glob("*.jpg")} == set(table.image_id)
    assert table.image_id.is_unique and table.image_id[0] == "PHANTOM_0000001" and table.lesion_id[0] == "PHL_0000001"
    assert not list(folder.parent.glob(".*"))


def test_lesions_have_one_diagnosis_and_several_of_them_several_images(table: pd.DataFrame) -> None:
    lesions = table.groupby("lesion_id")
    assert lesions.ngroups == 360
    for column in ("dx", "dx_type", "age", "sex", "localization", "dataset"):
        assert (lesions[column].nunique() == 1).all()
    images = lesions.size()
    assert images.between(1, 4).all() and 0.1 < (images > 1).mean() < 0.5


def test_patients_are_plausible(table: pd.DataFrame) -> None:
    ages = pd.to_numeric(table.age)
    assert ages.dropna().between(5, 85).all() and (ages.dropna() % 5 == 0).all()
    assert ages[table.dx == "nv"].mean() + 8 < ages[table.dx == "bcc"].mean()
    assert set(table.sex) <= {"male", "female", "unknown"}
    assert set(table.loc[table.dx.isin(["mel", "bcc", "akiec"]), "dx_type"]) == {"histo"}
    assert set(table.dataset) == {"generated_a", "generated_b", "generated_c"}


def test_a_few_ages_are_empty() -> None:
    rows = [row for views in write._rows(4000, 0) for row in views]
    empty = sum(row.age == "" for row in rows)
    assert 0.002 < empty / len(rows) < 0.012


def test_imbalance_is_that_of_the_real_set() -> None:
    images = Counter(row.dx for views in write._rows(7470, 0) for row in views)
    real = {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
    for dx, count in real.items():
        assert images[dx] / images.total() == pytest.approx(count / 10015, rel=0.15)


@given(st.integers(1, 2000))
@settings(max_examples=50)
def test_every_diagnosis_gets_enough_lesions(lesions: int) -> None:
    counts = count_lesions(lesions)
    assert list(counts) == list(DX) and sum(counts.values()) == lesions
    assert min(counts.values()) >= min(8, lesions // 7)
    assert max(counts.values()) == counts["nv"]


def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    one = write_phantoms(tmp_path / "one", lesions=14, seed=5, size_px=SMALL, workers=1)
    many = write_phantoms(tmp_path / "many", lesions=14, seed=5, size_px=SMALL, workers=4)
    assert content(one) == content(many)


def test_another_seed_gives_other_bytes(tmp_path: Path) -> None:
    one = content(write_phantoms(tmp_path / "one", lesions=7, seed=5, size_px=SMALL))
    other = content(write_phantoms(tmp_path / "other", lesions=7, seed=6, size_px=SMALL))
    images = [name for name in one if name.endswith(".jpg")]
    assert images and all(one[name] != other.get(name) for name in images)
    assert one["HAM10000_metadata.csv"] != other["HAM10000_metadata.csv"]


def test_images_of_a_lesion_differ_and_resemble_each_other(folder: Path, table: pd.DataFrame) -> None:
    def middle(image_id: str) -> np.ndarray:
        return np.asarray(Image.open(folder / "HAM10000_images" / f"{image_id}.jpg"), float)[20:40, 30:50].mean((0, 1))

    pairs = [ids[:2] for _, ids in table.groupby("lesion_id").image_id.apply(list).items() if len(ids) > 1]
    first, second = (np.array([middle(pair[side]) for pair in pairs]) for side in (0, 1))
    same = np.abs(first - second).mean()
    assert 0 < same < 0.5 * np.abs(first - np.roll(second, 1, axis=0)).mean()


def test_everything_says_that_it_is_generated(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    assert is_generated(table.image_id)
    assert table.image_id.str.startswith(write.IMAGE_ID_PREFIX).all()
    assert table.dataset.str.startswith("generated").all()
    assert "not patients" in (folder / "README.txt").read_text(encoding="utf-8")
    with Image.open(folder / "HAM10000_images" / "PHANTOM_0000001.jpg") as image:
        assert image.info["comment"] == b"generated by lesionlab, not a patient"
        assert image.getexif()[0x010E] == "generated by lesionlab, not a patient"


def test_other_images_are_not_generated() -> None:
    assert not is_generated([]) and not is_generated(["ISIC_0024306", "x"])
    assert is_generated(["ISIC_0024306", f"{write.IMAGE_ID_PREFIX}0000001"])  # a table made of both says so


@pytest.mark.parametrize("size_px", [(45, 60), (50, 50), (16, 17)])
def test_size_is_as_asked(tmp_path: Path, size_px: tuple[int, int]) -> None:
    folder = write_phantoms(tmp_path / "a", lesions=2, size_px=size_px)
    for path in (folder / "HAM10000_images").iterdir():
        with Image.open(path) as image:
            assert (image.mode, image.height, image.width) == ("RGB", *size_px)


def test_structures_scale_with_the_size() -> None:
    for dx in DX:
        seed, clinic = np.random.SeedSequence(4), write.CLINICS[0]
        large, small = (
            Image.fromarray(write._picture(dx, seed, 0, clinic, size)).resize((40, 30), Image.Resampling.BOX)
            for size in ((225, 300), (90, 120))
        )
        assert np.abs(np.asarray(large, float) - np.asarray(small, float)).mean() < 8


def test_tables_of_the_drawing_agree() -> None:
    assert list(STRUCTURES) == list(MIMICS) == list(write.EPIDEMIOLOGY) == list(DX)
    assert {name for shown in STRUCTURES.values() for name in shown} == set(PAINTERS)
    assert all(len(ranges) == len(DX) and all(low <= high for low, high in ranges) for ranges in TRAITS.values())
    assert sum(known.share for known in write.EPIDEMIOLOGY.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lesions": 0}, "0 generated lesions were asked for: give 1 or more"),
        ({"seed": -1}, "The seed is -1: give 0 or more"),
        ({"workers": 0}, "0 workers were asked for: give 1 or more"),
        ({"size_px": (450, 15)}, "An image of 450 x 15 px is too small to draw: 16 px is the least"),
    ],
)
def test_bad_numbers_are_named(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write_phantoms(tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())


def test_a_full_folder_or_a_file_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=f"{tmp_path} is not empty: generated lesions go into a folder that is absent"):
        write_phantoms(tmp_path, lesions=1, size_px=SMALL)
    with pytest.raises(UsageError, match="mine.txt is a file. Name a folder that is absent or empty"):
        write_phantoms(tmp_path / "mine.txt", lesions=1, size_px=SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    write_phantoms(tmp_path / "link", lesions=1, size_px=SMALL)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "empty" / "HAM10000_metadata.csv").is_file()


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(picture: np.ndarray) -> bytes:
        raise OSError("No space left on device")

    monkeypatch.setattr(write, "_jpeg", full)
    with pytest.raises(OSError, match="No space left"):
        write_phantoms(tmp_path / "a", lesions=9, size_px=SMALL)
    assert not list(tmp_path.iterdir())


def test_diagnoses_can_be_learnt_but_not_read_off(folder: Path, table: pd.DataFrame) -> None:
    features = np.array([_colours(folder / "HAM10000_images" / f"{i}.jpg") for i in table.image_id])
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    y_pred = cross_val_predict(model, features, table.dx, groups=table.lesion_id, cv=folds)
    assert 0.3 < balanced_accuracy_score(table.dx, y_pred) < 0.97


def _colours(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path).resize((32, 32)), float) / 255
    middle = pixels[8:24, 8:24]
    steps = [np.abs(np.diff(pixels, axis=axis)).mean((0, 1)) for axis in (0, 1)]
    return np.concatenate([*steps, *(f((0, 1)) for part in (pixels, middle) for f in (part.mean, part.std))])
