"""`lesionlab evaluate`: the same figures as the run's own, from its model or from its table of predictions."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import lesionlab
from lesionlab.cli import main
from lesionlab.diagnosis import ISIC_COLUMNS


@pytest.fixture(scope="module")
def evaluated(finished: tuple[Path, str], phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated") / "e"
    done = lesionlab("evaluate", finished[0] / "model.onnx", "--data", phantoms, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "balanced accuracy" in done.stdout and "not a medical device" in done.stdout
    return out


def test_a_model_on_a_folder(evaluated: Path, finished: tuple[Path, str]) -> None:
    own = pd.read_csv(finished[0] / "predictions.csv").set_index("image")
    found = pd.read_csv(evaluated / "predictions.csv").set_index("image")
    columns = list(ISIC_COLUMNS)
    assert set(found.index) == set(own.index)
    assert np.abs(found[columns] - own.loc[found.index, columns]).to_numpy().max() < 1e-4
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == pytest.approx((found["truth"] == found["predicted"]).mean())
    promised = json.loads((finished[0] / "metrics.json").read_text())["decision"]["thresholds"]["malignant"]
    assert metrics["operating"]["threshold"] == promised
    assert 0 <= metrics["conformal"]["coverage"] <= 1


def test_the_report_shows_its_numbers_and_warns(evaluated: Path) -> None:
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert f'<data value="{metrics["test"]["balanced_accuracy"]!r}" data-key="test.balanced_accuracy">' in page
    assert "only you can know that" in page and "not a medical device" in page and "Set aside" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_table_of_the_test_part_gives_the_runs_own_figures(
    finished: tuple[Path, str], phantoms: Path, tmp_path: Path, capsys
) -> None:
    own = pd.read_csv(finished[0] / "predictions.csv")
    own[own["part"] == "test"][["image", *ISIC_COLUMNS]].to_csv(tmp_path / "p.csv", index=False)
    arguments = ["evaluate", str(tmp_path / "p.csv"), "--data", str(phantoms), "--out", str(tmp_path / "e")]
    assert main(arguments) == 2
    assert "images of the data: " in capsys.readouterr().err
    assert main([*arguments, "--allow-missing"]) == 0
    found = json.loads((tmp_path / "e" / "metrics.json").read_text())
    expected = json.loads((finished[0] / "metrics.json").read_text())
    for key in ("accuracy", "balanced_accuracy", "macro_auc", "log_loss"):
        assert found["test"][key] == pytest.approx(expected["test"][key], abs=1e-6)
    assert found["test"]["confusion"] == expected["test"]["confusion"]
    assert [row["group"] for row in found["subgroups"]] == [row["group"] for row in expected["subgroups"]]
    missing = json.loads((tmp_path / "e" / "manifest.json").read_text())["set_aside"]
    assert sum(item["reason"] == "no prediction" for item in missing) == (own["part"] != "test").sum()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nother,1,0,0,0,0,0,0\n", "no prediction for any image"),
        ("image,MEL,NV\nother,1,0\n", "has no column"),
        ("", "holds no rows"),
    ],
)
def test_tables_that_do_not_fit(table: str, message: str, phantoms: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "p.csv").write_text(table)
    assert main(["evaluate", str(tmp_path / "p.csv"), "--data", str(phantoms), "--out", str(tmp_path / "e")]) == 2
    assert message in capsys.readouterr().err


def test_one_diagnosis_alone(phantoms: Path, tmp_path: Path) -> None:
    """Classes that are absent are "not available", not an error."""
    metadata = pd.read_csv(next(phantoms.glob("*.csv")))
    nevi = metadata[metadata["dx"] == "nv"]
    folder = tmp_path / "nevi"
    folder.mkdir()
    nevi.to_csv(folder / "HAM10000_metadata.csv", index=False)
    for image in nevi["image_id"]:
        (source,) = phantoms.rglob(f"{image}.jpg")
        (folder / source.name).write_bytes(source.read_bytes())
    table = nevi[["image_id"]].rename(columns={"image_id": "image"})
    table.assign(**dict(zip(ISIC_COLUMNS, (0.2, 0.8, 0, 0, 0, 0, 0), strict=True))).to_csv(
        tmp_path / "p.csv", index=False
    )
    assert main(["evaluate", str(tmp_path / "p.csv"), "--data", str(folder), "--out", str(tmp_path / "e")]) == 0
    test = json.loads((tmp_path / "e" / "metrics.json").read_text())["test"]
    assert test["accuracy"] == test["balanced_accuracy"] == 1.0 and test["macro_auc"] is None
    assert "not available" in (tmp_path / "e" / "report.html").read_text()
