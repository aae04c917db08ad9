"""Cross-validation: who is tested on where; then two folds by Ray, put together."""

import dataclasses
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from conftest import lesionlab, lesionlab_here
from lesionlab import environment
from lesionlab.cli import main
from lesionlab.data.split_proof import prove
from lesionlab.errors import UsageError
from lesionlab.evaluation.metrics import HEADLINE
from lesionlab.files import write_json
from lesionlab.lifecycle.cross_validate import assign_folds, cross_validate, fold_parts
from lesionlab.lifecycle.values import Request
from lesionlab.recipe import read_recipe
from lesionlab.taxonomy import DX, HAM10000
from run_files import run_manifest

N_GROUPS = 23  # of each diagnosis: not a multiple of the folds


@pytest.fixture
def table() -> pd.DataFrame:
    """Seven diagnoses, 23 groups each, of one to three images."""
    rows = [
        {"image_id": f"{dx}{group}-{image}", "lesion_id": f"{dx}{group}", "group": f"{dx}{group}", "dx": dx}
        for dx in DX
        for group in range(N_GROUPS)
        for image in range(group % 3 + 1)
    ]
    return pd.DataFrame(rows).assign(sha256=lambda t: t["image_id"])


@pytest.mark.parametrize("name", ["source", "kaggle", "file"])
def test_a_recipe_with_a_split_of_its_own_is_refused(name: str, tmp_path: Path) -> None:
    recipe = read_recipe("quick").with_changes("split", name=name)
    with pytest.raises(UsageError, match=f"Folds divide the lesions themselves: take split.name = '{name}' out"):
        cross_validate(Request(recipe, None, tmp_path / "out", 0), 2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("n_folds", [2, 5, 10])
def test_every_group_is_tested_on_once_and_diagnoses_are_even(table: pd.DataFrame, n_folds: int) -> None:
    folds = assign_folds(table, n_folds, HAM10000, seed=1)
    assert set(folds) == set(range(1, n_folds + 1))
    assert (folds.groupby(table["group"]).nunique() == 1).all()
    counts = table.assign(fold=folds).groupby(["dx", "fold"])["group"].nunique()
    assert counts.max() - counts.min() <= 1
    assert not folds.equals(assign_folds(table, n_folds, HAM10000, seed=2))
    pd.testing.assert_series_equal(folds, assign_folds(table, n_folds, HAM10000, seed=1))


def test_no_fold_leaks_and_each_has_every_diagnosis_in_every_part(table: pd.DataFrame) -> None:
    folds = assign_folds(table, 5, HAM10000, seed=0)
    for fold in range(1, 6):
        parts = fold_parts(table, folds, fold, HAM10000, validation_share=0.1, seed=0)
        assert ((parts == "test") == (folds == fold)).all()
        assert not prove(table, parts).is_leaking
        assert (table.groupby(parts)["dx"].nunique() == 7).all() and parts.nunique() == 3


def test_too_few_lesions_are_named(table: pd.DataFrame) -> None:
    few = table[(table["dx"] != "df") | table["group"].isin(["df0", "df1", "df2"])].reset_index(drop=True)
    with pytest.raises(UsageError, match=r"dermatofibroma \(df\) has 3 lesions: too few for 5 folds"):
        assign_folds(few, 5, HAM10000, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "ray"], "give --folds K"),
        (["--folds", "1"], "outside 2 to 100"),
        (["--folds", "3", "--split", "kaggle"], "leave out --split"),
    ],
)
def test_options_of_folds(options: list[str], message: str, capsys) -> None:
    assert main(["run", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # MLflow leaves its store to the collector
def test_two_folds_by_ray_are_judged_together(
    phantoms: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lesionlab[scale]'")
    pytest.importorskip("mlflow", reason="needs pip install 'lesionlab[track]'")
    store = tmp_path / "store"
    store.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}")
    out = tmp_path / "folds"
    options = ["--data", phantoms, "--recipe", recipe, "--epochs", 1, "--out", out, "--folds", 2, "--engine", "ray"]
    done = lesionlab("run", *options, "--track", "mlflow")
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        tracked = database.execute("SELECT name, status, run_uuid FROM runs ORDER BY name").fetchall()
        above = database.execute("SELECT value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall()
        kept = dict(database.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (tracked[2][2],)))
    assert [row[:2] for row in tracked] == [(name, "FINISHED") for name in ("fold-1", "fold-2", "folds")]
    assert above == [(tracked[2][2],)] * 2
    assert len(list(store.rglob("model.onnx"))) == 2 and not (tmp_path / "mlruns").exists()
    predictions, summary = pd.read_csv(out / "predictions.csv"), json.loads((out / "folds.json").read_text())
    folds = pd.read_csv(out / "folds.csv").set_index("image_id")["fold"]
    assert predictions["image"].is_unique and set(predictions["image"]) == set(folds.index)
    assert (folds.loc[predictions["image"]].to_numpy() == predictions["fold"].to_numpy()).all()
    expected = balanced_accuracy_score(predictions.truth, predictions.predicted)
    assert summary["together"]["balanced_accuracy"] == pytest.approx(expected)
    assert kept["together.balanced_accuracy"] == pytest.approx(expected)
    assert kept["folds.accuracy_mean"] == pytest.approx(summary["accuracy"]["mean"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'later.db'}")
    for _ in range(2):
        handed_in = lesionlab_here("track", out, "--to", "mlflow")
        assert handed_in.returncode == 0, handed_in.stderr
    with closing(sqlite3.connect(tmp_path / "later.db")) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (3,)
        assert database.execute("SELECT count(*) FROM tags WHERE key = 'mlflow.parentRunId'").fetchone() == (2,)
    again = lesionlab_here("run", *options)
    assert again.returncode == 0 and "were finished" in again.stdout
    other = lesionlab_here("run", *options, "--seed", 1)
    assert other.returncode == 2 and "seed" in other.stderr
    plain = lesionlab_here("run", *options[:-4])
    assert plain.returncode == 2 and "holds another run (it differs in: folds)" in plain.stderr


def test_folds_among_the_images_are_refused(phantoms: Path, capsys) -> None:
    out = phantoms / "folds"
    assert main(["run", "--data", str(phantoms), "--folds", "2", "--out", str(out)]) == 2
    assert "lies in the data folder" in capsys.readouterr().err and not out.exists()


def test_folds_begun_anew_and_broken_off_are_all_made_anew(
    phantoms: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--again, interrupted in its first fold; the same command without it must not take the other, older fold as done."""
    clock, calls = iter(range(10**6, 10**7)), []

    def fake_run(request: Request) -> Path:
        calls.append((request.out.name, request.again))
        request.out.mkdir(exist_ok=True)
        now = environment.now()
        write_json(request.out / "manifest.json", run_manifest(finished=now) | {"started": now})
        write_json(request.out / "metrics.json", {"test": dict.fromkeys(HEADLINE, 0.5)})
        if interrupted:
            raise KeyboardInterrupt
        return request.out

    monkeypatch.setattr("lesionlab.environment.now", lambda: str(next(clock)))
    monkeypatch.setattr("lesionlab.lifecycle.cross_validate.run", fake_run)
    monkeypatch.setattr("lesionlab.lifecycle.cross_validate._evaluate", lambda *_: None)
    request = Request(read_recipe(str(recipe)), phantoms, tmp_path / "folds")
    interrupted = False
    cross_validate(request, 2)
    interrupted = True
    with pytest.raises(KeyboardInterrupt):
        cross_validate(dataclasses.replace(request, again=True), 2)
    interrupted = False
    cross_validate(request, 2)
    assert calls[:2] == [("fold-1", False), ("fold-2", False)]
    assert calls[2:] == [("fold-1", True), ("fold-1", False), ("fold-2", True)]
