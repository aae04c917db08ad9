"""Architectures: from a recipe to a network that takes RGB pixels 0 to 255 and gives a probability of each diagnosis.

`notebook-cnn` is the network of the Keras notebook; `small-cnn` a small residual-free one with batch normalisation;
`EfficientNetLite0` to `2` are in `lesionlab.model.efficientnet_lite`; every other name is looked up in `keras.applications`.
Normalisation is the network's first layer, so that nobody who holds the network has to remember it.
"""

import re

import numpy as np

from lesionlab.errors import UsageError, nearest
from lesionlab.model import efficientnet_lite, fast_layers
from lesionlab.model.backend import keras
from lesionlab.model.decision_rule import MARGIN, Decision, fold_calibration
from lesionlab.recipe import Recipe

# What the ImageNet weights of keras.applications expect. Families that normalise inside themselves take 0 to 255.
_MINUS_ONE_TO_ONE = ("MobileNet", "NASNet", "Inception", "Xception")
_IMAGENET_MEAN_STD = ("DenseNet", "ConvNeXt", "EfficientNetV2B")
NORMALISE_THEMSELVES = ("EfficientNetB",)
_CAFFE = ("VGG", "ResNet")
_CAFFE_MEAN = (123.68, 116.779, 103.939)
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)


def architecture_names() -> list[str]:
    """Every architecture that a recipe may name."""
    applications = [name for name in dir(keras.applications) if name[0].isupper()]
    return ["notebook-cnn", "small-cnn", *efficientnet_lite.SCALES, *applications]


def name_of_network(name: str) -> str:
    """Make a name that every backend takes from a recipe's: letters of ASCII, digits and underscores, a letter first."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if plain[:1].isalpha() else f"network_{plain}"


def checked_architecture(recipe: Recipe) -> str:
    """Give the name of the recipe's architecture; the nearest is named where there is none of that name."""
    names, name = architecture_names(), recipe.model.architecture
    if name not in names:
        hint = nearest(name, names)
        raise UsageError(f"Recipe {recipe.name}: unknown architecture {name!r}{hint}. Known: {', '.join(names)}.")
    if name == "notebook-cnn" and recipe.training.first_side:
        raise UsageError(f"Recipe {recipe.name}: {name} takes one size of image only. Leave out training.first_side.")
    return name


def build_network(
    recipe: Recipe,
    mean: np.ndarray,
    std: np.ndarray,
    *,
    n_diagnoses: int,
    for_training: bool = False,
    views: int = 1,
    first_view: int = 0,
    seed: int = 0,
) -> keras.Model:
    """Build the network of a recipe with freshly drawn weights (see `lesionlab.model.pretrained`).

    Args:
        recipe: gives architecture, input size, normalisation and dropout.
        mean: float (3,), channel means of the training part, 0 to 255; used where the recipe normalises by them.
        std: float (3,), likewise.
        n_diagnoses: how many probabilities it gives; two or more.
        for_training: compute in the recipe's precision (variables are float32 in any), and take images of any size where
            the recipe lets them grow.
        views: 1 to 4, how many flipped copies of an image go through `keras.applications` networks side by side; the
            mean of their last maps, flipped back, goes on. The weights do not depend on it.
        first_view: which of the four flips comes first; so the members of an ensemble see different ones.
        seed: of the initial weights and of dropout.

    Returns:
        A model from float32 (n, height, width, 3), RGB 0 to 255, to float32 (n, n_diagnoses), probabilities.

    Raises:
        UsageError: unknown architecture (the nearest name is given), or one that does not take images that grow.

    """
    name = checked_architecture(recipe)
    keras.utils.set_random_seed(seed)
    previous = keras.config.dtype_policy()
    shape: tuple[int | None, ...] = (recipe.image.height, recipe.image.width, 3)
    if for_training and recipe.training.first_side:
        shape = (None, None, 3)
    reduced = for_training and recipe.training.precision == "bfloat16"
    keras.config.set_dtype_policy("mixed_bfloat16" if reduced else "float32")
    try:
        inputs = keras.Input(shape, name="image")
        x = _normalise(inputs, recipe, mean, std)
        if name in OWN_BODIES:
            x = OWN_BODIES[name](x, recipe)
        else:
            x = _application(x, recipe, shape, (_FLIPS * 2)[first_view % 4 :][:views])
        outputs = keras.layers.Dense(n_diagnoses, activation="softmax", dtype="float32", name="probabilities")(x)
        network = keras.Model(inputs, outputs, name=name_of_network(recipe.name))
        pixels = recipe.optimizer.batch_size * recipe.image.height * recipe.image.width
        return fast_layers.for_training(network, recipe.training.precision, pixels) if for_training else network
    finally:
        keras.config.set_dtype_policy(previous)


def with_decision(network: keras.Model, decision: Decision) -> keras.Model:
    """Give the network its calibration and its decision rule, as `lesionlab.model.decision_rule.apply_decision` has them.

    The calibration is folded into the last layer's weights, in place; the rule becomes plain operations behind it, so that
    the file needs nothing of lesionlab's to be loaded. Answers then do not depend on the batch, to the last bit: logarithms
    behind the network would, because ONNX Runtime takes those of a batch's last few numbers in another way.
    """
    ops = keras.ops
    last = network.get_layer("probabilities")
    kernel, bias = last.get_weights()
    last.set_weights(fold_calibration(kernel, bias, decision))
    if not any(decision.log_shift):
        return network
    p = network.output  # (n, k)
    shift = np.array(decision.log_shift)
    weighed = keras.layers.Rescaling(np.exp(shift - shift.max()).tolist(), name="weigh_by_priors")(p)
    is_decided = ops.cast(ops.greater_equal(weighed, ops.max(weighed, axis=-1, keepdims=True)), "float32")
    gap = ops.max(p, axis=-1, keepdims=True) - ops.sum(p * is_decided, axis=-1, keepdims=True) + MARGIN
    share = gap / (1.0 + gap)
    return keras.Model(network.input, (1.0 - share) * p + share * is_decided, name=network.name)


