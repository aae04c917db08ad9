"""The run directory: one run at a time in it, continued by the same request, never mixed with another.

`manifest.json` is written when a run begins (with `finished` null) and when it ends; a directory that holds none is not
a run directory and is left alone.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from lesionlab._version import __version__
from lesionlab.environment import called_as, now
from lesionlab.errors import UsageError
from lesionlab.files import write_json
from lesionlab.folders import contents, sweep

MANIFEST = "manifest.json"
RECIPE = "recipe.toml"
CHECKPOINT = "checkpoint.npz"
FINAL = "final.keras"
EVALUATION = "evaluation"

_BEFORE_TRAINING = {MANIFEST, RECIPE, "splits.csv", "exploration.json", "figures"}
# What a run's later commands take up from where they find it, and what is exported of its network.
_TRAINED = (CHECKPOINT, "model.*", "final*", "model-int8.onnx", "exported.*", "savedmodel")


def begin(folder: Path, request: dict[str, Any], *, again: bool) -> dict[str, Any] | None:
    """Look at what the folder holds: None to start or to go on, the manifest if this very run is finished.

    Args:
        folder: claimed: it holds a manifest, or nothing.
        request: what identifies a run (recipe, data, seed, limit), a search, folds or an ensemble.
        again: start anew, whatever the folder's run has done: its networks are removed.

    Raises:
        UsageError: the folder holds another run that got as far as training, or with `again` something of another kind.

    """
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    held = manifest["request"]
    if again and _kind(held) != _kind(request):
        raise UsageError(f"{folder} holds {_kind(held)}, not {_kind(request)}. Choose another folder with --out.")
    if again:
        write_json(folder / MANIFEST, manifest | {"finished": None})  # a kill from here on leaves an unfinished run
        for path in (path for pattern in _TRAINED for path in folder.glob(pattern)):
            _remove(path)
        sweep(folder)
        return None
    differing = [key for key in (request | held) if held.get(key) != request.get(key)]
    if differing and not _BEFORE_TRAINING.issuperset(contents(folder)):
        raise UsageError(
            f"{folder} holds another run (it differs in: {', '.join(differing)}). "
            "Choose another folder with --out, or replace it with --again."
        )
    sweep(folder)
    return manifest if manifest.get("finished") else None


def new_manifest(request: dict[str, Any], seed: int, started: str | None = None) -> dict[str, Any]:
    """Begin the manifest of what `request` identifies, by the command at work; `started` now, or as given."""
    return {
        "lesionlab": __version__,
        "command": called_as(),
        "request": request,
        "seed": seed,
        "started": started or now(),
        "finished": None,
    }


def _kind(request: dict[str, Any]) -> str:
    """Name what a request identifies, by the key that it alone has."""
    kinds = {"space": "a search", "members": "an ensemble", "folds": "folds"}
    return next((name for key, name in kinds.items() if key in request), "a run")


def _remove(path: Path) -> None:
    """Remove a file or a SavedModel; any other folder is left alone."""
    if not path.is_dir():
        path.unlink()
    elif (path / "saved_model.pb").is_file():
        shutil.rmtree(path)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the folder's manifest, or None where there is none.

    Raises:
        UsageError: the file is there but is no manifest of a run.

    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest.get("kind") == EVALUATION:
            raise UsageError(f"{folder} holds an evaluation, by 'lesionlab evaluate', and no run. Give another folder.")
        manifest["request"]
    except (ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{path} is not a manifest of lesionlab's. Give another folder.") from error
    return manifest


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """Read the manifest that `lesionlab evaluate` wrote; None where there is none, or another one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest if manifest.get("kind") == EVALUATION else None
    except (OSError, ValueError, AttributeError):
        return None


def read_finished(folder: Path) -> dict[str, Any]:
    """Read the manifest of a finished run.

    Raises:
        UsageError: the folder holds no run, or one that is not finished.

    """
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is None:
        raise UsageError(f"{folder} is no run directory. Give one that 'lesionlab run' has written.")
    if not manifest.get("finished"):
        raise UsageError(f"The run in {folder} is not finished. The same 'lesionlab run' goes on with it.")
    if "data" not in manifest:
        inner = next((path.parent for path in sorted(folder.glob(f"*/{MANIFEST}"))), None)
        hint = f" Give one of the runs in it, such as {inner}." if inner else ""
        raise UsageError(f"{folder} holds folds or a search, and no network of its own.{hint}")
    return manifest


def is_of_folds(folder: Path) -> bool:
    """Whether the folder is one that `lesionlab run --folds` writes."""
    try:
        manifest = read_manifest(folder)
    except UsageError:
        return False
    return manifest is not None and "folds" in manifest["request"]


def data_folder(manifest: dict[str, Any]) -> Path:
    """Give the folder of a run's images, wherever the command is called from."""
    folder, asked = Path(manifest["data"]["folder"]), Path(str(manifest["request"].get("data", "")))
    return asked if asked.is_absolute() and not folder.is_absolute() else folder
