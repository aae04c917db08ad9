"""A model as its user holds it: one `.onnx` file with its facts inside, checked before anything of it is run.

In: uint8 RGB pixels (n, height, width, 3), cropped and scaled by `lesionlab.data.images`. Out: `probabilities` float32
(n, 7) in `DX` order; where the network ends in a global average, also `activation_maps` float32 (n, grid height, grid
width, 7) and `features` float32 (n, channels); `ood_score` float32 (n,) of files that have one (`lesionlab.evaluation.ood`).
Normalisation, temperature and the decision rule are in the graph.

The file is scanned as protobuf first: its facts are read, and whatever could reach outside it (external data, operators of
other libraries, nested graphs) is refused. ONNX Runtime is then given the bytes, never the path.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab._version import NOT_A_DEVICE, __version__
from lesionlab.data.images import CROPS
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.inference.onnx_scan import scan
from lesionlab.taxonomy import DX, NAME_OF

FORMAT = "lesionlab-1"
TASK = "ISIC 2018 Task 3"
MODELS = Path(__file__).parents[1] / "models"
ON_ALL = "; all of them, those too that the card's figures were measured on"  # ends the training data of a final model
MAX_BYTES = 512 * 2**20
THRESHOLDS = ("malignant", "uncertainty")


@dataclass(frozen=True)
class Facts:
    """What a model file says of itself.

    Attributes:
        name: of the model; `lesionlab` is the version that wrote it.
        height: of the input, in pixels; likewise `width`.
        crop: `centre` or `stretch`, see `lesionlab.data.images.read_image`.
        temperature: that the logits are divided by, already in the graph.
        decision: of the run, as in its `metrics.json`: the rule, what calibrates (both already
            in the graph), and `operating`, the lines that were drawn.
        thresholds: `malignant` and `uncertainty`, 0 to 1, see `lesionlab.inference.model.decide`; may be empty.
        conformal: `coverage` promised, `thresholds` (7,) and `images` (7,) that each was found on, see
            `lesionlab.evaluation.conformal`; may be empty.
        ood: `score`, `threshold`, `refused_share` and `images` of the out-of-distribution score; empty where there is none.
        training_data: a sentence; `licence` that of the data, which the weights carry on.
        card: the model card, in Markdown.

    """

    name: str
    lesionlab: str
    height: int
    width: int
    crop: str
    temperature: float
    decision: Mapping[str, Any]
    thresholds: Mapping[str, float]
    conformal: Mapping[str, Any]
    training_data: str
    licence: str
    notice: str
    card: str
    ood: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """An open model: an `onnxruntime.InferenceSession` on the CPU, the facts, and the bytes of its file."""

    session: Any
    facts: Facts
    data: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, by which a model is known again."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def has_activation_maps(self) -> bool:
        """Whether the graph explains itself: networks that end in a global average do."""
        return self._gives("activation_maps")

    @property
    def has_ood_score(self) -> bool:
        """Whether the file says what is no dermatoscopic image; older files do not."""
        return self._gives("ood_score") and "threshold" in self.facts.ood

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as the bytes of the file: a session cannot."""
        return open_bytes, (self.data, Path(self.facts.name))

    def run(self, outputs: Sequence[str], pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            outputs: `probabilities`, and what else the file has of `activation_maps`, `features` and `ood_score`.
            pixels: uint8 (b, height, width, 3).

        Returns:
            Of each output a row an image, float32; of `probabilities` float64 (b, 7), rows sum to 1.

        Raises:
            LesionlabError: ONNX Runtime fails, or what the model gives are no probabilities.

        """
        try:
            found = dict(zip(outputs, self.session.run(list(outputs), {"image": pixels}), strict=True))
        except Exception as error:  # ONNX Runtime's exceptions share no base class of its own
            first = " ".join(str(error).split())[:200]
            raise LesionlabError(f"ONNX Runtime fails on the model {self.facts.name!r}: {first}") from error
        probabilities = found["probabilities"].astype(np.float64)
        sums = probabilities.sum(axis=1, keepdims=True)
        if not (np.abs(sums - 1) < 1e-3).all() or probabilities.min() < 0:
            raise LesionlabError(f"The model {self.facts.name!r} is damaged: what it gives are no probabilities.")
        return found | {"probabilities": probabilities / sums}

    def _gives(self, name: str) -> bool:
        return any(output.name == name for output in self.session.get_outputs())


def make_facts(
    *,
    name: str,
    height: int,
    width: int,
    crop: str,
    decision: Mapping[str, Any],
    training_data: str,
    licence: str,
    card: str = "",
    temperature: float = 1.0,
    thresholds: Mapping[str, float] | None = None,
    conformal: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put together the facts that a file holds, each value plain enough for JSON; see `Facts` for their meaning."""
    return {
        "format": FORMAT,
        "lesionlab": __version__,
        "name": name,
        "task": TASK,
        "classes": list(DX),
        "class_names": [NAME_OF[dx] for dx in DX],
        "height": height,
        "width": width,
        "crop": crop,
        "temperature": temperature,
        "decision": dict(decision),
        "thresholds": dict(thresholds or {}),
        "conformal": dict(conformal or {}),
        "ood": {},
        "training_data": training_data,
        "licence": licence,
        "notice": NOT_A_DEVICE,
        "card": card,
    }


def open_bundle(path: str | Path | None = None) -> Bundle:
    """Open a model file, or the model that comes with lesionlab.

    Args:
        path: a `.onnx` file, the directory of a run, or the name of a model inside the package; None for the default one.

    Raises:
        UsageError: no such file, too large, not ONNX, damaged, reaching outside itself, of another task, or newer.

    """
    file = _find(path)
    return open_bytes(_read(file), file)


def open_bytes(data: bytes, file: Path) -> Bundle:
    """Open a model from the bytes of its file, which messages call `file`; raises what `open_bundle` does."""
    try:
        facts = read_facts(data, str(file))
    except ValueError as error:
        raise UsageError(f"{file} is not an ONNX model, or is damaged ({error}). Copy it again.") from error
    return Bundle(_open_session(data, facts, file), facts, data)


def packaged_models() -> list[Path]:
    """Model files inside the package, the default one first: of several, one whose name lacks `-int8`."""
    return sorted(MODELS.glob("*.onnx"), key=lambda file: (file.stem.endswith("-int8"), file.name))


def read_facts(data: bytes, where: str) -> Facts:
    """Scan an ONNX file and read its facts; nothing is run and no other file is opened.

    Args:
        data: the file's bytes.
        where: its name, for messages.

    Raises:
        UsageError: it reaches outside itself, or its facts are missing, of another task, newer or not valid.
        ValueError: it is not ONNX.

    """
    found, danger = scan(data)
    if danger:
        raise UsageError(f"{where} is refused: it {danger}.")
    if "format" not in found:
        raise UsageError(
            f"{where} is an ONNX model without lesionlab's facts: class order and preprocessing are not known. "
            "Give a file written by 'lesionlab run' or 'lesionlab export'."
        )
    return _checked_facts({key: _json_value(key, text, where) for key, text in found.items()}, where)


def _find(path: str | Path | None) -> Path:
    models = packaged_models()
    if path is None:
        if not models:
            raise UsageError(
                "This installation of lesionlab holds no model. Give one with --model FILE.onnx (in Python: "
                "load_model('FILE.onnx')); 'lesionlab run' writes model.onnx."
            )
        return models[0]
    own = next((model for model in models if model.stem == str(path)), None)
    of_run = Path(path) / "model.onnx"
    if not of_run.is_file():
        return own or Path(path)
    if own:
        raise UsageError(
            f"{path!s} is the name of a model that comes with lesionlab, and a run here: give .{os.sep}{path} for the "
            "run; lesionlab's own is taken where no model is given."
        )
    return of_run


def _read(file: Path) -> bytes:
    if file.is_dir():
        raise UsageError(
            f"{file} is a folder without model.onnx: give a .onnx file, or the directory of a finished run."
        )
    if not file.is_file():
        known = ", ".join(model.stem for model in packaged_models()) or "none"
        raise UsageError(f"There is no model file {file}. Models that come with lesionlab: {known}.")
    if file.suffix != ".onnx":
        raise UsageError(f"{file} is no model for prediction: give a .onnx file, as 'lesionlab export' writes.")
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise UsageError(f"{file} has {size / 2**20:,.0f} MiB; models of at most {MAX_BYTES >> 20} MiB are read.")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"The model file {file} cannot be read ({error.strerror}).") from error


