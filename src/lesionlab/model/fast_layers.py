"""The same network, computed faster and in less memory while it is trained on a CPU with TensorFlow.

In: a network built for training. Out: one of the same names, variables and numbers. Three things differ:

- Batch normalisation is one operation of TensorFlow's, not Keras's dozen, each of which reads and writes all activations. Of
  a MobileNet's step at 192 px that was nearly half: 61 images/s become 90 (`benchmarks/training_step.py`, 2 cores).
- With `precision = "bfloat16-convolutions"` convolutions that are not depthwise, nearly all of the arithmetic, take factors of
  16 bits and sum in 32, where the processor can (AVX512-BF16, AMX): 90 become 116. All else stays float32; so do the variables.
- Of large batches, what lies between a normalisation and the next convolution is not kept for the backward pass, but computed
  anew there from the normalisation's input, which is kept in any case (Chen et al. 2016, arXiv:1604.06174). A tensor that
  can be recomputed carries the function that recomputes it. A MobileNet's epoch at 224 px peaks at 2.1 GiB in place of 2.8
  (`benchmarks/memory.py --images 1000`).

Only training computes so: `lesionlab.model.train.for_use` builds the network that is saved from Keras's own layers.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from lesionlab.model.backend import (
    clipped_anew,
    fused_batch_norm,
    keras,
    trains_on_cpu_with_tensorflow,
    with_inputs_anew,
)

MANY_PIXELS = 1_000_000  # of a batch: 32 images of 177 px, of which a MobileNet's step takes 2 GiB
_AGAIN = "_lesionlab_again"


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer of this name, in one operation while its statistics are those of the batch."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise (n, height, width, channels) over all but the channels, and follow the batch's statistics."""
        if not training or not self.trainable or mask is not None or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        gamma = self.gamma if self.scale else keras.ops.ones(inputs.shape[-1])
        beta = self.beta if self.center else keras.ops.zeros(inputs.shape[-1])
        outputs, mean, variance, again = fused_batch_norm(inputs, gamma, beta, self.epsilon)
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + of_batch * (1.0 - self.momentum))
        return _remembered(outputs, again)


class ReLU(keras.layers.ReLU):
    """Keras's layer of this name, clipping at 0, or at 0 and 6; neither its inputs nor its outputs are kept."""

    def call(self, inputs: Any) -> Any:
        """Clip (n, height, width, channels)."""
        again, clip = getattr(inputs, _AGAIN, None), super().call
        if again is None:
            return clip(inputs)
        anew = cache(lambda: clip(again()))
        return _remembered(clipped_anew(inputs, anew, self.max_value == 6), anew)


class ZeroPadding2D(keras.layers.ZeroPadding2D):
    """Keras's layer of this name; its outputs are not kept."""

    def call(self, inputs: Any) -> Any:
        """Add rows and columns of zeros to (n, height, width, channels)."""
        again, pad = getattr(inputs, _AGAIN, None), super().call
        return pad(inputs) if again is None else _remembered(pad(inputs), lambda: pad(again()))


class Conv2D(keras.layers.Conv2D):
    """Keras's layer of this name; its inputs are not kept."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve (n, height, width, channels) in the layer's precision, to float32 or that."""
        again = getattr(inputs, _AGAIN, None)

        def convolve(inputs: Any, kernel: Any) -> Any:
            low = (keras.ops.cast(factor, self.compute_dtype) for factor in (inputs, kernel))
            return keras.layers.Conv2D.convolution_op(self, *low)

        return convolve(inputs, kernel) if again is None else with_inputs_anew(convolve, again, inputs, kernel)


class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """Keras's layer of this name, without bias and activation; its inputs are not kept."""

    def call(self, inputs: Any) -> Any:
        """Convolve each channel of (n, height, width, channels) by itself."""
        again = getattr(inputs, _AGAIN, None)

        def convolve(inputs: Any, kernel: Any) -> Any:
            return keras.ops.depthwise_conv(
                inputs, kernel, self.strides, self.padding, self.data_format, self.dilation_rate
            )

        return (
            convolve(inputs, self.kernel) if again is None else with_inputs_anew(convolve, again, inputs, self.kernel)
        )


_FORGETFUL = {
    keras.layers.ReLU: ReLU,
    keras.layers.ZeroPadding2D: ZeroPadding2D,
    keras.layers.Conv2D: Conv2D,
    keras.layers.DepthwiseConv2D: DepthwiseConv2D,
}


def _remembered(outputs: Any, again: Callable[[], Any]) -> Any:
    """Let a tensor carry the function that gives it anew; of several that ask, the first computes."""
    setattr(outputs, _AGAIN, cache(again))
    return outputs


def for_training(network: keras.Model, precision: str, pixels: int) -> keras.Model:
    """Rebuild a freshly built network for training, with its weights; elsewhere than TensorFlow on a CPU return it as it is.

    Args:
        network: float32, or bfloat16 throughout.
        precision: of the recipe; `bfloat16-convolutions` has an effect here.
        pixels: of a batch, all images together; beyond `MANY_PIXELS` memory is saved.

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
        if pixels > MANY_PIXELS and _can_forget(layer):
            kind = _FORGETFUL[kind]
        made = kind.from_config(choices)
        if kind is Conv2D:
            made.autocast = False  # a cast input is another tensor, which would be kept
        return made

    rebuilt = keras.models.clone_model(network, clone_function=faster, recursive=True)
    set_weights(rebuilt, network.get_weights())
    return rebuilt


def set_weights(network: keras.Model, weights: list[Any]) -> None:
    """Give a network its weights, and have its `Normalization` layers compute with them."""
    network.set_weights(weights)
    refresh_statistics(network)


def refresh_statistics(network: keras.Model) -> None:
    """Let Keras's `Normalization` layers compute with the weights that they were given: `set_weights` leaves what was before."""
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _can_forget(layer: keras.layers.Layer) -> bool:
    """Whether one of the layers above computes what this one does."""
    kind = type(layer)
    if kind is keras.layers.ReLU:
        return layer.max_value in (None, 6) and not layer.negative_slope and not layer.threshold
    if kind is keras.layers.DepthwiseConv2D:
        return not layer.use_bias and layer.activation is keras.activations.linear
    return kind in _FORGETFUL


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of 16-bit factors; without them they are several times slower."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
