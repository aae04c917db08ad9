"""MLflow: a run directory as a run of MLflow's, in a local SQLite file or on the server of `MLFLOW_TRACKING_URI`.

The directory remembers in `mlflow.json` its run in each store, so that a resumed run and a second import go on with the same.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lesionlab.errors import LesionlabError, UsageError, why_missing
from lesionlab.files import write_json
from lesionlab.runs import directory
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.identity import Kind
from lesionlab.tracking import tracker

REMEMBERED = "mlflow.json"
# Fail in seconds where nobody answers (MLflow itself tries for minutes); send nothing to MLflow's makers.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def start_mlflow(folder: Path, *, again: bool = False) -> tracker.Tracker:
    """Begin or go on with the directory's run of MLflow; see `lesionlab.tracking.trackers.start`."""
    run = tracker.open_directory(folder)
    uri = store_uri()
    client = _client(uri)
    from mlflow import entities

    with _failures(uri):
        held = _remembered(folder)
        run_id = None if again else _still_there(client, held.get(_shown(uri)))
        if run_id is None:
            run_id = _create(client, uri, folder, run.recipe.name)
            values = tracker.parameters(run).items()
            client.log_batch(run_id, params=[entities.Param(name, value[:6000]) for name, value in values])
        if held.get(_shown(uri)) != run_id or _shown(uri) != uri:  # a password may stand in a file of before
            write_json(folder / REMEMBERED, held | {_shown(uri): run_id})
        client.update_run(run_id, status="RUNNING")

    def epoch(row: dict[str, float]) -> None:
        with _failures(uri):
            _log_epoch(client, run_id, row)

    def finish() -> str:
        done = tracker.open_directory(folder)
        history, found = tracker.read_history(done), tracker.read_figures(done)
        with _failures(uri):
            _log_finished(client, run_id, done, history, found)
        return f"run {run_id} of {_shown(uri)}"

    def stop(is_users: bool) -> None:
        status = "KILLED" if is_users else "FAILED"
        with _failures(uri):
            for fold in sorted(folder.glob(f"fold-*/{REMEMBERED}")):  # those whose workers ended with Ray
                _end_if_at_work(client, _remembered(fold.parent).get(_shown(uri)), status)
            client.set_terminated(run_id, status)

    return tracker.Tracker("mlflow", epoch, finish, stop)


def store_uri() -> str:
    """Give where runs go: `MLFLOW_TRACKING_URI`, or a file in the current folder; a SQLite file by its full path.

    One store has one name, for that is what a directory remembers it by: a server's is without a slash at its end.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme, slashes, path = uri.partition(":///")
    if scheme == "sqlite" and path:
        return f"{scheme}{slashes}{Path(path).resolve()}"
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else uri


def _shown(uri: str) -> str:
    """Give the address without name and password: what is printed, and what a directory remembers its store by.

    SQLAlchemy takes a password with slashes, and some databases take one behind the question mark.
    """
    if uri.startswith(("http://", "https://")):
        return re.sub(r"(?<=://)[^/?#]*@", "", uri, count=1)
    bare = re.sub(r"(?<=://)(?:[^/?#]*|[^:/@?]*:[^@]*)@", "", uri, count=1)
    return re.sub(r"(?i)(?<=[?&])(password|passwd|pwd|odbc_connect)=[^&]*", r"\1=", bare)


def _sqlite_file(uri: str) -> Path | None:
    """Give the file of a SQLite store that can be written, None for a store of another kind.

    Raises:
        UsageError: the address names no file.
        LesionlabError: the file's folder is not there or cannot be written; MLflow itself would try for minutes.

    """
    scheme, _, path = uri.partition("://")
    if scheme != "sqlite":
        return None
    file = Path(path[1:])
    if len(path) < 2:
        raise UsageError(f"MLFLOW_TRACKING_URI={uri} names no file: sqlite:////full/path/mlflow.db.")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise LesionlabError(
            f"MLflow at {uri} cannot be written: name a file in a folder of yours (MLFLOW_TRACKING_URI)."
        )
    return file


def open_store() -> str:
    """Make the store and its experiment where they are absent, since many that do so side by side disturb each other; say where.

    Raises:
        UsageError: MLflow is not installed.
        LesionlabError: its server or database does not answer.

    """
    uri = store_uri()
    client = _client(uri)
    with _failures(uri):
        _experiment(client, uri)
    return uri


def _client(uri: str) -> Any:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import alembic  # noqa: F401  for a database, the default
        import mlflow  # noqa: F401
        import sqlalchemy  # noqa: F401
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise UsageError(f"{why_missing('MLflow', str(error.name), 'track')}.") from error
    _sqlite_file(uri)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with _failures(uri):
        return MlflowClient(tracking_uri=uri)


@contextmanager
def _failures(uri: str) -> Iterator[None]:
    """Make of MLflow's failures, and of those of its database and its connection, one error that says what to do."""
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, CommandError, ImportError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].replace(uri, _shown(uri))[:300]
        raise LesionlabError(
            f"MLflow at {_shown(uri)} does not take the run: {first} (MLFLOW_TRACKING_URI names it)."
        ) from error


