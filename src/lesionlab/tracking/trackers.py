"""Runs where a team keeps its experiments: MLflow or TensorBoard, while a run trains or from its directory afterwards.

In: a run directory. Out: for MLflow a run with the recipe as parameters, a row of metrics an epoch, the figures of the
finished run and its files; for TensorBoard event files. A tracker that fails never stops a training: the failure is printed, and
`lesionlab track RUN` hands the run in later.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lesionlab.errors import LesionlabError, UsageError
from lesionlab.runs import directory
from lesionlab.runs.identity import Kind
from lesionlab.runs.stages import announce, say
from lesionlab.tracking import TRACKERS
from lesionlab.tracking.tracker import FOLDS, Tracker, open_directory, read_figures, read_history

_NESTING = ("mlflow",)  # runs can hang under a run


def start(name: str, folder: Path, *, again: bool = False) -> Tracker:
    """Begin to track a run, or go on with it where the same directory was tracked before.

    Args:
        name: one of `TRACKERS`.
        folder: run directory; it holds `recipe.toml` and `manifest.json` already.
        again: track it as a new run, whatever was tracked of the directory before.

    Raises:
        UsageError: the tracker is not installed, or not known.
        LesionlabError: its server or database does not answer.

    """
    if name == "mlflow":
        from lesionlab.tracking.mlflow import start_mlflow

        return start_mlflow(folder, again=again)
    if name == "tensorboard":
        from lesionlab.tracking.tensorboard import start_tensorboard

        return start_tensorboard(folder, again=again)
    raise UsageError(f"There is no tracker {name!r}. Known: {', '.join(TRACKERS)}.")


def open_stores(names: tuple[str, ...]) -> dict[str, str]:
    """Open what runs are about to write into side by side; give the settings that lead other processes to the same.

    Raises:
        UsageError: a tracker is not installed.
        LesionlabError: its server or database does not answer.

    """
    if "mlflow" not in names:
        return {}
    from lesionlab.tracking.mlflow import open_store

    return {"MLFLOW_TRACKING_URI": open_store()}


def start_all(names: tuple[str, ...], folder: Path, *, again: bool) -> list[Tracker]:
    """Start every tracker that is asked for; one that fails later is reported once, and the training goes on."""
    return [_forgiving(start(name, folder, again=again), folder) for name in names]


@contextmanager
def closing_trackers(trackers: Sequence[Tracker]) -> Iterator[None]:
    """Report to each tracker how the enclosed work ended: finished (printed), interrupted or failed."""
    try:
        yield
    except BaseException as error:
        for tracker in trackers:
            tracker.stop(isinstance(error, KeyboardInterrupt))
        raise
    for tracker in trackers:
        announce(f"{tracker.name}: {tracker.finish()}")


def start_folds(names: tuple[str, ...], folder: Path, *, again: bool) -> list[Tracker]:
    """Begin what the runs of folds will hang under, where a tracker knows such a thing."""
    return start_all(tuple(name for name in names if name in _NESTING), folder, again=again)


def import_run(folder: Path, to: str) -> str:
    """Hand a finished run, or finished folds, in to a tracker and say where it can be seen; done twice, it is there once.

    Raises:
        UsageError: no finished run, or the tracker is not installed.
        LesionlabError: the tracker does not answer.

    """
    if directory.holds(folder, Kind.FOLDS):
        return _import_folds(folder, to)
    run = directory.open_run(folder)
    read_history(run), read_figures(run)  # before a tracker is told that a run begins
    return start(to, folder).finish()


def _import_folds(folder: Path, to: str) -> str:
    if not (folder / FOLDS).is_file():
        raise UsageError(f"The folds in {folder} are not finished. The same 'lesionlab run' goes on with them.")
    read_figures(open_directory(folder))
    above = [start(to, folder).finish()] if to in _NESTING else []
    folds = sorted(path.parent for path in folder.glob(f"fold-*/{directory.MANIFEST}"))
    return "\n  ".join([*above, *(f"{fold.name}: {import_run(fold, to)}" for fold in folds)])


def _forgiving(tracker: Tracker, folder: Path) -> Tracker:
    """Let a training outlive its tracker: the first failure is printed, and nothing more is sent until the end."""
    is_well = [True]

    def epoch(row: dict[str, float]) -> None:
        if not is_well[0]:
            return
        try:
            tracker.epoch(row)
        except (LesionlabError, OSError) as error:
            is_well[0] = False
            say(f"{tracker.name} failed ({error}); the training goes on")

    def finish() -> str:
        try:
            return tracker.finish()
        except (LesionlabError, OSError) as error:
            return f"failed: {error} Later: lesionlab track {folder} --to {tracker.name}"

    def stop(is_users: bool) -> None:
        try:
            tracker.stop(is_users)
        except (LesionlabError, OSError) as error:
            say(f"{tracker.name} was not told that the run has ended ({error})")

    return Tracker(tracker.name, epoch, finish, stop)
