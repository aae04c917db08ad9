"""`lesionlab evaluate`: the same figures as the run's own, from its model or from its table of predictions."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import MakeOnce, lesionlab_here
from lesionlab.cli import main
from lesionlab.data.images import read_image
from lesionlab.data.layouts.recognise import index_images
from lesionlab.evaluation.isic_score import score
from lesionlab.inference.facts import Thresholds
from lesionlab.inference.model import load_model
from lesionlab.inference.outputs import ModelOutputs
from lesionlab.model.export import ood_score
from lesionlab.report.cases import write_cases
from lesionlab.runs.manifest import EvaluatedModel
from lesionlab.taxonomy import DX, HAM10000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evaluated(finished: tuple[Path, str], phantoms: Path, make_once: MakeOnce) -> Path:
    def evaluate(folder: Path) -> None:
        done = lesionlab_here("evaluate", finished[0] / "model.onnx", "--data", phantoms, "--out", folder / "e")
        assert done.returncode == 0, done.stderr
        assert "balanced accuracy" in done.stdout and "not a medical device" in done.stdout

    return make_once("evaluated", evaluate) / "e"


def test_a_model_on_a_folder(evaluated: Path, finished: tuple[Path, str]) -> None:
    own = pd.read_csv(finished[0] / "predictions.csv").set_index("image")
    found = pd.read_csv(evaluated / "predictions.csv").set_index("image")
    columns = list(HAM10000.columns)
    assert set(found.index) == set(own.index)
    assert np.abs(found[columns] - own.loc[found.index, columns]).to_numpy().max() < 1e-4
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == pytest.approx((found["truth"] == found["predicted"]).mean())
    decision = json.loads((finished[0] / "metrics.json").read_text())["decision"]
    assert [line["threshold"] for line in metrics["model_thresholds"]] == [
        decision["thresholds"]["malignant"],
        *(line["threshold"] for line in decision["operating"]),
    ]
    assert metrics["chosen_on"] == "crosswise"
    assert 0 <= metrics["conformal"]["coverage"] <= 1


@pytest.mark.usefixtures("undrawn")
def test_it_counts_what_predict_refuses_and_calls_uncertain(
    evaluated: Path, finished: tuple[Path, str], phantoms: Path, tmp_path: Path
) -> None:
    assert json.loads((evaluated / "metrics.json").read_text())["model_rejected"] is None
    assert "the model has no score of what is not dermatoscopic" in (evaluated / "report.html").read_text()
    path = Path(shutil.copy(finished[0] / "model.onnx", tmp_path))
    paths, facts = list(index_images(phantoms).values()), load_model(str(path)).facts
    pixels = np.stack([read_image(image, facts.height, facts.width, facts.crop) for image in paths])
    assert ood_score.add_ood_score(path, pixels, np.arange(60), np.arange(60, 120))
    data = Path(shutil.copytree(phantoms, tmp_path / "data"))
    paths = list(index_images(data).values())
    for width, image in enumerate(paths[:3], 3):  # stripes among the lesions
        line = np.array([0, 255], np.uint8)[np.arange(96) // width % 2]
        Image.fromarray(np.tile(line[None, :, None], (72, 1, 3))).save(image)
    assert main(["evaluate", str(path), "--data", str(data), "--out", str(tmp_path / "e")]) == 0
    decisions = [answer.decision for answer in load_model(str(path)).predict(paths)]
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert metrics["model_rejected"] == decisions.count("not dermatoscopic") > 0
    assert metrics["model_uncertain"] == decisions.count("uncertain") > 0
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert re.search(r'rejects <data [^>]*data-key="model_rejected">\d+</data> as not dermatoscopic', page)


def test_without_a_split_nothing_is_said_of_parts(evaluated: Path) -> None:
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    assert (
        "how the parts were made</td><td>in the run" in page
        and "differences between training and evaluation data" in page
    )
    assert "this report is one where its data are of another origin" in page
    assert "lesionlab evaluate on data of another origin" not in page


def test_the_report_shows_its_numbers_and_warns(evaluated: Path) -> None:
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert f'<data value="{metrics["test"]["balanced_accuracy"]!r}" data-key="test.balanced_accuracy">' in page
    assert "not a medical device" in page and "Set aside" in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.usefixtures("undrawn")
def test_a_table_of_the_test_part_gives_the_runs_own_figures(
    finished: tuple[Path, str], phantoms: Path, tmp_path: Path, capsys
) -> None:
    own = pd.read_csv(finished[0] / "predictions.csv")
    own[own["part"] == "test"][["image", *HAM10000.columns]].to_csv(tmp_path / "p.csv", index=False)
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


@pytest.mark.usefixtures("undrawn")
def test_a_split_gives_the_runs_own_figures_and_lines(
    finished: tuple[Path, str], phantoms: Path, tmp_path: Path
) -> None:
    """Test part judged, lines drawn on the validation part, training part left out: as the run itself does it."""
    run, out = finished[0], tmp_path / "e"
    (tmp_path / "costs.csv").write_text(
        "\n".join(["truth," + ",".join(DX), *(f"{a}," + ",".join(str(int(a != b)) for b in DX) for a in DX)])
    )
    arguments = ["evaluate", str(run / "predictions.csv"), "--data", str(phantoms), "--out", str(out), "--risk", "0.3"]
    assert main(arguments) == 2  # would judge what was trained on
    assert main([*arguments, "--split", str(run / "splits.csv"), "--costs", str(tmp_path / "costs.csv")]) == 0
    found, expected = (json.loads((folder / "metrics.json").read_text()) for folder in (out, run))
    for key in (
        "test",
        "subgroups",
        "operating_points",
        "conformal_raps",
        "conformal_repeated",
        "histology",
        "suspects",
    ):
        assert found[key] == nearly(expected[key]), key
    assert found["conformal"] == nearly(expected["conformal"])
    assert found["costs"]["model"]["cost"] == pytest.approx(1 - found["test"]["accuracy"])
    assert [row["risk"] for row in found["abstention"]] == [0.3]
    manifest = json.loads((out / "manifest.json").read_text())
    parts = pd.read_csv(run / "splits.csv")["part"].value_counts().to_dict()
    assert manifest["split"]["images"] == parts and not manifest["split"]["proof"]["is_leaking"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Cost of the predictions" in page and "Thresholds chosen on the validation part" in page


def nearly(value: object) -> object:
    """Compare numbers loosely, and all else strictly: a table holds fewer digits than the run had."""
    if isinstance(value, dict):
        return {key: nearly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nearly(item) for item in value]
    return pytest.approx(value, abs=1e-6) if isinstance(value, float) else value


def test_pictures_and_pages_to_understand_with(evaluated: Path) -> None:
    found = json.loads((evaluated / "figures" / "understanding.json").read_text())
    table = pd.read_csv(evaluated / "predictions.csv").set_index("image")
    assert found["feature_map"] and (evaluated / "figures" / "feature-map.svg").stat().st_size > 5000
    wrong = table[table["truth"] != table["predicted"]]
    commonest = wrong.groupby(["truth", "predicted"]).size().max()
    assert found["pairs"][0]["images"] == commonest
    for pair in found["pairs"]:
        assert (table.loc[pair["shown"], ["truth", "predicted"]] == [pair["truth"], pair["answer"]]).all().all()
    assert {case["kind"] for case in found["overlays"]} == {"right", "wrong"}
    for case in found["overlays"]:
        row = table.loc[case["image"]]
        assert (row["truth"], row["predicted"]) == (case["truth"], case["answer"])
    for item in (*found["pairs"], *found["overlays"], *found["suspects"]):
        assert (evaluated / "figures" / item["file"]).stat().st_size > 500
    assert (evaluated / "report.html").stat().st_size < 5_000_000


def test_a_page_a_case(evaluated: Path) -> None:
    table = pd.read_csv(evaluated / "predictions.csv")
    index = (evaluated / "cases" / "index.html").read_text(encoding="utf-8")
    assert index.count("<tr><th") == len(table) + 1 and "not a medical device" in index
    for number, row in enumerate(table.itertuples(), start=1):
        page = (evaluated / "cases" / f"{number}.html").read_text(encoding="utf-8")
        assert f"<h1>{row.image}</h1>" in page and f'src="{number}.jpg"' in page
        assert ("right." if row.truth == row.predicted else "wrong.") in page
        assert (evaluated / "cases" / f"{number}.jpg").stat().st_size > 500
    assert 'href="cases/index.html"' in (evaluated / "report.html").read_text(encoding="utf-8")


def test_a_map_lies_on_what_the_network_saw(phantoms: Path, tmp_path: Path) -> None:
    """Of a network that takes oblong images, stretched: not on the central square."""
    path = next(phantoms.rglob("*.jpg"))
    table = pd.DataFrame({"image_id": [path.stem], "dx": ["nv"], "path": [str(path)]})
    seen = ModelOutputs(np.full((1, 7), 1 / 7), maps=np.zeros((1, 4, 8, 7)), frame=(64, 128, "stretch"))
    write_cases(tmp_path / "cases", table, seen, SimpleNamespace(suspects=[]), model_named("wide"), HAM10000)
    shown = np.asarray(Image.open(tmp_path / "cases" / "1.jpg"), float)
    assert shown.shape[:2] == (224, 2 * 448 + 4)
    assert np.abs(shown[:, :448] - read_image(path, 224, 448, "stretch")).mean() < 6  # it is saved as JPEG


def test_other_diagnoses_than_the_models_are_refused(phantoms: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "e"
    assert main(["evaluate", "--data", str(phantoms), "--out", str(out), "--taxonomy", "isic2019"]) == 2
    said = capsys.readouterr().err
    assert (
        "predicts akiec, bcc, ben_oth, bkl, df, inf, mal_oth, mel, nv, sccka, vasc (milk10k), not mel, nv, bcc, "
        in said
    )
    assert "Leave out --taxonomy" in said and not out.exists()


def model_named(name: str) -> EvaluatedModel:
    return EvaluatedModel(
        name=name, thresholds=Thresholds(), conformal=None, operating=(), training_data="", training_data_is_all=False
    )


def table_of(phantoms: Path, **columns: float) -> pd.DataFrame:
    """Give a prediction for every generated image, in ISIC's columns."""
    images = pd.read_csv(next(phantoms.glob("*.csv")))["image_id"]
    given = dict(zip(HAM10000.columns, (0.1, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1), strict=True)) | columns
    return pd.DataFrame({"image": images, **given})