def _remembered(folder: Path) -> dict[str, str]:
    """The runs that this directory was tracked as, by store."""
    try:
        held = json.loads((folder / REMEMBERED).read_text(encoding="utf-8"))
        return {_shown(uri): run_id for uri, run_id in held.items() if isinstance(run_id, str)}
    except (OSError, ValueError, AttributeError):
        return {}


def _still_there(client: Any, run_id: str | None) -> str | None:
    """The run, if its store still has it."""
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run_id if found.info.lifecycle_stage == "active" else None


def _end_if_at_work(client: Any, run_id: str | None, status: str) -> None:
    if run_id and client.get_run(run_id).info.status == "RUNNING":
        client.set_terminated(run_id, status)


def _create(client: Any, uri: str, folder: Path, recipe: str) -> str:
    """Create a run; that of a fold hangs under that of its folds, which lie in the folder above."""
    tags = {"lesionlab.recipe": recipe, "lesionlab.run_directory": str(folder.resolve())}
    above = folder.resolve().parent
    if directory.holds(above, Kind.FOLDS) and (run_id := _remembered(above).get(_shown(uri))):
        tags["mlflow.parentRunId"] = run_id
    return client.create_run(_experiment(client, uri), run_name=folder.resolve().name, tags=tags).info.run_id


def _experiment(client: Any, uri: str) -> str:
    """The id of the experiment that runs go into; made where it is absent, with its files beside a SQLite file."""
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "lesionlab"
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            file = _sqlite_file(uri)
            return client.create_experiment(name, str(file.parent / "mlruns") if file else None)
        except MlflowException as error:  # another run has made it in between
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise error
    return experiment.experiment_id


def _log_epoch(client: Any, run_id: str, row: dict[str, float]) -> None:
    _log_figures(client, run_id, tracker.epoch_figures(row), step=int(row["epoch"]))


def _log_figures(client: Any, run_id: str, figures: dict[str, float], step: int) -> None:
    """Log figures in one request, so that all are there or none."""
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, value in figures.items()])


def _log_finished(
    client: Any, run_id: str, run: RunDirectory, history: list[dict[str, float]], figures: dict[str, float]
) -> None:
    """Add the epochs that are not there yet, the figures and the files."""
    logged = {metric.step for metric in client.get_metric_history(run_id, "loss")}
    for row in history:
        if int(row["epoch"]) not in logged:
            _log_epoch(client, run_id, row)
    _log_figures(client, run_id, figures, step=0)
    facts = {"lesionlab.version": run.head.lesionlab}
    if run.kind.has_network:  # folds have theirs each
        facts |= {
            "lesionlab.fingerprint": run.manifest.data.fingerprint,
            "lesionlab.backend": run.manifest.environment.backend,
            "lesionlab.device": run.manifest.environment.device,
        }
    for name, value in facts.items():
        client.set_tag(run_id, name, value)
    for name in tracker.FILES:
        if (run.folder / name).is_file():
            client.log_artifact(run_id, str(run.folder / name))
    client.set_terminated(run_id, "FINISHED")
