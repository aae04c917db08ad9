"""Tracking through its doors: a live run and an import, read back from a local SQLite store and from event files."""

import json
import shutil
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import requests

from conftest import MakeOnce, lesionlab_here
from lesionlab.cli import main
from lesionlab.environment import settings
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.runs.directory import open_run
from lesionlab.tracking import TRACKERS
from lesionlab.tracking import trackers as tracking
from lesionlab.tracking.tracker import Tracker

pytest.importorskip("mlflow", reason="needs pip install 'lesionlab[track]'")
pytest.importorskip("tensorboardX", reason="needs pip install 'lesionlab[track]'")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)


@pytest.fixture
def run(finished: tuple[Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "first"))


@pytest.fixture(scope="module")
def empty_store(make_once: MakeOnce) -> Path:
    """A store with its tables and no experiment of ours: MLflow takes seconds to lay the tables of each anew."""

    def lay(folder: Path) -> None:
        from mlflow.tracking import MlflowClient

        MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return make_once("mlflow", lay) / "mlflow.db"


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A local store in the current folder, as without any setting."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def runs_in(store: str) -> list:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("lesionlab")
    return [(client, found) for found in client.search_runs([experiment.experiment_id])]


def check_mlflow(store: str, run: Path) -> None:
    ((client, found),) = runs_in(store)
    metrics = json.loads((run / "metrics.json").read_text())
    history = pd.read_csv(run / "history.csv")
    assert found.info.status == "FINISHED" and found.data.params["model.architecture"] == "small-cnn"
    assert found.data.metrics["test.balanced_accuracy"] == pytest.approx(metrics["test"]["balanced_accuracy"])
    low = metrics["test"]["intervals"]["macro_auc"][0]
    assert low is None or found.data.metrics["test.macro_auc_low"] == pytest.approx(low)
    losses = sorted(client.get_metric_history(found.info.run_id, "loss"), key=lambda metric: metric.step)
    assert [metric.step for metric in losses] == history["epoch"].tolist()
    assert [metric.value for metric in losses] == pytest.approx(history["loss"].tolist())
    assert {"report.html", "model.onnx", "card.md"} <= {file.path for file in client.list_artifacts(found.info.run_id)}


def test_a_finished_run_is_handed_in_once_however_often(run: Path, store: str, capsys: pytest.CaptureFixture) -> None:
    for _ in range(2):
        assert main(["track", str(run), "--to", "mlflow"]) == 0
    assert store in capsys.readouterr().out
    check_mlflow(store, run)