def evaluated_table(table: pd.DataFrame, phantoms: Path, tmp_path: Path, *more: str) -> int:
    table.to_csv(tmp_path / "p.csv", index=False)
    return main(["evaluate", str(tmp_path / "p.csv"), "--data", str(phantoms), "--out", str(tmp_path / "e"), *more])


@pytest.mark.usefixtures("undrawn")
def test_predictions_of_unknown_images_are_listed(phantoms: Path, tmp_path: Path, capsys) -> None:
    table = table_of(phantoms)
    strangers = table[:2].assign(image=["stranger-1", "stranger-2"])
    both = pd.concat([table[3:], strangers])
    assert evaluated_table(both, phantoms, tmp_path) == 2
    said = capsys.readouterr().err
    assert "2 images that the data do not hold: stranger-1, stranger-2" in said
    assert f"lacks 3 images of the data: {', '.join(table['image'][:3])}" in said and "--allow-missing" in said
    assert evaluated_table(both, phantoms, tmp_path, "--allow-missing") == 0
    found = json.loads((tmp_path / "e" / "manifest.json").read_text())["set_aside"]
    reasons = {item["image_id"]: item["reason"] for item in found}
    assert reasons["stranger-1"] == "predicted, but not in the data" and reasons[table["image"][0]] == "no prediction"
    assert "stranger-2: predicted" in (tmp_path / "e" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_an_id_of_two_different_files_is_refused(phantoms: Path, tmp_path: Path, capsys) -> None:
    """Which of them a prediction is of, a bare id does not say; equal copies are no matter."""
    data, table = shutil.copytree(phantoms, tmp_path / "data"), table_of(phantoms)
    (data / "more").mkdir()
    first, second = (index_images(phantoms)[name] for name in table["image"][:2])
    shutil.copy(first, data / "more" / first.name)
    assert evaluated_table(table, data, tmp_path) == 0
    shutil.copy(first, data / "more" / second.name)
    assert evaluated_table(table, data, tmp_path) == 2
    said = capsys.readouterr().err
    assert (
        "1 image ids belong to two different files of the data" in said
        and f"other file: {second.stem}. Rename one" in said
    )
    assert evaluated_table(table, data, tmp_path, "--allow-missing") == 0
    assert "A prediction may be of another file of this name" in (tmp_path / "e" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_columns_in_another_order_and_by_name(phantoms: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = table_of(phantoms)
    table[list(HAM10000.columns)] = rng.dirichlet(np.ones(7), len(table))
    names = {"image": "image_id", "MEL": "Melanoma", "NV": "nv", "AKIEC": "akiec", "VASC": "vascular_lesion"}
    shuffled = table[["VASC", "NV", "image", "MEL", "DF", "BKL", "AKIEC", "BCC"]].rename(columns=names)
    assert evaluated_table(shuffled, phantoms, tmp_path) == 0
    found = pd.read_csv(tmp_path / "e" / "predictions.csv").set_index("image")
    expected = table.set_index("image").loc[found.index, list(HAM10000.columns)]
    np.testing.assert_allclose(found[list(HAM10000.columns)], expected, atol=1e-9)


def test_rounded_probabilities_are_taken_as_they_are(phantoms: Path, tmp_path: Path, capsys) -> None:
    assert evaluated_table(table_of(phantoms, NV=0.42), phantoms, tmp_path) == 0
    assert "miss the sum of 1 by up to 0.020: taken as they are, as by lesionlab score" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "e" / "predictions.csv")
    assert (found["NV"] == 0.42).all() and (found["MEL"] == 0.1).all()


@pytest.mark.parametrize("decimals", [0, 1, 2, 3])
@pytest.mark.usefixtures("undrawn")
def test_score_and_evaluate_give_a_table_the_same_figures(
    decimals: int, phantoms: Path, tmp_path: Path, capsys
) -> None:
    """Rounding makes ties, and sums that miss 1; nothing decimal is left of uniform rows."""
    table = table_of(phantoms)
    truth = pd.read_csv(next(phantoms.glob("*.csv")))
    rng = np.random.default_rng(decimals)
    skilled = rng.dirichlet(np.full(7, 1.5), len(table)) + np.eye(7)[[DX.index(dx) for dx in truth["dx"]]] * 0.3
    shares = (
        (skilled / skilled.sum(axis=1, keepdims=True)).round(decimals) if decimals else np.full_like(skilled, 1 / 7)
    )
    table[list(HAM10000.columns)] = np.where(
        np.abs(shares.sum(axis=1, keepdims=True) - 1) > 0.049, np.eye(7)[0], shares
    )
    assert evaluated_table(table, phantoms, tmp_path) == 0
    assert "undecided (a tie counts as wrong)" in capsys.readouterr().out or decimals > 1
    evaluated = json.loads((tmp_path / "e" / "metrics.json").read_text())["test"]
    kept = pd.read_csv(tmp_path / "e" / "predictions.csv")
    scored = score(tmp_path / "p.csv", next(phantoms.glob("*.csv")))
    assert evaluated["images"] == scored["images"] and evaluated["undecided"] == scored["undecided"]
    assert (kept["predicted"] == "undecided").sum() == scored["undecided"]
    for name in ("accuracy", "balanced_accuracy", "macro_auc"):
        assert evaluated[name] == pytest.approx(scored[name], abs=1e-12)
    for dx, column in zip(DX, HAM10000.columns, strict=True):
        mine, theirs = evaluated["per_class"][dx], scored["per_category"][column]
        assert mine["auc"] == pytest.approx(theirs["auc"], abs=1e-12)
        assert mine["average_precision"] == pytest.approx(theirs["ap"], abs=1e-12)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"NV": 0.9}, "do not sum to 1: "),
        ({"NV": 0.0, "MEL": 0.0}, "do not sum to 1: "),
        ({"NV": float("nan")}, "row 2 .*, column NV: the value is missing"),
        ({"NV": 1.4}, "row 2 .*, column NV: 1.4 is outside 0 to 1"),
        ({"NV": -0.1}, "column NV: -0.1 is outside 0 to 1"),
        ({"melanoma": 0.1}, "two columns for MEL: MEL, melanoma|columns that predictions do not have"),
    ],
)
def test_what_is_no_probability(columns: dict, message: str, phantoms: Path, tmp_path: Path, capsys) -> None:
    assert evaluated_table(table_of(phantoms, **columns), phantoms, tmp_path) == 2
    assert re.search(message, capsys.readouterr().err)


