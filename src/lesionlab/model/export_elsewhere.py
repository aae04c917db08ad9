"""ONNX from a network of the JAX or PyTorch backend: written by TensorFlow in a process of its own.

Keras has one backend a process, and its best way to ONNX leads through TensorFlow. In: a network, as `.keras` file in a
temporary folder. Out: the `.onnx` file, proved equal to TensorFlow's answers there and to this backend's here.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.files import replacing, write_json

if TYPE_CHECKING:
    import keras

_NETWORK, _FACTS, _SAMPLE, _ONNX = "network.keras", "facts.json", "sample.npy", "network.onnx"
_AS_IT_IS = "--as-it-is"  # weights in 32 bits


def export_by_tensorflow(
    network: "keras.Model", path: Path, facts: dict[str, Any], sample: np.ndarray, *, compact: bool
) -> float:
    """Write a network of any backend as ONNX; arguments and result as those of `lesionlab.model.export.export_onnx`.

    Raises:
        LesionlabError: TensorFlow could not write it, or what it wrote answers otherwise than this backend.

    """
    from lesionlab.model.export import onnx_probabilities, proved

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network.save(folder / _NETWORK)
        write_json(folder / _FACTS, facts)
        np.save(folder / _SAMPLE, sample)
        _convert(folder, compact)
        with replacing(path) as temporary:
            shutil.copyfile(folder / _ONNX, temporary)
            return proved("ONNX", network, onnx_probabilities(temporary), sample)


def _convert(folder: Path, compact: bool) -> None:
    """Run this module in another process, under TensorFlow, on the CPU: this one may hold the GPU's memory."""
    settings = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "lesionlab.model.export_elsewhere", str(folder), *([] if compact else [_AS_IT_IS])],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise LesionlabError(f"TensorFlow could not write the network as ONNX: {last}")


def _main(folder: Path, *options: str) -> None:
    from lesionlab.model.export import export_onnx
    from lesionlab.model.load import load_network

    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    sample = np.load(folder / _SAMPLE)
    export_onnx(load_network(folder / _NETWORK), folder / _ONNX, facts, sample, compact=_AS_IT_IS not in options)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *sys.argv[2:])