def _normalise(inputs: keras.KerasTensor, recipe: Recipe, mean: np.ndarray, std: np.ndarray) -> keras.KerasTensor:
    rule = recipe.image.normalisation
    if rule == "architecture":
        return _architecture_normalisation(inputs, recipe.model.architecture)
    if rule == "training-global":
        # Over all channels at once the variance is that within channels plus that of the channels' means.
        total = float(np.sqrt(np.mean(std**2) + np.var(mean)))
        mean, std = np.full(3, np.mean(mean)), np.full(3, total)
    std = np.maximum(std, 1e-3)  # a part of one flat colour must not divide by zero
    scale, offset = (1 / std).tolist(), (-mean / std).tolist()
    return keras.layers.Rescaling(scale, offset, name="normalise")(inputs)


def _architecture_normalisation(inputs: keras.KerasTensor, architecture: str) -> keras.KerasTensor:
    if architecture.startswith(_MINUS_ONE_TO_ONE) or (
        architecture.startswith("ResNet") and architecture.endswith("V2")
    ):
        return keras.layers.Rescaling(1 / 127.5, -1.0, name="normalise")(inputs)
    if architecture.startswith("EfficientNetLite"):
        return keras.layers.Rescaling(1 / 128, -127 / 128, name="normalise")(inputs)
    if architecture.startswith("EfficientNetV2") and not architecture.startswith("EfficientNetV2B"):
        return keras.layers.Rescaling(1 / 128, -1.0, name="normalise")(inputs)
    if architecture.startswith(_IMAGENET_MEAN_STD):
        scale = [1 / s for s in _IMAGENET_STD]
        offset = [-m / s for m, s in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)]
        return keras.layers.Rescaling(scale, offset, name="normalise")(inputs)
    if architecture.startswith(_CAFFE):
        return keras.layers.Rescaling(1.0, [-m for m in reversed(_CAFFE_MEAN)], name="normalise")(
            keras.ops.flip(inputs, axis=-1)  # these weights expect blue, green, red
        )
    return inputs


def _notebook_cnn(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """The notebook's layers; (75, 100, 3) in, (128,) out."""
    layers = keras.layers
    for filters, dropout in ((32, 0.25), (64, 0.4)):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.Dropout(dropout)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu")(x)
    return layers.Dropout(0.5)(x)


def _small_cnn(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """Four convolution blocks with batch normalisation, then the mean over the image; (h, w, 3) in, (128,) out."""
    layers = keras.layers
    for filters in (24, 48, 96, 128):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dropout(recipe.model.dropout)(x)


OWN_BODIES = {"notebook-cnn": _notebook_cnn, "small-cnn": _small_cnn}
_FLIPS = ((), (2,), (1,), (1, 2))  # axes of (n, h, w, channels)


def _application(
    x: keras.KerasTensor, recipe: Recipe, shape: tuple[int | None, ...], views: tuple[tuple[int, ...], ...]
) -> keras.KerasTensor:
    backbone = backbone_of(recipe, shape, weights=None)
    backbone.name = "backbone"
    freeze(backbone, recipe)
    maps = [_flip(backbone(_flip(x, axes)), axes) for axes in views]  # (n, h / 32, w / 32, channels) each
    x = keras.layers.Average(name="mean_over_views")(maps) if len(maps) > 1 else maps[0]
    x = keras.layers.GlobalAveragePooling2D(name="mean_over_image")(x)
    return keras.layers.Dropout(recipe.model.dropout)(x)


def _flip(x: keras.KerasTensor, axes: tuple[int, ...]) -> keras.KerasTensor:
    return keras.ops.flip(x, axis=axes) if axes else x


def freeze(backbone: keras.Model, recipe: Recipe) -> None:
    """Keep the first layers as they are, batch normalisation too: they cost no gradient, most of a step's time."""
    last = recipe.model.frozen_until
    if not last:
        return
    names = [layer.name for layer in backbone.layers]
    if last not in names:
        raise UsageError(
            f"Recipe {recipe.name}: {recipe.model.architecture} has no layer frozen_until = {last!r}{nearest(last, names)}."
        )
    if recipe.model.weights == "none":
        return  # random weights are of no use where they stay as they are
    for layer in backbone.layers[: names.index(last) + 1]:
        layer.trainable = False


def backbone_of(recipe: Recipe, shape: tuple[int | None, ...], weights: str | None) -> keras.Model:
    """Build what comes before the head: of `keras.applications` without its top, or EfficientNet-Lite."""
    name = recipe.model.architecture
    if name in efficientnet_lite.SCALES:
        return efficientnet_lite.build(name, shape)
    options = {"include_preprocessing": False} if name.startswith(("EfficientNetV2", "ConvNeXt", "MobileNetV3")) else {}
    make = getattr(keras.applications, name)
    try:
        return make(input_shape=shape, include_top=False, weights=weights, **options)
    except ValueError as error:
        size = f"{shape[0]} x {shape[1]} px" if shape[0] else "sizes that grow (training.first_side)"
        raise UsageError(f"Recipe {recipe.name}: {name} at {size}: {error}") from error