def test_a_run_in_two_stores_is_once_in_each(run: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = f"sqlite:///{run.parent / 'other.db'}"
    (run / "mlflow.json").write_text('["another program\'s"]', encoding="utf-8")
    for uri in (store, "sqlite:///other.db", store, other):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert main(["track", str(run), "--to", "mlflow"]) == 0
    check_mlflow(store, run)
    check_mlflow(other, run)
    assert set(json.loads((run / "mlflow.json").read_text())) == {store, other}


def test_a_store_is_made_before_folds_write_into_it_side_by_side(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "folds")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    for _ in range(2):
        assert tracking.open_stores(("tensorboard", "mlflow")) == {"MLFLOW_TRACKING_URI": store}
    from mlflow.tracking import MlflowClient

    assert MlflowClient(tracking_uri=store).get_experiment_by_name("folds")
    assert tracking.open_stores(("tensorboard",)) == {}
    assert {"MLFLOW_EXPERIMENT_NAME": "folds", "KERAS_BACKEND": "tensorflow"}.items() <= settings().items()


def scalars_of(run: Path) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return {name: [event.value for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_a_finished_run_becomes_event_files(run: Path) -> None:
    for _ in range(2):
        assert main(["track", str(run), "--to", "tensorboard"]) == 0
    scalars = scalars_of(run)
    metrics = json.loads((run / "metrics.json").read_text())
    assert scalars["epoch/loss"] == pytest.approx(pd.read_csv(run / "history.csv")["loss"].tolist(), rel=1e-6)
    assert scalars["test/balanced_accuracy"] == pytest.approx([metrics["test"]["balanced_accuracy"]])


@pytest.mark.usefixtures("undrawn")
def test_a_run_is_tracked_while_it_trains(phantoms: Path, recipe: Path, tmp_path: Path, store: str) -> None:
    given = ("--data", phantoms, "--recipe", recipe, "--limit", 90, "--out", "run", "--track", "mlflow")
    done = lesionlab_here("run", *given, "--track", "tensorboard")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "mlflow: run " in done.stdout and "tensorboard --logdir" in done.stdout
    check_mlflow(store, tmp_path / "run")
    assert len(scalars_of(tmp_path / "run")["epoch/loss"]) == 3


def test_epochs_arrive_as_they_end_and_a_new_start_is_a_new_run(run: Path, store: str) -> None:
    tracker = tracking.start("mlflow", run)
    tracker.epoch({"epoch": 1, "loss": 2.0, "val_loss": float("nan")})
    ((client, found),) = runs_in(store)
    assert found.info.status == "RUNNING" and found.data.metrics == {"loss": 2.0}
    tracking.start("mlflow", run).epoch({"epoch": 2, "loss": 1.0})  # resumed: goes on with the same
    assert len(client.get_metric_history(found.info.run_id, "loss")) == 2
    tracking.start("mlflow", run, again=True)
    assert len(runs_in(store)) == 2


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (LesionlabError, "FAILED")])
def test_a_run_that_is_broken_off_is_none_at_work(
    error: type[BaseException], status: str, run: Path, store: str
) -> None:
    trackers = tracking.start_all(TRACKERS, run, again=False)
    with pytest.raises(error), tracking.closing_trackers(trackers):
        raise error
    assert [found.info.status for _, found in runs_in(store)] == [status]
    tracking.start("mlflow", run)
    assert [found.info.status for _, found in runs_in(store)] == ["RUNNING"]


def test_folds_that_are_broken_off_end_theirs(run: Path, store: str) -> None:
    """On Ray the workers end with the connection, and tell nobody."""
    folds = run.parent / "folds"
    shutil.copytree(run, folds / "fold-1")
    for name in ("recipe.toml", "manifest.json"):
        shutil.copy(run / name, folds)
    manifest = json.loads((folds / "manifest.json").read_text())
    manifest["request"]["folds"] = 2
    (folds / "manifest.json").write_text(json.dumps(manifest))
    above = tracking.start("mlflow", folds)
    tracking.start("mlflow", folds / "fold-1")
    above.stop(True)
    assert [found.info.status for _, found in runs_in(store)] == ["KILLED", "KILLED"]


def test_one_server_has_one_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lesionlab.tracking.mlflow import store_uri

    for uri in ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert store_uri() == "http://127.0.0.1:5000"


def test_a_password_is_neither_printed_nor_written(
    run: Path, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from mlflow.tracking import MlflowClient

    from lesionlab.tracking import mlflow

    uri, shown = "postgresql://me:secret@db/mlflow", "postgresql://db/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(mlflow, "_client", lambda uri: MlflowClient(tracking_uri=store))
    for key in (uri, shown):  # as a version before wrote it, which is known again
        assert main(["track", str(run), "--to", "mlflow"]) == 0
        written = json.loads((run / "mlflow.json").read_text())
        assert list(written) == [shown] and capsys.readouterr().out.strip().endswith(f" of {shown}")
        (run / "mlflow.json").write_text(json.dumps({key: written[shown]}))
    assert len(runs_in(store)) == 1

    def fail(uri: str) -> None:
        with mlflow._failures(uri):
            raise requests.ConnectionError

    monkeypatch.setattr(mlflow, "_client", fail)
    assert main(["track", str(run), "--to", "mlflow"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"lesionlab: MLflow at {shown} does not take the run: ConnectionError (MLFLOW_TRACKING_URI")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mysql+pymysql://me:p/w:1@db:3306/mlflow", "mysql+pymysql://db:3306/mlflow"),
        ("postgresql://me:p@w@db/mlflow?user=me&password=pw&x=1", "postgresql://db/mlflow?user=me&password=&x=1"),
        ("https://me:pw@host:5000/a@b", "https://host:5000/a@b"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/me@clinic/a:b@c.db", "sqlite:////home/me@clinic/a:b@c.db"),
        ("databricks", "databricks"),
    ],
)
def test_what_is_shown_of_an_address(uri: str, shown: str) -> None:
    from lesionlab.tracking import mlflow

    assert mlflow._shown(uri) == shown


def test_what_broke_off_is_completed(run: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that fails on its parameters is not remembered; an epoch that fails is logged by the import."""
    from mlflow.tracking import MlflowClient

    log_batch = MlflowClient.log_batch

    def fail(*_: object, **__: object) -> None:
        raise requests.ConnectionError("gone")

    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    with pytest.raises(LesionlabError, match="does not take the run: gone"):
        tracking.start("mlflow", run)
    assert not (run / "mlflow.json").exists()
    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    tracker = tracking.start("mlflow", run)
    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    with pytest.raises(LesionlabError):
        tracker.epoch(open_run(run).history().to_dict("records")[0])
    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    tracker.finish()
    client, found = runs_in(store)[0]
    assert len(found.data.params) > 40
    for name in ("loss", "val_loss", "val_accuracy"):
        assert [metric.step for metric in client.get_metric_history(found.info.run_id, name)] == [1, 2, 3]


@pytest.mark.parametrize("to", ["mlflow", "tensorboard"])
@pytest.mark.parametrize(
    ("file", "text"),
    [("metrics.json", "[]"), ("metrics.json", "{"), ("history.csv", ""), ("history.csv", "a,b\n1,2\n")],
)
def test_a_damaged_run_is_not_begun(file: str, text: str, to: str, run: Path, store: str, capsys) -> None:
    (run / file).write_text(text)
    assert main(["track", str(run), "--to", to]) == 1
    assert f"is damaged: its {file} cannot be read" in capsys.readouterr().err
    assert not (run / "mlflow.json").exists() and not (run / "tensorboard").exists()


@pytest.mark.parametrize(
    ("uri", "message", "code"),
    [("sqlite:///", "names no file", 2), ("sqlite:////nowhere/at/all.db", "cannot be written", 1)],
)
def test_a_store_that_cannot_be_is_said_at_once(
    uri: str, message: str, code: int, run: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["track", str(run), "--to", "mlflow"]) == code
    assert message in capsys.readouterr().err


def test_a_new_start_begins_tensorboard_anew(run: Path) -> None:
    for again in (False, True):
        tracker = tracking.start("tensorboard", run, again=again)
        for epoch in (1, 2, 3):
            tracker.epoch({"epoch": epoch, "loss": 1.0 / epoch})
        for _ in range(50):  # written by a thread of TensorBoard's, within a second or so
            if len(scalars_of(run).get("epoch/loss", ())) == 3:
                break
            time.sleep(0.2)
        assert scalars_of(run)["epoch/loss"] == pytest.approx([1, 1 / 2, 1 / 3])


def test_a_server_that_is_not_there_is_said_in_seconds(run: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["track", str(run), "--to", "mlflow"]) == 1
    shown = capsys.readouterr().err
    assert "MLflow at http://127.0.0.1:9 does not take the run" in shown and "Traceback" not in shown


def test_a_store_that_is_no_database_is_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "bad.db").write_text("no database " * 100, encoding="utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'bad.db'}")
    assert main(["track", str(run), "--to", "mlflow"]) == 1
    assert "bad.db does not take the run: (sqlite3.DatabaseError) file is not a database" in capsys.readouterr().err


def test_a_tracker_that_fails_stops_no_training(run: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail(*_: object) -> str:
        raise LesionlabError("the server is gone.")

    monkeypatch.setattr(tracking, "start", lambda name, folder, again: Tracker(name, fail, fail, fail))
    (tracker,) = tracking.start_all(("mlflow",), run, again=False)
    tracker.epoch({"epoch": 1})
    tracker.epoch({"epoch": 2})
    assert capsys.readouterr().out.count("the server is gone") == 1
    tracker.stop(True)
    assert "was not told that the run has ended (the server is gone.)" in capsys.readouterr().out
    assert tracker.finish() == f"failed: the server is gone. Later: lesionlab track {run} --to mlflow"


def test_what_cannot_be_tracked_is_said(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert main(["track", str(tmp_path), "--to", "mlflow"]) == 2
    assert "is no run directory" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no tracker 'wandb'. Known: mlflow, tensorboard"):
        tracking.start("wandb", run)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main(["track", str(run), "--to", "tensorboard"]) == 2
    assert "pip install 'lesionlab[track]'" in capsys.readouterr().err
    assert TRACKERS == tracking.TRACKERS