def test_one_lesion_alone(phantoms: Path, tmp_path: Path) -> None:
    metadata = pd.read_csv(next(phantoms.glob("*.csv")))[:1]
    (source,) = phantoms.rglob(f"{metadata['image_id'][0]}.jpg")
    folder = tmp_path / "one"
    folder.mkdir()
    metadata.to_csv(folder / "HAM10000_metadata.csv", index=False)
    (folder / source.name).write_bytes(source.read_bytes())
    assert evaluated_table(table_of(folder), folder, tmp_path) == 0
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert metrics["test"]["lesions"] == 1 and metrics["test"]["intervals"]["accuracy"] == [None, None]
    assert metrics["operating_points"] == {} and metrics["subgroups"] == [] and metrics["conformal"] is None
    page = (tmp_path / "e" / "report.html").read_text()
    assert (
        "not available" in page
        and "not possible: too few images" in page
        and "There are no sets for these probabilities" in page
    )


@pytest.mark.usefixtures("undrawn")
def test_evaluations_can_be_compared(phantoms: Path, tmp_path: Path, capsys) -> None:
    folders = [tmp_path / "constant", tmp_path / "random"]
    for folder, table in zip(folders, (table_of(phantoms), random_table(phantoms)), strict=True):
        folder.mkdir()
        assert evaluated_table(table, phantoms, folder) == 0
    capsys.readouterr()
    assert main(["compare", *(str(folder / "e") for folder in folders), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    accuracy = json.loads((folders[1] / "e" / "metrics.json").read_text())["test"]["accuracy"]
    assert found["figures"]["accuracy"]["second"] == pytest.approx(accuracy) and found["images"] > 100
    manifest = folders[1] / "e" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"finished": None}))  # as a kill leaves it
    both = ["compare", *(str(folder / "e") for folder in folders)]
    assert main(both) == 2
    assert "is not finished. Repeat the same 'lesionlab evaluate'" in capsys.readouterr().err
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"finished": "2026-11-25"}))
    assert main(both) == 0
    assert "constant/e" in (shown := capsys.readouterr().out) and "random/e" in shown  # "e" would name both
    (folders[1] / "e" / "predictions.csv").write_text("image,MEL\n")
    assert main(both) == 2
    assert "predictions.csv cannot be read as a run writes it" in capsys.readouterr().err


