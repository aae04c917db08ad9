"""What `lesionlab` alone suggests: three commands, by what lies in the folder and what is installed."""

import json
import shlex
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from lesionlab.data.image_formats import SUFFIXES

_MOST_LOOKED_AT = 200  # entries of a folder: an archive of a million files is not listed
_MOST_BYTES = 1_000_000  # of a manifest; a run's has some thousands
_TABLES = ("*metadata*", "*GroundTruth*")
_Step = tuple[str, str]


def next_steps(folder: Path) -> list[_Step]:
    """Suggest three commands with what each does, the one that fits best first.

    Args:
        folder: that `lesionlab` was called in.

    """
    return [*_of_runs(folder), *_of_images(folder), *_of_nothing()][:3]


def _of_nothing() -> list[_Step]:
    """Suggest what needs no images: an extra that is not installed before what it makes possible."""
    has_page, has_keras = find_spec("fastapi") is not None, find_spec("keras") is not None
    page = ("lesionlab demo", "a page with generated lesions to click")
    run = ("lesionlab run", "a first run, on generated lesions, in minutes")
    return [
        page if has_page else ("pip install 'lesionlab[serve]'", f"what the page needs; then: {page[0]}"),
        run if has_keras else ("pip install 'lesionlab[cpu]'", f"what training needs; then: {run[0]}"),
        ("lesionlab predict photo.jpg", "a prediction by the model that comes with lesionlab"),
    ]


def _of_runs(folder: Path) -> list[_Step]:
    """Suggest to go on with the newest run that was stopped, and to use the newest finished one."""
    found = [*_some(folder / "runs", "*/manifest.json"), *_some(folder, "*/manifest.json")]
    manifests = [(path, _read(path)) for path in sorted(found, key=_modified, reverse=True)]
    stopped = [_own_command(facts.get("command")) for _, facts in manifests if facts.get("finished", "") is None]
    models = [path.with_name("model.onnx") for path, facts in manifests if facts.get("finished")]
    steps = [(command, "go on with the run that was stopped") for command in stopped if command][:1]
    for model in [model for model in models if model.is_file()][:1]:
        steps.append(
            (f"lesionlab predict photo.jpg --model {_quoted(model.relative_to(folder))}", "by your newest run")
        )
    return steps


def _of_images(folder: Path) -> list[_Step]:
    """Suggest what to do with labelled images, here or in a folder of this one; with others, to predict them."""
    folders = [path for path in _some(folder, "*") if path.is_dir() and not path.name.startswith(".")]
    for place in (folder, *folders):
        name = _quoted(place.relative_to(folder))
        if any(_some(place, pattern) for pattern in _TABLES):
            return [(f"lesionlab check {name}", "what is in it"), (f"lesionlab run --data {name}", "train on it")]
    pictured = next((place for place in (folder, *folders) if _has_pictures(place)), None)
    if pictured:
        name = _quoted(pictured.relative_to(folder))
        return [(f"lesionlab predict {name}", "a prediction for each image of this folder")]
    return []


def _has_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in _some(folder, "*"))


def _read(manifest: Path) -> dict[str, object]:
    """Read a run's manifest; nothing where it is none, or another program's."""
    try:
        facts = json.loads(manifest.read_bytes()) if manifest.stat().st_size <= _MOST_BYTES else {}
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) and "lesionlab" in facts else {}


def _own_command(written: object) -> str:
    """Give a command line of lesionlab's as one can type it, nothing for any other: a manifest may be anybody's."""
    try:
        words = shlex.split(written) if isinstance(written, str) and written.isprintable() else []
    except ValueError:
        return ""
    kept = [word for word in words if word != "--again"]  # which would start over
    return shlex.join(kept) if words[:1] == ["lesionlab"] else ""


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0


def _some(folder: Path, pattern: str) -> list[Path]:
    """Take some of the entries that fit; none where the folder cannot be read."""
    try:
        return sorted(islice(folder.glob(pattern), _MOST_LOOKED_AT))
    except OSError:
        return []


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
