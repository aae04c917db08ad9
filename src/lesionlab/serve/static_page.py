"""`lesionlab export --format web`: a model in, a folder out that any file server can host; images never leave the browser.

The folder holds the page that `lesionlab serve` shows, the model, its facts, and ONNX Runtime for browsers. It needs no
isolation headers (one thread) and no MIME types beyond those of HTML, CSS, JavaScript and JSON.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lesionlab.data.image_limits import MAX_ASPECT, MAX_PIXELS, MIN_SIDE_PX
from lesionlab.data.jpeg import MAX_SCANNED_PIXELS
from lesionlab.errors import UsageError
from lesionlab.files import replacing_folder, write_json
from lesionlab.inference.bundle import MODELS, packaged_models
from lesionlab.inference.model import Model, load_model
from lesionlab.serve.guard import POLICY
from lesionlab.serve.limits import Limits
from lesionlab.serve.onnxruntime_web import VERSION, read_runtime
from lesionlab.serve.page_facts import PAGE, describe_model

MODEL, FACTS, MARK = "model.onnx", "facts.json", "lesionlab-engine"
_SERVER_ONLY = ("engine-server.js",)


@dataclass(frozen=True)
class Exported:
    """The folder written, the model's name, and the size of all files in bytes."""

    folder: Path
    model: str
    size: int


def export_web(source: Path | None, folder: Path, *, runtime: Path | None = None) -> Exported:
    """Write a static folder that runs a model in the browser.

    Args:
        source: a finished run (its `model.onnx` is taken), a `.onnx` file, or None for the model that comes with lesionlab.
        folder: to be made; an earlier export there is replaced, anything else is left alone.
        runtime: onnxruntime-web's tarball; None to download it, or to take it from the cache.

    Raises:
        UsageError: no such model, a folder that holds something else, a wrong tarball.
        LesionlabError: the runtime cannot be downloaded; nothing is written then.

    """
    model = load_model(source)
    _refuse_foreign(folder)
    files = read_runtime(runtime)
    with replacing_folder(folder) as temporary:
        _write_page(temporary, files)
        (temporary / MODEL).write_bytes(model.bundle.data)
        write_json(temporary / FACTS, describe_page_model(model))
        (temporary / "licences.txt").write_text(_licences(model), encoding="utf-8")
    return Exported(folder, model.facts.name, sum(file.stat().st_size for file in folder.iterdir()))


def model_and_folder(run: Path | None, out: Path | None) -> tuple[Path | None, Path]:
    """Tell model and folder: `--format web DIR` names a folder to write, where DIR is neither a run nor a model.

    Raises:
        UsageError: no folder is named.

    """
    if out is not None:
        return run, out
    if run is None:
        raise UsageError("Name the folder to write: lesionlab export --format web --out DIR.")
    if (run / "model.onnx").is_file() and not (run / FACTS).exists():
        return run, run / "web"
    if run.suffix == ".onnx" or str(run) in {model.stem for model in packaged_models()}:
        raise UsageError(f"Name the folder to write: lesionlab export {run} --format web --out DIR.")
    return None, run


def describe_page_model(model: Model) -> dict[str, object]:
    """Give `facts.json`: what `/v1/model` gives, the limits that Python sets itself, and the size of the model's file."""
    limits = Limits()
    return describe_model(model) | {
        "reference": False,
        "examples": [],
        "limits": {
            "file_bytes": limits.file_bytes,
            "pixels": MAX_PIXELS,
            "files": limits.files,
            "side_px": MIN_SIDE_PX,
            "aspect": MAX_ASPECT,
            "scanned_pixels": MAX_SCANNED_PIXELS,
        },
        "model_bytes": len(model.bundle.data),
    }


def _write_page(folder: Path, runtime: Mapping[str, bytes]) -> None:
    for file in sorted(PAGE.iterdir()):
        if file.name not in (*_SERVER_ONLY, "index.html"):
            shutil.copyfile(file, folder / file.name)
    for name, data in runtime.items():
        (folder / name).write_bytes(data)
    (folder / "index.html").write_text(static_index(), encoding="utf-8")


def static_index() -> str:
    """Give `index.html` of the static page: the service's, with the other engine and with its policy inside."""
    ours = {"script-src 'self'": "script-src 'self' 'wasm-unsafe-eval'", "; frame-ancestors 'none'": ""}
    policy = POLICY
    for old, new in ours.items():
        policy = policy.replace(old, new)
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    return text.replace(
        f'<meta name="{MARK}" content="server">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<meta name="{MARK}" content="browser">',
    )


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        if not folder.parent.is_dir():
            raise UsageError(f"The folder {folder.parent} does not exist. Make it, or choose another with --out.")
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file. Choose a folder with --out.")
    index = folder / "index.html"
    is_ours = (folder / FACTS).is_file() and index.is_file() and MARK in index.read_text("utf-8", "replace")
    if any(folder.iterdir()) and not is_ours:
        raise UsageError(f"{folder} is not empty and holds no exported page. Choose another folder with --out.")


def _licences(model: Model) -> str:
    is_own = any(file.read_bytes() == model.bundle.data for file in packaged_models())
    own = f"{(MODELS / 'LICENSE.txt').read_text(encoding='utf-8')}\n" if is_own else ""
    return (
        "The page, of lesionlab: Apache-2.0.\n\n"
        f"model.onnx, {model.facts.name}: trained on {model.facts.training_data}.\nLicence: {model.facts.licence}.\n\n{own}"
        f"ort*, of onnxruntime-web {VERSION} (https://onnxruntime.ai): MIT License\n\n{_MIT}"
    )


_MIT = """Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
