"""`lesionlab compare-data`: one source is taken for one, two for two, and lesions stay whole."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import lesionlab_here
from lesionlab.evaluation import drift
from lesionlab.evaluation.drift import changes, feature_shift


def pictures(folder: Path, n: int, *, seed: int, light: int = 0) -> Path:
    """Small pictures of one source; `light` is added to every pixel."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(n):
        shade = random.integers(60, 140, 3)
        pixels = np.clip(random.normal(shade + light, 10, (32, 40, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{number}.png")
    return folder


def energy_coefficient(a: np.ndarray, b: np.ndarray) -> float:
    """By its definition, image by image."""

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.linalg.norm(x[:, None] - y[None], axis=2).mean())

    return (2 * mean(a, b) - mean(a, a) - mean(b, b)) / (2 * mean(a, b))


def test_the_coefficient_is_that_of_its_definition() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(30, 6)), random.normal(size=(40, 6)) + 0.4
    found = feature_shift(a, b, (np.arange(30) // 2, np.arange(40)))
    assert found.coefficient == pytest.approx(energy_coefficient(a, b), abs=1e-6)
    assert found.lesions == (15, 40) and len(found.permuted) == drift.PERMUTATIONS


def test_lesions_of_many_images_do_not_make_one_source_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "PERMUTATIONS", 99)
    by_lesion, by_image = [], []
    for seed in range(10):
        random = np.random.default_rng(seed)
        sides = [
            np.repeat(random.normal(size=(20, 4)), 5, axis=0) + 0.05 * random.normal(size=(100, 4)) for _ in range(2)
        ]
        lesions = np.repeat(np.arange(20), 5)
        by_lesion.append(feature_shift(*sides, (lesions, lesions), seed=seed).p <= 0.05)
        by_image.append(feature_shift(*sides, (np.arange(100), np.arange(100)), seed=seed).p <= 0.05)
    assert sum(by_lesion) <= 2 < 7 < sum(by_image)  # image by image nearly all are called shifted


def test_changes_hold_together() -> None:
    random = np.random.default_rng(0)
    n = 200
    first = {"same": random.normal(size=n), "other": random.normal(size=n)}
    second = {"same": random.normal(size=n), "other": random.normal(size=n) + 1}
    same, other = changes(first, second, (np.arange(n), np.arange(n)))
    assert not same.is_clear and other.is_clear
    assert other.interval[0] < 1 < other.interval[1] and other.first == pytest.approx(first["other"].mean(), abs=1e-6)


def test_two_sources_are_told_from_one(tiny: Path, tmp_path: Path) -> None:
    a, b = pictures(tmp_path / "2024" / "jan", 30, seed=1), pictures(tmp_path / "b", 30, seed=2)
    c = pictures(tmp_path / "2025" / "jan", 30, seed=3, light=70)
    same = lesionlab_here("compare-data", a, b, "--model", tiny)
    assert same.returncode == 0 and "No difference between jan and b was found" in same.stdout
    other = lesionlab_here("compare-data", a, c, "--model", tiny, "--out", tmp_path / "page.html")
    words = " ".join(other.stdout.split())
    assert "The pictures of 2025/jan do not come from where those of 2024/jan come" in words
    assert "What looks different: brightness" in words
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    drawn = re.findall(r"<!-- (.*?) -->", page)
    assert not [text for text in drawn if "1e" in text], "one value has no axis of millionths"
    assert "melanocytic nevus (nv)" in page
    assert page.count("<svg") == 3 and "p = 0.001" in page and "brightness" in page


def test_what_cannot_be_compared_is_said(tiny: Path, tmp_path: Path) -> None:
    few, none = pictures(tmp_path / "few", 9, seed=1), tmp_path / "none"
    none.mkdir()
    done = lesionlab_here("compare-data", few, few, "--model", tiny)
    assert done.returncode == 2 and "shows 9 lesions: a comparison needs 10 or more" in done.stderr
    done = lesionlab_here("compare-data", none, few, "--model", tiny)
    assert done.returncode == 2 and "holds no images" in done.stderr
    done = lesionlab_here("compare-data", few, few, "--out", tmp_path / "page.txt")
    assert done.returncode == 2 and "give --out FILE.html" in done.stderr


def test_a_table_of_lesions_alone_is_read(tiny: Path, tmp_path: Path) -> None:
    """Twenty pictures of five lesions are five lesions, though no table has diagnoses."""
    folder = pictures(tmp_path / "a", 20, seed=1)
    rows = "".join(f"1-{number},{number // 4}\n" for number in range(20))
    (folder / "lesions.csv").write_text(f"image_id,lesion_id\n{rows}")
    done = lesionlab_here("compare-data", folder, folder, "--model", tiny)
    assert done.returncode == 2 and "shows 5 lesions: a comparison needs 10 or more" in done.stderr


def test_a_table_at_fault_is_told_and_the_comparison_goes_on(tiny: Path, tmp_path: Path) -> None:
    """None at all, and one of lesions alone, are no fault."""
    a, b = pictures(tmp_path / "a", 24, seed=1), pictures(tmp_path / "b", 24, seed=2)
    (a / "lesions.csv").write_text("image_id,lesion_id\n" + "".join(f"1-{n},{n // 2}\n" for n in range(24)))
    given = ("compare-data", a, b, "--model", tiny, "--out", tmp_path / "page.html")
    assert "The fault" not in lesionlab_here(*given).stdout + (tmp_path / "page.html").read_text(encoding="utf-8")
    (b / "table.csv").write_text("image_id,lesion_id,dx\n" + "".join(f"2-{n},{n // 2},melanomaa\n" for n in range(24)))
    done, page = lesionlab_here(*given), (tmp_path / "page.html").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr
    for text in (" ".join(done.stdout.split()), page):
        assert "12 lesions of a and 12 of b" in text
        assert "without its table of diagnoses, which cannot be read" in text
        assert "unknown diagnosis" in text and "melanomaa" in text


def test_images_inside_a_file_are_compared(tiny: Path, cases: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra stored is not installed")
    folder = cases / "09-hf-parquet"
    done = lesionlab_here("compare-data", folder, folder, "--model", tiny)
    assert "lesions: a comparison needs 10 or more" in done.stderr, done.stderr


def test_what_is_left_out_is_told(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that a folder's table does not have, and files that cannot be read."""
    a, b = pictures(tmp_path / "a", 24, seed=1), pictures(tmp_path / "b", 12, seed=2)
    rows = "".join(f"1-{n},{n},{'mel' if n % 2 else 'nv'}\n" for n in range(20))
    (a / "table.csv").write_text(f"image_id,lesion_id,dx\n{rows}")
    (b / "broken.jpg").write_bytes(b"no picture")
    done = lesionlab_here("compare-data", a, b, "--model", tiny, "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    for text in (" ".join(done.stdout.split()), (tmp_path / "page.html").read_text(encoding="utf-8")):
        assert f"4 images of {a} are left out: its table of diagnoses lacks them" in text
        assert f"1 images of {b} cannot be read and are left out" in text and "broken.jpg" in text
    monkeypatch.chdir(tmp_path)
    named = " ".join(lesionlab_here("compare-data", "a", "b", "--model", tiny).stdout.split())
    assert "4 images of a are left out" in named, "by a name that is not whole, too"


def test_a_table_that_gives_an_image_two_lesions_is_told(tiny: Path, tmp_path: Path) -> None:
    a = pictures(tmp_path / "a", 12, seed=1)
    (a / "lesions.csv").write_text("image_id,lesion_id\n1-0,x\n1-0,y\n")
    done = lesionlab_here("compare-data", a, a, "--model", tiny)
    assert done.returncode == 0, done.stderr
    assert "Lesions are not taken from lesions.csv. The fault:" in " ".join(done.stdout.split())


def test_few_lesions_of_one_source_seldom_look_changed() -> None:
    """The looks that skew most, of ten lesions a side: five intervals that hold together in 95 % of all comparisons."""
    rng, ids = np.random.default_rng(0), (np.arange(10), np.arange(10))
    false = 0
    for seed in range(100):
        sides = [
            {str(c): rng.normal(size=10) if c < 4 else rng.lognormal(0, 0.6, 10) for c in range(5)} for _ in (0, 1)
        ]
        false += any(change.is_clear for change in changes(*sides, ids, seed=seed))
    assert false <= 9  # 14 without Student's t