def test_a_mistake_leaves_an_earlier_evaluation_whole(evaluated: Path, phantoms: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(evaluated, tmp_path / "e")
    before = {path: path.read_bytes() for path in (tmp_path / "e").rglob("*") if path.is_file()}
    assert (
        evaluated_table(table_of(phantoms).replace({"image": "^"}, {"image": "x"}, regex=True), phantoms, tmp_path) == 2
    )
    assert main(["evaluate", "no-model", "--data", str(phantoms), "--out", str(tmp_path / "e")]) == 2
    assert {path: path.read_bytes() for path in (tmp_path / "e").rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("undrawn")
def test_an_evaluation_that_breaks_off_leaves_no_older_report(
    evaluated: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(evaluated, tmp_path / "e")
    monkeypatch.setattr(
        "lesionlab.lifecycle.evaluate_elsewhere.write_cases", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert evaluated_table(table_of(phantoms), phantoms, tmp_path) == 130
    assert not (tmp_path / "e" / "report.html").exists()
    assert json.loads((tmp_path / "e" / "manifest.json").read_text())["finished"] is None


def test_results_among_the_images_are_refused(phantoms: Path, tmp_path: Path, capsys) -> None:
    before = sorted(phantoms.rglob("*"))
    for command in (["evaluate"], ["run", "--recipe", "quick"]):
        assert main([*command, "--data", str(phantoms), "--out", str(phantoms / "results")]) == 2
        assert "lies in the data folder, and its pictures would be taken for images" in capsys.readouterr().err
    assert sorted(phantoms.rglob("*")) == before


@pytest.mark.usefixtures("undrawn")
def test_predictions_of_images_that_were_set_aside_are_known(phantoms: Path, tmp_path: Path) -> None:
    """A copy of an image is not judged, but the data hold it."""
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    (metadata,) = data.glob("*.csv")
    rows = pd.read_csv(metadata)
    first = rows["image_id"][0]
    shutil.copy(next(data.rglob(f"{first}.jpg")), next(data.rglob(f"{first}.jpg")).with_name("copy.jpg"))
    pd.concat([rows, rows[:1].assign(image_id="copy")]).to_csv(metadata, index=False)
    assert evaluated_table(table_of(data), data, tmp_path) == 0


def split_of(phantoms: Path, folder: Path, **parts: str) -> Path:
    """Write a split: the part of each diagnosis, one lesion a row; `rest` for the others."""
    table = pd.read_csv(next(phantoms.glob("*.csv")))[["image_id", "lesion_id", "dx"]]
    part = table["dx"].map(lambda dx: parts.get(dx, parts["rest"]))
    table.assign(part=part).to_csv(folder / "splits.csv", index=False)
    return folder / "splits.csv"


def random_table(phantoms: Path) -> pd.DataFrame:
    table = table_of(phantoms)
    table[list(HAM10000.columns)] = np.random.default_rng(1).dirichlet(np.ones(7), len(table))
    return table


def test_a_diagnosis_absent_from_the_test_part(phantoms: Path, tmp_path: Path) -> None:
    split = split_of(phantoms, tmp_path, mel="validation", df="validation", rest="test")
    assert evaluated_table(random_table(phantoms), phantoms, tmp_path, "--split", str(split)) == 0
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    row = metrics["test"]["per_class"]["mel"]
    assert row["images"] == 0 and row["sensitivity"] is row["auc"] is row["intervals"]["sensitivity"] is None
    assert 0 < row["specificity"] < 1 and metrics["test"]["focus_at_90"] is None
    assert list(metrics["operating_points"]) == ["malignant"]  # there is no melanoma to judge the other by
    assert metrics["conformal"]["per_class"]["mel"]["coverage"] is None
    assert not metrics["conformal"]["per_class"]["nv"]["is_promised"]
    page = (tmp_path / "e" / "report.html").read_text()
    promised = [row["is_promised"] for row in metrics["conformal"]["per_class"].values()]
    assert (
        page.count("too few: no guarantee") == promised.count(False) >= 5
        and 'data-key="test.per_class.mel.recall"' not in page
    )


def test_a_calibration_part_too_small_promises_nothing(phantoms: Path, tmp_path: Path) -> None:
    split = split_of(phantoms, tmp_path, rest="test")
    table = pd.read_csv(split)
    table.loc[table["lesion_id"] == table["lesion_id"][0], "part"] = "validation"
    table.to_csv(split, index=False)
    assert evaluated_table(random_table(phantoms), phantoms, tmp_path, "--split", str(split)) == 0
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert not any(row["is_promised"] for row in metrics["conformal"]["per_class"].values())
    assert metrics["conformal"]["coverage"] == 1.0 and metrics["conformal"]["mean_size"] == 7.0
    assert all(row["answered"] == 0 and row["error"] is None for row in metrics["abstention"])
    page = (tmp_path / "e" / "report.html").read_text()
    assert page.count("too few: no guarantee") == 7 and "not possible: too few images" in page


def test_a_folder_with_other_things_is_left_alone(
    finished: tuple[Path, str], phantoms: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "e" / "cases").mkdir(parents=True)
    (tmp_path / "e" / "cases" / "thesis.tex").write_text("years of work")
    assert evaluated_table(table_of(phantoms), phantoms, tmp_path) == 2
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["cases"]
    assert "is not empty and holds no evaluation (cases …)" in capsys.readouterr().err
    assert (tmp_path / "e" / "cases" / "thesis.tex").read_text() == "years of work"
    before = (finished[0] / "predictions.csv").read_bytes()
    assert main(["evaluate", str(tmp_path / "p.csv"), "--data", str(phantoms), "--out", str(finished[0])]) == 2
    assert (finished[0] / "predictions.csv").read_bytes() == before


def test_a_split_without_a_validation_part(phantoms: Path, tmp_path: Path) -> None:
    split = split_of(phantoms, tmp_path, nv="train", rest="test")
    assert evaluated_table(random_table(phantoms), phantoms, tmp_path, "--split", str(split)) == 0
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert metrics["chosen_on"] == "crosswise" and metrics["conformal"] is None


def test_a_model_is_warned_of_on_its_own_training_images(
    evaluated: Path, finished: tuple[Path, str], phantoms: Path, tmp_path: Path
) -> None:
    assert json.loads((evaluated / "manifest.json").read_text())["overlap_with_training"] == "trained"
    page = (evaluated / "report.html").read_text()
    assert "was trained on these very images" in page and "--split RUN/splits.csv" in page
    own = ["evaluate", str(finished[0] / "model.onnx"), "--data", str(phantoms), "--out", str(tmp_path)]
    assert main([*own, "--split", str(finished[0] / "splits.csv")]) == 0
    assert "These are the data of the model" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nother,1,0,0,0,0,0,0\n", "no prediction for any image"),
        ("image,MEL,NV\nother,1,0\n", "has no column"),
        ("", "is empty: it should hold a header"),
    ],
)
def test_tables_that_do_not_fit(table: str, message: str, phantoms: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "p.csv").write_text(table)
    assert main(["evaluate", str(tmp_path / "p.csv"), "--data", str(phantoms), "--out", str(tmp_path / "e")]) == 2
    assert message in capsys.readouterr().err


def test_one_diagnosis_alone(phantoms: Path, tmp_path: Path, capsys) -> None:
    """Classes that are absent are "not available", not an error; what is defined is said all the same."""
    metadata = pd.read_csv(next(phantoms.glob("*.csv")))
    nevi = metadata[metadata["dx"] == "nv"]
    folder = tmp_path / "nevi"
    folder.mkdir()
    nevi.to_csv(folder / "HAM10000_metadata.csv", index=False)
    for image in nevi["image_id"]:
        (source,) = phantoms.rglob(f"{image}.jpg")
        (folder / source.name).write_bytes(source.read_bytes())
    table = nevi[["image_id"]].rename(columns={"image_id": "image"})
    table.assign(**dict(zip(HAM10000.columns, (0.2, 0.8, 0, 0, 0, 0, 0), strict=True))).to_csv(
        tmp_path / "p.csv", index=False
    )
    assert main(["evaluate", str(tmp_path / "p.csv"), "--data", str(folder), "--out", str(tmp_path / "e")]) == 0
    test = json.loads((tmp_path / "e" / "metrics.json").read_text())["test"]
    assert test["accuracy"] == test["balanced_accuracy"] == 1.0 and test["macro_auc"] is None
    assert "not available" in (tmp_path / "e" / "report.html").read_text()
    shown = capsys.readouterr().out
    assert (
        "accuracy           1.000  (95 % interval" in shown
        and "macro auc          not defined: all images are of one diagnosis" in shown
    )
    shutil.copytree(tmp_path / "e", tmp_path / "same")
    assert main(["compare", str(tmp_path / "e"), str(tmp_path / "same")]) == 0
    shown = capsys.readouterr().out
    assert re.search("macro auc +not defined +not defined  too few lesions", shown)
    assert not re.search(r"\bnan\b", shown)
