"""Several images of a lesion joined into one answer: `predict --by-lesion`, and the statistic below it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tiny_onnx
from lesionlab.cli import main
from lesionlab.evaluation.by_lesion import join_by_lesion
from lesionlab.inference.model import Model, load_model


def test_the_mean_of_log_probabilities_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]])
    lesions, joined, counts = join_by_lesion(probabilities, ["b", "a", "b"])
    assert lesions == ["b", "a"] and counts.tolist() == [2, 1]
    assert joined == pytest.approx(np.array([[0.5, 0.5], [0.5, 0.5]]))  # sqrt(.8 * .2) for both
    _, joined, _ = join_by_lesion(np.array([[0.9, 0.1], [0.6, 0.4]]), ["a", "a"])
    assert joined[0, 0] == pytest.approx(np.sqrt(0.54) / (np.sqrt(0.54) + np.sqrt(0.04)))
    _, joined, _ = join_by_lesion(np.array([[1.0, 0.0], [0.0, 1.0]]), ["a", "a"])
    assert joined[0].tolist() == [0.5, 0.5]  # a rounded 0 does not decide alone


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(2, 11), st.randoms(use_true_random=False))
def test_rows_sum_to_one_and_no_order_matters(of: list[int], k: int, random) -> None:
    rng = np.random.default_rng(random.randrange(2**32))
    probabilities, lesions = rng.dirichlet(np.ones(k), len(of)), [str(number) for number in of]
    names, joined, counts = join_by_lesion(probabilities, lesions)
    assert joined.sum(axis=1) == pytest.approx(1) and counts.sum() == len(of) and len(set(names)) == len(names)
    order = rng.permutation(len(of))
    again, shuffled, _ = join_by_lesion(probabilities[order], [lesions[at] for at in order])
    assert shuffled[[again.index(name) for name in names]] == pytest.approx(joined)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lesions")
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"I{number}.png")
    tiny_onnx.write(folder / "m.onnx")
    (folder / "lesions.csv").write_text("isic_id,lesion_id\nI0,L1\nI1,L2\nI2,L1\nelsewhere,L9\n")
    return folder


def predict(folder: Path, *more: str) -> int:
    images = [str(folder / f"I{number}.png") for number in range(4)]
    return main(
        ["predict", *images, "--model", str(folder / "m.onnx"), "--by-lesion", str(folder / "lesions.csv"), *more]
    )


def test_a_row_a_lesion(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    out = tmp_path / "lesions.csv"
    assert predict(folder, "--out", str(out)) == 0
    said = capfd.readouterr().err
    assert "4 images predicted" in said and "3 lesions written to" in said
    assert "1 images (I3) have no lesion in" in said and "counts as a lesion of its own" in said
    table = pd.read_csv(out)
    assert list(table) == ["lesion_id", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    assert table["lesion_id"].tolist() == ["L1", "L2", "I3"]
    single = load_model(folder / "m.onnx").predict([folder / f"I{number}.png" for number in range(4)]).probabilities
    _, expected, _ = join_by_lesion(single, ["L1", "L2", "L1", "I3"])
    assert table.iloc[:, 1:].to_numpy() == pytest.approx(expected, abs=1e-8)
    assert predict(folder) == 0 and capfd.readouterr().out == out.read_text()
    assert predict(folder, "--out", str(out)) == 0  # its own table is replaced


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b\n1,2\n",
            "has the columns a, b; needed are lesion_id, and one of image_id, isic_id, image, img_id, image_name",
        ),
        ("image,lesion_id\nI0,L1\nI0,L2\n", "row 3: image 'I0' is of lesion 'L2', and of 'L1' above"),
    ],
)
def test_tables_at_fault(folder: Path, text: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert predict(folder, "--by-lesion", str(tmp_path / "t.csv")) == 2
    assert message in capfd.readouterr().err


def test_what_does_not_go_together_is_said(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    assert predict(folder, "--json") == 2 and "leave out --json" in capfd.readouterr().err
    other = tmp_path / "notes.csv"
    other.write_text("my notes\n1\n")
    assert predict(folder, "--out", str(other)) == 2 and "is left as it is" in capfd.readouterr().err
    assert other.read_text() == "my notes\n1\n"


def test_an_image_without_a_lesion_joins_no_other(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """Though a lesion has its name; ids with a suffix are the images' all the same."""
    (tmp_path / "t.csv").write_text("image,lesion_id\nI0.png,I3\nI1.jpg,I3\n")
    assert predict(folder, "--by-lesion", str(tmp_path / "t.csv")) == 2
    assert "gives the image I3 no lesion, and a lesion of other images has that name" in capfd.readouterr().err
    (tmp_path / "t.csv").write_text("image,lesion_id\nI0.png,L\nI1.jpg,L\n")
    assert predict(folder, "--by-lesion", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out.csv")) == 0
    assert pd.read_csv(tmp_path / "out.csv")["lesion_id"].tolist() == ["L", "I2", "I3"]


def test_nothing_is_said_to_go_on_where_nothing_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "stream", stop)
    assert predict(folder, "--out", str(tmp_path / "t.csv")) == 130 and not (tmp_path / "t.csv").exists()
    assert capfd.readouterr().err == "lesionlab: Interrupted after 0 images.\n"
