"""Random changes of training images, as Keras layers in front of the network, inside the compiled step.

They stand in a wrapper that exists only while training: the network that is saved never holds them. So does a copy of the
training images in the device's memory, where they fit: only row numbers cross from the host then. What a device cannot do, such
as JPEG, is in `lesionlab.model.degrade`.
"""

import math
from typing import Any

import numpy as np

from lesionlab.model.backend import keras
from lesionlab.model.degrade import NOISE, NOISE_SHARE
from lesionlab.recipe import AugmentChoice


class _OfImages(keras.layers.Layer):
    """A change of float32 images (n, height, width, 3), 0 to 255, in training alone; draws from a seed of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self._change(images, keras.ops.shape(images)[0]) if training else images

    def _change(self, images: Any, count: Any) -> Any:
        raise NotImplementedError

    def _uniform(self, count: Any, channels: int, low: float, high: float) -> Any:
        """Draw (n, 1, 1, channels)."""
        return keras.random.uniform((count, 1, 1, channels), low, high, seed=self.seed_generator)


class RandomMove(_OfImages):
    """Mirror, turn, zoom and shift, in one: each image is interpolated once.

    What comes in from outside is the image mirrored: black corners would look like the dark corners of some dermatoscopes.
    """

    def __init__(self, choice: AugmentChoice, seed: int) -> None:
        super().__init__(seed)
        self.choice = choice

    def _change(self, images: Any, count: Any) -> Any:
        ops, choice = keras.ops, self.choice
        height, width = (ops.cast(side, "float32") for side in ops.shape(images)[1:3])

        def draw(extent: float) -> Any:  # (n,)
            return self._uniform(count, 1, -extent, extent)[:, 0, 0, 0]

        angle = draw(math.radians(choice.rotation_degrees))
        scale = 1.0 + draw(choice.zoom)
        mirror_x, mirror_y = (ops.sign(draw(1.0)) if choice.flips else 1.0 for _ in range(2))
        cos, sin = ops.cos(angle) * scale, ops.sin(angle) * scale
        # Where each pixel of the changed image comes from: a turn and scaling about the middle.
        a, b, c, d = cos * mirror_x, -sin * mirror_y, sin * mirror_x, cos * mirror_y
        middle_x, middle_y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
        x = middle_x - a * middle_x - b * middle_y + draw(choice.shift) * width
        y = middle_y - c * middle_x - d * middle_y + draw(choice.shift) * height
        zero = ops.zeros_like(a)
        transforms = ops.stack([a, b, x, c, d, y, zero, zero], axis=1)  # (n, 8)
        return ops.image.affine_transform(images, transforms, interpolation="bilinear", fill_mode="reflect")


class RandomColour(_OfImages):
    """Light, contrast, saturation and white balance, each changed in half of the images.

    All four are linear, so that an image's change is one 3 x 3 matrix and one offset.
    """

    def __init__(self, strength: float, seed: int) -> None:
        super().__init__(seed)
        self.strength = strength

    def _change(self, images: Any, count: Any) -> Any:
        ops = keras.ops
        light, contrast = self._factor(count, 1, -2.0, 1.2), self._factor(count, 1, -3.0, 1.0)
        saturation, balance = self._factor(count, 1, -2.0, 1.0), self._factor(count, 3, -0.6, 0.6)
        mean = ops.mean(images, axis=(1, 2), keepdims=True)  # (n, 1, 1, 3)
        colours = saturation * ops.eye(3) + (1.0 - saturation) / 3.0  # (n, 1, 3, 3), of grey and colour
        gain = light * balance
        change = colours * ops.transpose(contrast * gain, (0, 1, 3, 2))  # (n, 1, 3, 3): rows give the new channels
        offset = ops.matmul(mean, ops.transpose(colours, (0, 1, 3, 2))) * (1.0 - contrast) * gain
        return ops.clip(ops.matmul(images, ops.transpose(change, (0, 1, 3, 2))) + offset, 0.0, 255.0)

    def _factor(self, count: Any, channels: int, low: float, high: float) -> Any:
        is_changed = keras.ops.cast(self._uniform(count, 1, -1.0, 1.0) > 0, "float32")
        return keras.ops.exp(is_changed * self._uniform(count, channels, low * self.strength, high * self.strength))


class RandomNoise(_OfImages):
    """Noise of a random strength in a share of the images; after they are turned, which would smooth it."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__(seed)
        self.share = share

    def _change(self, images: Any, count: Any) -> Any:
        ops = keras.ops
        is_noisy = ops.cast(self._uniform(count, 1, 0.0, 1.0) < self.share, "float32")
        strength = is_noisy * self._uniform(count, 1, 0.0, 255 * NOISE)
        noise = keras.random.normal(ops.shape(images), seed=self.seed_generator)
        return ops.clip(images + strength * noise, 0.0, 255.0)


def augmentation_layers(choice: AugmentChoice, seed: int) -> list[keras.layers.Layer]:
    """Make the layers of a recipe; images are float32 (n, height, width, 3), 0 to 255, in and out."""
    chosen: list[keras.layers.Layer] = []
    if choice.flips or choice.rotation_degrees or choice.zoom or choice.shift:
        chosen.append(RandomMove(choice, seed))
    if choice.colour:
        chosen.append(RandomColour(choice.colour, seed + 1))
    if choice.degrade:
        chosen.append(RandomNoise(NOISE_SHARE * choice.degrade, seed + 2))
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
