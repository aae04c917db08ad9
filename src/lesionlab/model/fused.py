"""The same network, computed faster while it is trained on a CPU with TensorFlow.

In: a network built for training. Out: one of the same names, variables and numbers. Two things differ:

- Batch normalisation is one operation of TensorFlow's, not Keras's dozen, each of which reads and writes all activations. Of
  a MobileNet's step at 192 px that was nearly half: 61 images/s become 90 (`benchmarks/training_step.py`, 2 cores).
- With `precision = "bfloat16-convolutions"` convolutions that are not depthwise, nearly all of the arithmetic, take factors of
  16 bits and sum in 32, where the processor can (AVX512-BF16, AMX): 90 become 116. All else stays float32; so do the variables.

Only training computes so: `lesionlab.model.train.for_use` builds the network that is saved from Keras's own layers.
"""

from pathlib import Path
from typing import Any

from lesionlab.model.backend import fused_batch_norm, keras, trains_on_cpu_with_tensorflow


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer of this name, in one operation while its statistics are those of the batch."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise (n, height, width, channels) over all but the channels, and follow the batch's statistics."""
        if not training or not self.trainable or mask is not None or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        gamma = self.gamma if self.scale else keras.ops.ones(inputs.shape[-1])
        beta = self.beta if self.center else keras.ops.zeros(inputs.shape[-1])
        outputs, mean, variance = fused_batch_norm(inputs, gamma, beta, self.epsilon)
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + of_batch * (1.0 - self.momentum))
        return outputs


def for_training(network: keras.Model, precision: str) -> keras.Model:
    """Rebuild a freshly built network for training, with its weights; elsewhere than TensorFlow on a CPU return it as it is.

    Args:
        network: float32, or bfloat16 throughout.
        precision: of the recipe; `bfloat16-convolutions` has an effect here.

    """
    if not trains_on_cpu_with_tensorflow():
        return network
    is_reduced = precision == "bfloat16-convolutions" and multiplies_bfloat16()

    def faster(layer: keras.layers.Layer) -> keras.layers.Layer:
        choices = layer.get_config()
        kind = type(layer)
        if kind is keras.layers.BatchNormalization and layer.axis in (-1, 3):
            kind = BatchNormalization
        if is_reduced and kind is keras.layers.Conv2D:
            choices["dtype"] = "mixed_bfloat16"
        return kind.from_config(choices)

    rebuilt = keras.models.clone_model(network, clone_function=faster, recursive=True)
    rebuilt.set_weights(network.get_weights())
    return rebuilt


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of 16-bit factors; without them they are several times slower."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
