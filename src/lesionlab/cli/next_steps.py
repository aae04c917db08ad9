"""What `lesionlab` alone suggests: three commands, by what lies in the folder and what is installed."""

import shlex
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from lesionlab.data.image_formats import SUFFIXES

_MOST_LOOKED_AT = 200  # entries of a folder: an archive of a million files is not listed
_Step = tuple[str, str]


def next_steps(folder: Path) -> list[_Step]:
    """Suggest three commands with what each does, the one that fits best first.

    Args:
        folder: that `lesionlab` was called in.

    """
    steps = [*_of_runs(folder), *_of_images(folder)]
    if find_spec("keras") is None:
        steps.append(("pip install 'lesionlab[cpu]'", "what training needs"))
    else:
        steps.append(("lesionlab run", "a first run, on generated lesions, in minutes"))
    if find_spec("fastapi") is None:
        steps.append(("pip install 'lesionlab[serve]'", "what the page needs"))
    else:
        steps.append(("lesionlab serve", "a page on this machine that predicts"))
    steps.append(("lesionlab predict photo.jpg", "a prediction by the model that comes with lesionlab"))
    return steps[:3]


def _of_runs(folder: Path) -> list[_Step]:
    reports = [*_some(folder / "runs", "*/report.html"), *_some(folder, "*/report.html")]
    models = [report.parent / "model.onnx" for report in reports if (report.parent / "model.onnx").is_file()]
    if not models:
        return []
    newest = max(models, key=lambda path: path.stat().st_mtime).relative_to(folder)
    return [(f"lesionlab predict photo.jpg --model {_quoted(newest)}", "a prediction by your newest run")]


def _of_images(folder: Path) -> list[_Step]:
    folders = [path for path in _some(folder, "*") if path.is_dir() and not path.name.startswith(".")]
    labelled = next((path for path in folders if _some(path, "*metadata*") or _some(path, "*GroundTruth*")), None)
    if labelled:
        name = _quoted(labelled.relative_to(folder))
        return [(f"lesionlab check {name}", "what is in it"), (f"lesionlab run --data {name}", "train on it")]
    if any(path.suffix.lower() in SUFFIXES for path in _some(folder, "*")):
        return [("lesionlab predict .", "a prediction for each image of this folder")]
    return []


def _some(folder: Path, pattern: str) -> list[Path]:
    """Take some of the entries that fit; none where the folder cannot be read."""
    try:
        return sorted(islice(folder.glob(pattern), _MOST_LOOKED_AT))
    except OSError:
        return []


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
