"""The proof that a file for another runtime equals the network that it was written from, on real images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.model.backend import full_precision, keras

TOLERANCE = 1e-4


def keras_probabilities(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Probabilities (n, k) of uint8 pixels (n, h, w, 3) by Keras, 32 images at a time."""
    parts = [pixels[at : at + 32].astype(np.float32) for at in range(0, len(pixels), 32)]
    with full_precision():
        return np.concatenate([np.asarray(network.predict_on_batch(part)) for part in parts])


def open_session(model: bytes) -> Any:
    """Open the bytes of an ONNX file in ONNX Runtime, on the processor."""
    import onnxruntime

    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def onnx_probabilities(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Open an ONNX file; gives a function from uint8 pixels (n, h, w, 3) to probabilities (n, k)."""
    session = open_session(path.read_bytes())
    (taken,) = session.get_inputs()

    def predict(pixels: np.ndarray) -> np.ndarray:
        parts = [pixels[at : at + 32] for at in range(0, len(pixels), 32)]
        return np.concatenate([session.run(["probabilities"], {taken.name: part})[0] for part in parts])

    return predict


def proved(what: str, network: keras.Model, predict: Callable[[np.ndarray], np.ndarray], sample: np.ndarray) -> float:
    """Return the largest difference in probability from the network's own.

    Raises:
        LesionlabError: it is over `TOLERANCE`, or an answer is another one.

    """
    found, expected = predict(sample), keras_probabilities(network, sample)
    difference = float(np.abs(found - expected).max())
    is_tie = np.ptp(np.sort(expected, axis=1)[:, -2:], axis=1) <= 2 * difference  # two that are equally likely
    is_other = (found.argmax(axis=1) != expected.argmax(axis=1)) & ~is_tie
    if n_others := int(is_other.sum()):
        raise LesionlabError(
            f"The {what} export gives {n_others} of {len(sample)} images another diagnosis than Keras; nothing was written."
        )
    if not difference <= TOLERANCE:
        raise LesionlabError(
            f"The {what} export differs from Keras by {difference:.1e} in probability (allowed: {TOLERANCE}); nothing was "
            "written."
        )
    return difference
