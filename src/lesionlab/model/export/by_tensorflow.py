"""ONNX from a network of the JAX or PyTorch backend: written by TensorFlow in a process of its own.

Keras has one backend a process, and its best way to ONNX leads through TensorFlow. In: a network, as `.keras` file in a
temporary folder. Out: the `.onnx` file, proved equal to TensorFlow's answers there and to this backend's here.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.files import replacing, write_json
from lesionlab.model.backend import keras
from lesionlab.model.export.proof import onnx_probabilities, proved

NETWORK, FACTS, SAMPLE, ONNX = "network.keras", "facts.json", "sample.npy", "network.onnx"
AS_IT_IS = "--as-it-is"  # weights in 32 bits


def export_by_tensorflow(
    network: keras.Model, path: Path, facts: Mapping[str, object], sample: np.ndarray, *, compact: bool
) -> float:
    """Write a network of any backend as ONNX; arguments and result as those of `lesionlab.model.export.onnx.export_onnx`.

    Raises:
        LesionlabError: TensorFlow could not write it, or what it wrote answers otherwise than this backend.

    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network.save(folder / NETWORK)
        write_json(folder / FACTS, facts)
        np.save(folder / SAMPLE, sample)
        _convert(folder, compact)
        with replacing(path) as temporary:
            shutil.copyfile(folder / ONNX, temporary)
            return proved("ONNX", network, onnx_probabilities(temporary), sample)


def _convert(folder: Path, compact: bool) -> None:
    """Run `lesionlab.model.export.onnx` in another process, under TensorFlow, on the CPU: this one may hold the GPU's memory."""
    settings = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "lesionlab.model.export.onnx", str(folder), *([] if compact else [AS_IT_IS])],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise LesionlabError(f"TensorFlow could not write the network as ONNX: {last}")
