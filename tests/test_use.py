"""Faults of use that people reported: names of predict in evaluate, refused pictures, text paths, results of MedMNIST."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

import lesionlab
import tiny_onnx
from lesionlab.cli import main
from lesionlab.errors import UsageError
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.inference import overlay
from lesionlab.inference.model import load_model
from lesionlab.lifecycle.evaluate_elsewhere import evaluate
from lesionlab.lifecycle.predicted_names import as_in_data
from lesionlab.taxonomy import HAM10000

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three diagnoses, a folder each; in each two files, `1.png` and `2.png`, and one of its own."""
    tmp_path, rng = tmp_path_factory.mktemp("folders"), np.random.default_rng(0)
    for number, dx in enumerate(("mel", "nv", "bcc")):
        (tmp_path / "data" / dx).mkdir(parents=True)
        for name in ("1", "2", f"only-{dx}"):
            pixels = rng.integers(60 * number, 60 * number + 80, (96, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / dx / f"{name}.png")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def by_the_model(folders: Path) -> pd.DataFrame:
    """What the model itself says of them, by `evaluate`."""
    assert main(["evaluate", "--data", str(folders), "--out", str(folders.parent / "model")]) == 0
    return pd.read_csv(folders.parent / "model" / "predictions.csv").set_index("image")


@pytest.mark.parametrize("given", ["{data}", "{data}/nv {data}/mel {data}/bcc", "{relative}", "{data}/*/*.png"])
@pytest.mark.slow
def test_a_table_of_predict_is_taken_by_evaluate(
    given: str, folders: Path, by_the_model: pd.DataFrame, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = given.format(data=folders, relative=os.path.relpath(folders, tmp_path)).split()
    assert main(["predict", *paths, "--out", "p.csv"]) == 0
    assert main(["evaluate", "p.csv", "--data", str(folders), "--out", "table"]) == 0
    table = pd.read_csv(tmp_path / "table" / "predictions.csv").set_index("image")
    assert list(table.index) == list(by_the_model.index) and len(table) == 9
    columns = list(load_model().facts.taxonomy.columns)
    np.testing.assert_allclose(table[columns], by_the_model[columns], atol=2e-6)


def test_a_bare_name_that_could_be_either_is_neither(tmp_path: Path) -> None:
    ids, paths = ["mel-1", "nv-1", "bcc-1"], [str(tmp_path.resolve() / dx / "1.png") for dx in ("mel", "nv", "bcc")]
    table = pd.DataFrame({"image_id": ids, "path": paths})
    assert as_in_data(["1", "x/nv/1", "bcc\\1"], table, tmp_path) == {"x/nv/1": "nv-1", "bcc\\1": "bcc-1", "1": "mel-1"}
    assert as_in_data(["1", "x/nv/1"], table, tmp_path) == {"x/nv/1": "nv-1"}
    assert as_in_data(["nv-1", "x/nv/1"], table, tmp_path) == {}
    assert as_in_data(["../elsewhere/1"], table, tmp_path) == {}


@pytest.fixture
def captions(monkeypatch) -> list[str]:
    """What is written under overlays."""
    said: list[str] = []
    write = ImageDraw.ImageDraw.text

    def recorded(drawing, at, text, *more, **options):
        said.append(text)
        return write(drawing, at, text, *more, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", recorded)
    return said


def test_an_overlay_of_a_refused_picture_names_no_diagnosis(captions: list[str], tmp_path: Path) -> None:
    page = Image.new("RGB", (640, 480), "white")
    ImageDraw.Draw(page).rectangle((80, 60, 300, 400), fill=(20, 90, 200))
    page.save(tmp_path / "shapes.png")
    assert main(["predict", str(tmp_path / "shapes.png"), "--explain", str(tmp_path / "why"), "--json"]) == 0
    caption, notice = captions
    assert caption.startswith("shapes: not dermatoscopic (score ") and "No answer or map is to be trusted" in caption
    assert "%" not in caption and "vascular" not in caption and "medical device" in notice


def test_an_overlay_of_another_picture_names_its_diagnosis(captions: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (90, 60, 50)).save(tmp_path / "a.png")
    model = load_model(tiny_onnx.write(tmp_path / "m.onnx"))
    (prediction,) = model.predict(tmp_path / "a.png", explain=True)
    (tmp_path / "why").mkdir()
    overlay.write_overlay(prediction, model, tmp_path / "why")
    assert captions[0].startswith(f"a: {prediction.name}, ") and "%. Bright: speaks for it" in captions[0]


def test_public_functions_take_text_and_lists(phantoms: Path, tmp_path: Path) -> None:
    table = lesionlab.read_collection(str(phantoms)).table[:12]
    assert len(lesionlab.index_images(str(phantoms)))
    labels = lesionlab.encode_labels(list(table["dx"]), HAM10000)
    assert (
        labels.tolist()
        == lesionlab.encode_labels(table["dx"], HAM10000).tolist()
        == lesionlab.encode_labels(table["dx"].to_numpy(), HAM10000).tolist()
    )
    with pytest.raises(UsageError, match="Not codes of ham10000: wart. Known are mel, nv"):
        lesionlab.encode_labels(["mel", "wart"], HAM10000)
    items = [(name, Path(path)) for name, path in zip(table["image_id"], table["path"], strict=True)]
    decoded = lesionlab.decode_images(items, height=64, width=64, crop="centre", cache_dir=str(tmp_path / "cache"))
    assert decoded.pixels.shape == (12, 64, 64, 3)
    mean, _ = lesionlab.channel_statistics(decoded.pixels, list(range(12)))
    np.testing.assert_allclose(mean, lesionlab.channel_statistics(decoded.pixels, np.arange(12))[0])
    flags = [False] * 12
    assert lesionlab.near_duplicates(decoded.pixels, list(table["image_id"]), flags) is not None
    probabilities = np.full((12, 7), 1 / 7).tolist()
    given = LabelledPredictions(labels.tolist(), probabilities, list(table["lesion_id"]), HAM10000)
    part = lesionlab.evaluate_part(given, seed=0)
    assert part.undecided == 12 and part.accuracy == 0


@pytest.mark.slow
def test_evaluate_takes_text_paths(phantoms: Path, tmp_path: Path) -> None:
    images = pd.read_csv(next(phantoms.glob("*.csv")))["image_id"]
    table = pd.DataFrame({"image": images, **dict.fromkeys(HAM10000.columns, 0.1)}).assign(NV=0.4)
    table.to_csv(tmp_path / "p.csv", index=False)
    report = evaluate(tmp_path / "p.csv", str(phantoms), str(tmp_path / "e"))
    assert report == tmp_path / "e" / "report.html" and report.is_file()


@pytest.mark.slow
def test_results_as_medmnist_writes_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, number in (("train", 2), ("val", 2), ("test", 21)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (number, 28, 28, 3), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(number, dtype=np.uint8) % 7).reshape(-1, 1)
    np.savez_compressed(tmp_path / "dermamnist.npz", **arrays)
    scores = rng.dirichlet(np.ones(7), 21)
    results = tmp_path / "dermamnist_test_[AUC]0.500_[ACC]0.100@run.csv"
    pd.DataFrame(scores).to_csv(results, header=False)  # as medmnist.Evaluator does
    command = ["--data", str(tmp_path / "dermamnist.npz"), "--out", str(tmp_path / "e"), "--allow-missing"]
    assert main(["evaluate", str(results), *command]) == 0
    test = json.loads((tmp_path / "e" / "metrics.json").read_text())["test"]
    assert test["images"] == 21
    assert test["accuracy"] == pytest.approx((scores.argmax(axis=1) == arrays["test_labels"][:, 0]).mean())


def test_results_whose_name_says_no_part(tmp_path: Path, capsys) -> None:
    results = tmp_path / "mine.csv"
    pd.DataFrame(np.full((3, 7), 1 / 7)).to_csv(results, header=False)
    (tmp_path / "t.csv").write_text("image_id,dx\na,mel\n")
    assert main(["score", str(results), str(tmp_path / "t.csv")]) == 2
    said = capsys.readouterr().err
    assert "mine.csv has no header" in said and "dermamnist_train, dermamnist_val or dermamnist_test" in said
