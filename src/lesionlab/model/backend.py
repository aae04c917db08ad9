"""The one place that chooses Keras's backend. Import `keras` from here, never directly.

`KERAS_BACKEND` is always respected. Without it the first installed of TensorFlow, JAX and PyTorch is taken: on a CPU
TensorFlow trains two to five times faster than the others.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lesionlab.errors import LesionlabError

_PREFERENCE = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def _choose_backend() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    installed = [name for name, module in _PREFERENCE.items() if importlib.util.find_spec(module)]
    if importlib.util.find_spec("keras") is None or not installed:
        raise LesionlabError(
            "Training needs Keras and a backend, which are not installed. On a CPU: pip install 'lesionlab[cpu]'; "
            "on a GPU: pip install 'lesionlab[gpu]'."
        )
    os.environ.setdefault("KERAS_BACKEND", installed[0])


@contextmanager
def _without_start_up_lines() -> Iterator[None]:
    """Keep TensorFlow's C++ start-up lines off the terminal; no setting of its own reaches them. Errors still raise."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


_choose_backend()
with _without_start_up_lines():
    import keras

__all__ = ["compiles_with_xla", "device_name", "keras", "seed_everything"]


def compiles_with_xla() -> bool | str:
    """Say what `compile(jit_compile=...)` should be: on a CPU TensorFlow is a third faster without XLA."""
    return False if keras.backend.backend() == "tensorflow" and "cpu" in device_name().lower() else "auto"


def device_name() -> str:
    """Name the first device that the backend computes on."""
    return str(keras.distribution.list_devices()[0])


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and the backend, and ask TensorFlow for deterministic operations."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()
