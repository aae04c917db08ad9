"""A model evaluated on data of another set of diagnoses: by what both share, by malignant against benign, or refused in words."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tiny_onnx
from builders import write
from lesionlab.cli import main
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.errors import UsageError
from lesionlab.evaluation.by_lesion import join_by_lesion
from lesionlab.inference.model import load_model
from lesionlab.taxonomy import HAM10000, read_taxonomy


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def folders(root: Path, names: list[str], each: int = 4) -> Path:
    for place, name in enumerate(names):
        for number in range(each):
            picture(root / name / f"{name[:3]}{number}.png", 100 * place + number)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = tiny_onnx.facts(thresholds={"malignant": 0.4, "uncertainty": 0.9})
    return tiny_onnx.write(tmp_path_factory.mktemp("model") / "m.onnx", facts)


def evaluated(model: Path | str, data: Path, out: Path, *more: str) -> tuple[dict, dict]:
    assert main(["evaluate", str(model), "--data", str(data), "--out", str(out), *more]) == 0
    return json.loads((out / "metrics.json").read_text()), json.loads((out / "manifest.json").read_text())


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_what_both_share(model: Path, tmp_path: Path) -> None:
    names = ["melanoma", "nevus", "basal cell carcinoma", "squamous cell carcinoma"]
    metrics, manifest = evaluated(model, folders(tmp_path / "data", names), tmp_path / "out")
    assert metrics["test"]["images"] == 12 and len(metrics["diagnoses"]) == 7
    aside = [row for row in manifest["set_aside"] if "no diagnosis of the model's" in row["reason"]]
    assert len(aside) == 4 and {row["reason"].split(": ")[1] for row in aside} == {"squamous cell carcinoma"}


@pytest.mark.slow
def test_malignant_against_benign(model: Path, tmp_path: Path) -> None:
    data = folders(tmp_path / "data", ["benign", "malignant"], 6)
    metrics, _ = evaluated(model, data, tmp_path / "out")
    assert sorted(metrics["diagnoses"]) == ["benign", "malignant"] and metrics["test"]["images"] == 12
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    paths = {path.stem: path for path in data.rglob("*.png")}
    predictions = load_model(model).predict([paths[name] for name in table["image"]])
    expected = [prediction.malignant_probability for prediction in predictions]
    assert table["MALIGNANT"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert (tmp_path / "out" / "report.html").is_file()


def test_nothing_in_common_is_refused(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    data = folders(tmp_path / "data", ["eczema", "psoriasis"])
    assert main(["evaluate", str(model), "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert "eczema" in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_another_set_is_refused_but_for_two_kinds(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    data = folders(tmp_path / "data", ["melanoma", "nevus"])
    command = ["evaluate", str(model), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*command, "--taxonomy", "isic2019"]) == 2
    assert "Leave out --taxonomy" in capfd.readouterr().err
    data = folders(tmp_path / "two", ["benign", "malignant"])
    command = ["evaluate", str(model), "--data", str(data), "--out", str(tmp_path / "out2"), "--taxonomy", "isic2024"]
    assert main([*command, "--robustness"]) == 2
    assert "--robustness needs the model's own diagnoses" in capfd.readouterr().err


OWN = """
name = "own"
[[diagnosis]]
dx = "{codes[0]}"
column = "A"
name = "{codes[0]}"
is_malignant = false
synonyms = ["Wart"]
[[diagnosis]]
dx = "{codes[1]}"
column = "B"
name = "{codes[1]}"
is_malignant = true
synonyms = ["Basaliom"]
"""


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("codes", "diagnoses"), [(("wart", "own-bcc"), 2), (("nv", "bcc"), 7)])
def test_a_set_of_ones_own_is_taken_by_what_it_shares_or_by_what_is_malignant(
    model: Path, tmp_path: Path, codes: tuple[str, str], diagnoses: int
) -> None:
    data = folders(tmp_path / "data", ["Wart", "Basaliom"])
    own = write(tmp_path / "own.toml", OWN.format(codes=codes))
    metrics, manifest = evaluated(model, data, tmp_path / "out", "--taxonomy", str(own))
    assert len(metrics["diagnoses"]) == diagnoses and metrics["test"]["images"] == 8
    found = [each for each in manifest["findings"] if each["kind"] == "dx-in-two-kinds"]
    assert len(found) == (diagnoses == 2) and (not found or "malignant: own-bcc;" in found[0]["decision"])


def test_any_diagnoses_are_read_as_malignant_and_benign(phantoms: Path, tmp_path: Path) -> None:
    seven, two = read_collection(phantoms), read_collection(phantoms, read_taxonomy("isic2024"))
    assert two.taxonomy.dx == read_taxonomy("isic2024").dx and set(two.table["dx"]) == {"malignant", "benign"}
    is_malignant = seven.table["dx"].isin(HAM10000.malignant)
    assert ((two.table["dx"] == "malignant") == is_malignant).all()
    with pytest.raises(UsageError, match="eczema"):
        read_collection(folders(tmp_path / "data", ["eczema", "psoriasis"], 1), read_taxonomy("isic2024"))


@pytest.mark.usefixtures("undrawn")
def test_several_folders_are_evaluated_together(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    one, two = folders(tmp_path / "one", ["nevus"], 6), folders(tmp_path / "two", ["nevus", "melanoma"], 5)
    for path in two.rglob("*.png"):
        picture(path, 900 + int(path.stem[3:]) + 50 * (path.parent.name == "nevus"))
    metrics, manifest = evaluated(model, one, tmp_path / "out", "--data", str(two))
    assert metrics["test"]["images"] == 16 and manifest["data"]["folder"] == [str(one), str(two)]
    command = ["evaluate", str(model), "--data", "nowhere", "--data", str(two), "--out", str(tmp_path / "out2")]
    assert main(command) == 2 and "nowhere" in capfd.readouterr().err


@pytest.mark.slow
def test_a_table_in_other_diagnoses(tmp_path: Path) -> None:
    names = ["melanoma", "nevus", "squamous cell carcinoma", "actinic keratosis"]
    data = folders(tmp_path / "data", names)
    columns = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]  # of ISIC 2019
    right = {"mel": 0, "nev": 1, "squ": 7, "act": 3}
    with (tmp_path / "p.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *columns])
        for path in sorted(data.rglob("*.png")):
            shares = np.full(8, 0.05)
            shares[right[path.stem[:3]]] = 0.65
            writer.writerow([path.stem, *shares.round(3)])
    metrics, _ = evaluated(tmp_path / "p.csv", data, tmp_path / "out", "--taxonomy", "isic2019")
    assert len(metrics["diagnoses"]) == 8 and metrics["test"]["accuracy"] == 1.0
    assert metrics["test"]["per_class"]["scc"]["sensitivity"] == 1.0


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_by_lesion(model: Path, tmp_path: Path) -> None:
    data, rows = tmp_path / "data", []
    for number in range(12):
        picture(data / f"I{number:02}.png", number)
        rows.append([f"I{number:02}", f"L{number // 2}", ["mel", "nv", "bcc"][number // 2 % 3]])
    (data / "metadata.csv").write_text("\n".join(",".join(row) for row in [["image_id", "lesion_id", "dx"], *rows]))
    single, _ = evaluated(model, data, tmp_path / "single")
    joined, manifest = evaluated(model, data, tmp_path / "joined", "--by-lesion")
    assert (single["test"]["images"], joined["test"]["images"]) == (12, 6) and joined["test"]["lesions"] == 6
    of_images, of_lesions = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("single", "joined"))
    columns = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    names, expected, _ = join_by_lesion(of_images[columns].to_numpy(), list(of_images["lesion_id"]))
    assert of_lesions["lesion_id"].tolist() == names
    assert of_lesions[columns].to_numpy() == pytest.approx(expected, abs=1e-9)
    (found,) = [found for found in manifest["findings"] if found["kind"] == "lesion-joined"]
    assert found["count"] == 6
