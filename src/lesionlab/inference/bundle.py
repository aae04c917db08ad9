"""A model as its user holds it: one `.onnx` file with its facts inside, checked before anything of it is run.

In: uint8 RGB pixels (n, height, width, 3), cropped and scaled by `lesionlab.data.images`. Out: `probabilities` float32 (n, k) in
the order of the taxonomy of its facts; where the network ends in a global average, also `activation_maps` float32 (n, grid
height, grid width, k) and `features` float32 (n, channels); `ood_score` float32 (n,) of files that have one
(`lesionlab.evaluation.ood`). Normalisation, temperature and the decision rule are in the graph.

The file is scanned as protobuf first: its facts are read, and whatever could reach outside it (external data, operators of
other libraries, nested graphs) is refused. ONNX Runtime is then given the bytes, never the path.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.errors import LesionlabError, UsageError
from lesionlab.inference.facts import Facts, read_facts
from lesionlab.inference.feature_output import with_features

MODELS = Path(__file__).parents[1] / "models"
MAX_BYTES = 512 * 2**20
_MOST_OFF = 1e-3  # from which on the probabilities of an image miss the sum of 1 by too much


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
    def has_features(self) -> bool:
        """Whether the graph gives its features: networks that end in a global average do."""
        return self._gives("features")

    @property
    def has_ood_score(self) -> bool:
        """Whether the file says what is no dermatoscopic image; older files do not."""
        return self._gives("ood_score") and self.facts.ood is not None

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as the bytes of the file: a session cannot."""
        return open_bytes, (self.data, Path(self.facts.name))

    def run(self, outputs: Sequence[str], pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            outputs: `probabilities`, and what else the file has of `activation_maps`, `features` and `ood_score`.
            pixels: uint8 (b, height, width, 3).

        Returns:
            Of each output a row an image, float32; of `probabilities` float64 (b, k), rows sum to 1.

        Raises:
            LesionlabError: ONNX Runtime fails, or the outputs of the model are not probabilities.

        """
        try:
            found = dict(zip(outputs, self.session.run(list(outputs), {"image": pixels}), strict=True))
        except Exception as error:  # ONNX Runtime's exceptions share no base class of its own
            first = " ".join(str(error).split())[:200]
            raise LesionlabError(f"ONNX Runtime fails on the model {self.facts.name!r}: {first}") from error
        probabilities = found["probabilities"].astype(np.float64)
        if not are_probabilities(probabilities):
            raise LesionlabError(f"The model {self.facts.name!r} is damaged: its outputs are not probabilities.")
        return found | {"probabilities": probabilities / probabilities.sum(axis=1, keepdims=True)}

    def with_features(self) -> "Bundle":
        """Give the model with the output `features`: the input of its last dense layer, where the file does not give it.

        The bytes, and so the SHA-256, stay the file's own.

        Raises:
            UsageError: the network has no one last dense layer.

        """
        if self.has_features:
            return self
        data = with_features(self.data)
        if data is None:
            raise UsageError(
                f"The model {self.facts.name!r} has no features: it does not end in one dense layer. Give a model of one "
                "network, or one whose networks were joined by 'lesionlab ensemble'."
            )
        return replace(self, session=_open_session(data, self.facts, Path(self.facts.name)))

    def _gives(self, name: str) -> bool:
        return any(output.name == name for output in self.session.get_outputs())


def are_probabilities(found: np.ndarray) -> bool:
    """Whether every row of outputs (n, k) is without negative values and sums to 1."""
    return bool((np.abs(found.sum(axis=1) - 1) < _MOST_OFF).all() and found.min() >= 0)


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
    return read_model_file(file)


def read_model_file(file: Path) -> bytes:
    """Read an ONNX file; raises UsageError where it is none by its name, too large, or cannot be read."""
    if file.suffix != ".onnx":
        raise UsageError(f"{file} is no model for prediction: give a .onnx file, as 'lesionlab export' writes.")
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise UsageError(f"{file} has {size / 2**20:,.0f} MiB; models of at most {MAX_BYTES >> 20} MiB are read.")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"The model file {file} cannot be read ({error.strerror}).") from error


def _open_session(data: bytes, facts: Facts, file: Path) -> Any:
    session = make_session(data, file)
    inputs = [(item.name, item.type, list(item.shape[1:])) for item in session.get_inputs()]
    outputs = {item.name: list(item.shape[1:]) for item in session.get_outputs()}
    wanted = ("image", "tensor(uint8)", [facts.height, facts.width, 3])
    if inputs != [wanted] or outputs.get("probabilities") != [len(facts.taxonomy)]:
        raise UsageError(f"{file} does not take and give what its facts say: inputs {inputs}, outputs {outputs}.")
    return session


def make_session(data: bytes, file: Path) -> Any:
    """Open an ONNX file that was scanned; messages call it `file`. Raises UsageError where ONNX Runtime cannot."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised, and worded below
    options.intra_op_num_threads = 1  # `predict` runs batches side by side, which no core has to wait for
    try:
        session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )  # its fallback would print, and try the same again
        for item in (*session.get_inputs(), *session.get_outputs()):
            str((item.name, item.shape))  # of a damaged file they may be no text
        return session
    except Exception as error:  # ONNX Runtime's exceptions share no base class of its own
        first = " ".join(str(error).split())[:200]
        raise UsageError(f"{file} cannot be opened by ONNX Runtime {onnxruntime.__version__}: {first}") from error