def _json_value(key: str, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: its fact {key!r} is not JSON. Is it a model of lesionlab's?") from error


def _checked_facts(found: dict[str, Any], where: str) -> Facts:
    if found["format"] != FORMAT:
        raise UsageError(
            f"{where} has the format {found['format']!r}, this lesionlab ({__version__}) reads {FORMAT!r}. It was written "
            f"by lesionlab {found.get('lesionlab', '?')}: pip install --upgrade lesionlab."
        )
    if found.get("task") != TASK or found.get("classes") != list(DX):
        task, classes = found.get("task"), found.get("classes")
        raise UsageError(
            f"{where} is a model of another task: {task!r} with the classes {classes}; needed is {TASK!r} with "
            f"{', '.join(DX)} in this order."
        )
    missing = [f.name for f in fields(Facts) if f.name not in found and f.default_factory is MISSING]
    if missing:
        raise UsageError(f"{where} lacks the facts {', '.join(missing)}. Export it again with 'lesionlab export'.")
    facts = Facts(**{f.name: found[f.name] for f in fields(Facts) if f.name in found})
    wrong = _invalid_fact(facts)
    if wrong:
        raise UsageError(f"{where}: its fact {wrong!r} has no valid value: {getattr(facts, wrong)!r}.")
    return facts


def _invalid_fact(facts: Facts) -> str | None:
    """Name the first fact of a wrong type or range, None where all are good."""
    texts = ("name", "lesionlab", "training_data", "licence", "notice", "card")
    are_valid = {name: isinstance(getattr(facts, name), str) for name in texts}
    for side in ("height", "width"):
        value = getattr(facts, side)
        are_valid[side] = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096
    are_valid["crop"] = facts.crop in CROPS
    are_valid["temperature"] = isinstance(facts.temperature, int | float)
    are_valid["decision"] = isinstance(facts.decision, dict) and _are_lines_valid(facts.decision.get("operating", []))
    are_valid["thresholds"] = isinstance(facts.thresholds, dict) and all(
        name in THRESHOLDS and isinstance(value, int | float) and 0 <= value <= 1
        for name, value in facts.thresholds.items()
    )
    are_valid["conformal"] = isinstance(facts.conformal, dict) and _are_sets_valid(facts.conformal)
    are_valid["ood"] = isinstance(facts.ood, dict) and isinstance(facts.ood.get("threshold", 0.0), int | float)
    return next((name for name, is_valid in are_valid.items() if not is_valid), None)


def _are_lines_valid(lines: Any) -> bool:
    """Whether these are operating points, as `lesionlab.lifecycle.evaluate` writes them."""
    return isinstance(lines, list) and all(
        isinstance(line, dict)
        and isinstance(line.get("task"), str)
        and isinstance(line.get("wanted"), str)
        and isinstance(line.get("at_least"), int | float)
        and isinstance(line.get("threshold"), int | float | None)
        for line in lines
    )


def _are_sets_valid(conformal: Mapping[str, Any]) -> bool:
    """Whether there are no sets, or all that `lesionlab.evaluation.conformal.Conformal` holds."""
    if not conformal:
        return True
    thresholds, lesions = conformal.get("thresholds"), conformal.get("images")
    return (
        isinstance(conformal.get("coverage"), int | float)
        and isinstance(conformal.get("penalty", 0.0), int | float)
        and isinstance(thresholds, list)
        and isinstance(lesions, list)
        and len(thresholds) == len(lesions) == len(DX)
        and all(isinstance(value, int | float) and 0 <= value <= 1 for value in thresholds)
        and all(isinstance(value, int | float) and value >= 0 for value in lesions)
    )


def _open_session(data: bytes, facts: Facts, file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised, and worded below
    options.intra_op_num_threads = 1  # `predict` runs batches side by side, which no core has to wait for
    try:
        session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )  # its fallback would print, and try the same again
        inputs = [(item.name, item.type, list(item.shape[1:])) for item in session.get_inputs()]
        outputs = {item.name: list(item.shape[1:]) for item in session.get_outputs()}
    except Exception as error:  # ONNX Runtime's exceptions share no base class of its own
        first = " ".join(str(error).split())[:200]
        raise UsageError(f"{file} cannot be opened by ONNX Runtime {onnxruntime.__version__}: {first}") from error
    wanted = ("image", "tensor(uint8)", [facts.height, facts.width, 3])
    if inputs != [wanted] or outputs.get("probabilities") != [len(DX)]:
        raise UsageError(f"{file} does not take and give what its facts say: inputs {inputs}, outputs {outputs}.")
    return session
