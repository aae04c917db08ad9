"""Random changes of training images, as Keras layers in front of the network, inside the compiled step.

They stand in a wrapper that exists only while training: the network that is saved never holds them. So does a copy of the
training images in the device's memory, where they fit: only row numbers cross from the host then.
"""

import numpy as np

from lesionlab.model.backend import keras
from lesionlab.recipe import AugmentChoice


def augmentation_layers(choice: AugmentChoice, seed: int) -> list[keras.layers.Layer]:
    """Make the layers of a recipe; images are float32 (n, height, width, 3), 0 to 255, in and out.

    What lies outside the turned or shifted image is filled with the nearest border pixel: black corners would look
    like the dark corners of some dermatoscopes.
    """
    layers = keras.layers
    chosen: list[keras.layers.Layer] = []
    if choice.flips:
        chosen.append(layers.RandomFlip("horizontal_and_vertical", seed=seed))
    if choice.rotation_degrees:
        chosen.append(layers.RandomRotation(choice.rotation_degrees / 360, fill_mode="nearest", seed=seed + 1))
    if choice.zoom:
        chosen.append(layers.RandomZoom((-choice.zoom, choice.zoom), fill_mode="nearest", seed=seed + 2))
    if choice.shift:
        chosen.append(layers.RandomTranslation(choice.shift, choice.shift, fill_mode="nearest", seed=seed + 3))
    if choice.brightness:
        chosen.append(layers.RandomBrightness(choice.brightness, value_range=(0, 255), seed=seed + 4))
    if choice.contrast:
        chosen.append(layers.RandomContrast(choice.contrast, value_range=(0, 255), seed=seed + 5))
    for layer in chosen:
        # Keras leaves a model with such layers uncompiled, for TensorFlow's XLA cannot. On JAX each operation would run by
        # itself: several times slower, and on several hosts they would wait for each other in different orders, for ever.
        layer.supports_jit = layer.supports_jit or keras.backend.backend() == "jax"
    return chosen


class Resident(keras.layers.Layer):
    """Images that lie in the device's memory: int32 row numbers (n,) in, float32 (n, height, width, 3), 0 to 255, out."""

    def __init__(self, pixels: np.ndarray) -> None:
        """Copy uint8 `pixels` (rows, height, width, 3) to the device."""
        super().__init__(name="resident")
        self._pixels = self.add_weight(
            shape=pixels.shape,
            dtype="uint8",
            initializer=lambda shape, dtype: keras.ops.convert_to_tensor(pixels, dtype=dtype),
            trainable=False,
            autocast=False,
        )

    def call(self, rows: keras.KerasTensor) -> keras.KerasTensor:
        """Take the images at `rows`."""
        return keras.ops.cast(keras.ops.take(self._pixels, rows, axis=0), "float32")


def with_augmentation(
    network: keras.Model, choice: AugmentChoice, seed: int, *, resident: np.ndarray | None = None
) -> keras.Model:
    """Wrap a network for training: the same weights; augmented images in, or numbers of rows of `resident`."""
    if resident is None:
        inputs = keras.Input(network.input_shape[1:])
        x = inputs
    else:
        inputs = keras.Input((), dtype="int32")
        x = Resident(resident)(inputs)
    for layer in augmentation_layers(choice, seed):
        x = layer(x)
    return keras.Model(inputs, network(x), name="training")
