"""Starting weights: ImageNet's, published or in a file of one's own, laid into the backbone of a network."""

import os
import warnings
from pathlib import Path

import numpy as np

from lesionlab.errors import LesionlabError, UsageError
from lesionlab.model import efficientnet_lite, fast_layers
from lesionlab.model.architectures import backbone_of
from lesionlab.model.backend import keras
from lesionlab.model.safe_load import check_weights_file
from lesionlab.recipe import Recipe

_UNIT_MEAN = (0.485, 0.456, 0.406)  # of pixels 0 to 1
_UNIT_STD = (0.229, 0.224, 0.225)


def load_pretrained(network: keras.Model, recipe: Recipe) -> str:
    """Load the recipe's ImageNet weights into the network's backbone; return where they came from.

    Raises:
        UsageError: the weights file does not exist, is of another kind, or does not fit the architecture.
        LesionlabError: the download failed.

    """
    if recipe.model.weights == "none":
        return "none: trained from random weights"
    backbone = network.get_layer("backbone")
    if recipe.model.weights == "imagenet":
        backbone.set_weights(published(recipe, backbone.input_shape[1:]).get_weights())
        _normalise_as_published(backbone, is_published=True)
        is_lite = recipe.model.architecture in efficientnet_lite.SCALES
        source = efficientnet_lite.package_of_weights(recipe.model.architecture) if is_lite else "keras.applications"
        return f"ImageNet ({source})"
    path = Path(recipe.model.weights)
    check_weights_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns of layers that it leaves random
            backbone.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"{path} does not fit {recipe.model.architecture} without its top: {first}") from error
    _normalise_as_published(backbone, is_published=False)
    return f"file {path.name}"


def _normalise_as_published(backbone: keras.Model, *, is_published: bool) -> None:
    """Give EfficientNetB* the division by ImageNet's standard deviations that Keras builds for its published weights alone.

    Those have the deviations in place of variances, and one more layer that divides by their roots (keras.applications,
    efficientnet.py). A file's statistics that are not the published ones stay.
    """
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Normalization):
            mean, variance, count = layer.get_weights()
            is_same = np.allclose(mean, _UNIT_MEAN, atol=1e-3) and np.allclose(variance, _UNIT_STD, atol=1e-3)
            if is_published or is_same:
                layer.set_weights([mean, variance * np.array(_UNIT_STD, dtype=variance.dtype), count])
    fast_layers.refresh_statistics(backbone)


def published(recipe: Recipe, shape: tuple[int | None, ...]) -> keras.Model:
    """The recipe's backbone with its ImageNet weights, downloaded where Keras has not done so before."""
    if recipe.model.architecture in efficientnet_lite.SCALES:
        network = backbone_of(recipe, shape, weights=None)
        network.set_weights(efficientnet_lite.imagenet_weights(recipe.model.architecture))
        return network
    try:
        with warnings.catch_warnings():
            # Some families have weights of one size only; they fit any: none of the layers kept depends on it.
            warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square", category=UserWarning)
            return backbone_of(recipe, shape, weights="imagenet")
    except UsageError:
        raise
    except Exception as error:  # Keras wraps any network failure in a bare Exception
        raise LesionlabError(
            f"The ImageNet weights of {recipe.model.architecture} could not be downloaded ({error}). Download that file "
            f"elsewhere and put it into {_keras_models()} (KERAS_HOME/models), or give it with --weights FILE_no_top.h5. Or give "
            "weights of your own with --weights FILE.weights.h5, or train from random ones with --weights none."
        ) from error


def _keras_models() -> Path:
    """The folder that keras.applications looks for downloaded weights in."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
