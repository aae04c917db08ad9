"""The start of a run in its folder: anew, on from where it stopped, or not at all; never mixed with another run.

`manifest.json` is written when a run begins (with `finished` null) and when it ends; a directory that holds none is not a run
directory and is left alone.
"""

import shutil
from pathlib import Path

import msgspec

from lesionlab._version import __version__
from lesionlab.environment import called_as, now
from lesionlab.errors import UsageError
from lesionlab.files import write_json
from lesionlab.folders import contents, sweep
from lesionlab.runs.directory import CHECKPOINT, MANIFEST, RECIPE, RunDirectory, find_training
from lesionlab.runs.identity import Head, Identity, Kind

_BEFORE_TRAINING = {MANIFEST, RECIPE, "splits.csv", "exploration.json", "figures"}
# Files that later commands read, and exports: --again removes them.
_TRAINED = (CHECKPOINT, "model.*", "final*", "model-int8.onnx", "exported.*", "savedmodel")


def find_finished(folder: Path, identity: Identity, *, again: bool) -> RunDirectory | None:
    """Look at what the folder holds: None to start or to go on, the run if this very one is finished.

    Args:
        folder: claimed: it holds a manifest, or nothing.
        identity: of the run, search, folds or ensemble that is asked for.
        again: start anew, whatever the folder's run has done: its networks are removed.

    Raises:
        UsageError: the folder holds another run that got as far as training, or with `again` something of another kind.

    """
    held = find_training(folder)
    if held is None:
        return None
    if again and held.kind is not identity.kind:
        asked = identity.kind.in_words
        raise UsageError(f"{folder} holds {held.kind.in_words}, not {asked}. Choose another folder with --out.")
    if again:
        write_manifest(folder, msgspec.structs.replace(held.head, finished=None))  # a kill leaves an unfinished run
        for path in (path for pattern in _TRAINED for path in folder.glob(pattern)):
            _remove(path)
        sweep(folder)
        return None
    differing = identity.differing(held.head.request)
    if differing and not _BEFORE_TRAINING.issuperset(contents(folder)):
        kind = Kind.SEARCH if held.kind is Kind.SEARCH else Kind.RUN
        raise UsageError(
            f"{folder} holds another {kind} (it differs in: {', '.join(differing)}). "
            "Choose another folder with --out, or replace it with --again."
        )
    sweep(folder)
    return held if held.head.finished else None


def new_head(identity: Identity, seed: int, started: str | None = None) -> Head:
    """Begin the manifest of what `identity` says, by the command at work; `started` now, or as given."""
    return Head(
        lesionlab=__version__,
        command=called_as(),
        request=identity,
        seed=seed,
        started=started or now(),
    )


def write_manifest(folder: Path, manifest: msgspec.Struct) -> None:
    """Write a manifest, short or whole."""
    write_json(folder / MANIFEST, msgspec.to_builtins(manifest))


def _remove(path: Path) -> None:
    """Remove a file or a SavedModel; any other folder is left alone."""
    if not path.is_dir():
        path.unlink()
    elif (path / "saved_model.pb").is_file():
        shutil.rmtree(path)
