"""The one place that chooses Keras's backend. Import `keras` from here, never directly.

`KERAS_BACKEND` is always respected. Without it JAX is taken where it is installed for a GPU, else the first installed of
TensorFlow, JAX and PyTorch: on a CPU TensorFlow trains two to five times faster than the others.
"""

import importlib.metadata
import importlib.util
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from lesionlab.environment import BACKENDS, refuse_without_keras
from lesionlab.errors import UsageError

_JAX_FOR_A_GPU = ("jax-cuda13-plugin", "jax-cuda12-plugin", "jax-rocm7-plugin")


def _choose_backend() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if platform.machine().lower() in ("x86_64", "amd64"):
        # TensorFlow takes oneDNN's operations by itself only where there is AVX512-VNNI or AMX. With AVX2 alone a training
        # step is a quarter faster by them (docs/performance.md).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    refuse_without_keras()
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if "jax" in installed and any(_is_installed(plugin) for plugin in _JAX_FOR_A_GPU):
        installed.insert(0, "jax")
    chosen = os.environ.setdefault("KERAS_BACKEND", installed[0])
    if chosen not in installed:
        raise UsageError(
            f"KERAS_BACKEND={chosen}, which is not installed. Installed: {', '.join(dict.fromkeys(installed))}. "
            "TensorFlow comes with 'lesionlab[cpu]', JAX with 'lesionlab[gpu]', PyTorch with 'lesionlab[torch]'."
        )


def _is_installed(distribution: str) -> bool:
    try:
        return bool(importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return False


@contextmanager
def without_start_up_lines() -> Iterator[None]:
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
with without_start_up_lines():
    import keras
# TensorFlow warns of functions that it traces anew, which every network of a run needs once.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


def compiles_with_xla() -> bool | str:
    """Say what `compile(jit_compile=...)` should be: on a CPU TensorFlow is a third faster without XLA."""
    return False if trains_on_cpu_with_tensorflow() else "auto"


def trains_on_cpu_with_tensorflow() -> bool:
    """Whether the backend is TensorFlow and there is no GPU for it."""
    return keras.backend.backend() == "tensorflow" and "cpu" in device_name().lower()


def fused_batch_norm(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any, Callable[[], Any]]:
    """Normalise a batch in one operation, on TensorFlow.

    Args:
        inputs: (n, height, width, channels).
        gamma: float32 (channels,), the scale.
        beta: float32 (channels,), the offset.
        epsilon: added to the variance.

    Returns:
        Outputs of the inputs' shape; mean and variance of the batch, float32 (channels,), the latter divided by the count as
        Keras has it; a function that computes the outputs anew from the inputs.

    """
    import tensorflow

    gamma, beta = tensorflow.convert_to_tensor(gamma), tensorflow.convert_to_tensor(beta)
    normalise = tensorflow.compat.v1.nn.fused_batch_norm
    outputs, mean, variance = normalise(inputs, gamma, beta, epsilon=epsilon)
    count = tensorflow.cast(tensorflow.size(inputs) / inputs.shape[-1], variance.dtype)
    variance = variance * (count - 1.0) / count  # the operation divides by the count less one

    def again() -> Any:
        return normalise(inputs, gamma, beta, mean, variance, epsilon, is_training=False)[0]

    return outputs, mean, variance, again


def with_inputs_anew(function: Callable[..., Any], again: Callable[[], Any], inputs: Any, *weights: Any) -> Any:
    """Apply a function whose backward pass computes its inputs anew, on TensorFlow; the inputs need not be kept until then.

    Args:
        function: of inputs and weights, to one tensor.
        again: computes the inputs from what is kept.
        inputs: a tensor.
        weights: further tensors or variables.

    """
    import tensorflow

    @tensorflow.custom_gradient
    def apply(inputs: Any, *weights: Any) -> tuple[Any, Callable[[Any], Any]]:
        def backward(upstream: Any) -> Any:
            with tensorflow.control_dependencies([upstream]):  # else it would be computed at once, and kept
                anew = again()
            with tensorflow.GradientTape() as tape:
                tape.watch([anew, *weights])
                outputs = function(anew, *weights)
            return tape.gradient(outputs, [anew, *weights], upstream)

        return function(inputs, *weights), backward

    return apply(inputs, *map(tensorflow.convert_to_tensor, weights))


def clipped_anew(inputs: Any, again: Callable[[], Any], is_at_six: bool) -> Any:
    """Clip at 0, and at 6 if so asked; the backward pass takes the outputs that `again` computes. On TensorFlow."""
    import tensorflow

    clip, gradient = (
        (tensorflow.nn.relu6, tensorflow.raw_ops.Relu6Grad)
        if is_at_six
        else (tensorflow.nn.relu, tensorflow.raw_ops.ReluGrad)
    )

    @tensorflow.custom_gradient
    def apply(inputs: Any) -> tuple[Any, Callable[[Any], Any]]:
        def backward(upstream: Any) -> Any:
            with tensorflow.control_dependencies([upstream]):
                return gradient(gradients=upstream, features=again())

        return clip(inputs), backward

    return apply(inputs)


def compiles_by_shape() -> bool:
    """Whether the backend compiles a step anew, for seconds, for each new shape of a batch."""
    return keras.backend.backend() == "jax"


def device_name() -> str:
    """Name the first device that the backend computes on."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return str(keras.distribution.list_devices()[0])


def free_device_bytes() -> int:
    """Memory in bytes that a GPU has free; 0 where there is none, and on TensorFlow, which does not say."""
    if keras.backend.backend() == "jax":
        import jax

        facts = jax.local_devices()[0].memory_stats() or {}
        return int(facts.get("bytes_limit", 0) - facts.get("bytes_in_use", 0))
    if keras.backend.backend() == "torch":
        import torch

        return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0
    return 0


def full_precision() -> AbstractContextManager:
    """Within it, float32 is float32: GPUs round the factors of products to 10 bits (TF32) otherwise."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_matmul_precision("highest")
    if keras.backend.backend() == "torch":
        import torch

        return torch.backends.cudnn.flags(allow_tf32=False)
    return nullcontext()


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and the backend, and ask TensorFlow for deterministic operations."""
    with without_start_up_lines():  # Keras seeds an installed TensorFlow too, whatever the backend
        keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()
