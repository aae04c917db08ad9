"""From a trained network to one `.onnx` file that takes uint8 pixels, with its facts inside, proved equal to its source."""

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.files import replacing
from lesionlab.model.backend import keras

TOLERANCE = 1e-4


def why_no_onnx() -> str:
    """Say why this installation cannot write ONNX, or nothing if it can."""
    missing = [name for name in ("tensorflow", "onnx", "tf2onnx") if importlib.util.find_spec(name) is None]
    if missing:
        return f"ONNX needs {', '.join(missing)}: pip install 'lesionlab[cpu]'"
    if keras.backend.backend() != "tensorflow":
        return f"ONNX is written from the TensorFlow backend, this run used {keras.backend.backend()}"
    return ""


def export_onnx(network: keras.Model, path: Path, facts: dict[str, Any], sample: np.ndarray) -> float:
    """Write the network as ONNX and return the largest difference in probability on the sample.

    Args:
        network: float32 (n, h, w, 3) 0 to 255 to (n, 7) probabilities.
        path: of the `.onnx` file; whole or not at all.
        facts: written into the file's metadata, each value as JSON.
        sample: uint8 (k, h, w, 3), real images to compare on.

    Raises:
        LesionlabError: the export differs by more than 1e-4, or has not one input and one output.

    """
    import onnx

    height, width = network.input_shape[1:3]
    pixels = keras.Input((height, width, 3), dtype="uint8", name="image")
    takes_bytes = keras.Model(pixels, network(keras.ops.cast(pixels, "float32")))
    with replacing(path) as temporary:
        takes_bytes(np.zeros((1, height, width, 3), np.uint8))  # Keras exports only what has been called
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of NumPy, inside Keras's use of tf2onnx
            takes_bytes.export(temporary, format="onnx", verbose=False)
        model = onnx.load(temporary)
        if len(model.graph.input) != 1 or len(model.graph.output) != 1:
            raise LesionlabError(
                f"The ONNX export has {len(model.graph.input)} inputs and {len(model.graph.output)} outputs."
            )
        onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
        onnx.checker.check_model(model)
        onnx.save(model, temporary)
        difference = _largest_difference(network, temporary, sample)
        if difference > TOLERANCE:
            raise LesionlabError(
                f"The ONNX export differs from Keras by {difference:.1e} in probability (allowed: {TOLERANCE})."
            )
    return difference


def _largest_difference(network: keras.Model, path: Path, sample: np.ndarray) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, {session.get_inputs()[0].name: sample})
    expected = np.asarray(network.predict_on_batch(sample.astype(np.float32)))
    return float(np.abs(exported - expected).max())
