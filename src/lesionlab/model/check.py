"""Whether the network of a recipe can be built and trained: said before the data are read, which takes longer."""

from pathlib import Path

import numpy as np

from lesionlab.errors import UsageError
from lesionlab.model.architectures import (
    NORMALISE_THEMSELVES,
    OWN_BODIES,
    backbone_of,
    build_network,
    checked_architecture,
    freeze,
)
from lesionlab.model.batches import scaled_size
from lesionlab.model.pretrained import published
from lesionlab.model.safe_load import check_weights_file
from lesionlab.recipe import Recipe


def check_model(recipe: Recipe) -> None:
    """Refuse what would fail when the network is built, before any data is read; ImageNet weights are downloaded.

    Raises:
        UsageError: as `build_network`, or a choice that the network does not have, or images of a size in training that it
            does not take, or a weights file that is missing or of another kind.
        LesionlabError: the download failed.

    """
    name, weights = checked_architecture(recipe), recipe.model.weights
    if name in OWN_BODIES:
        _check_body(recipe)
    if name.startswith(NORMALISE_THEMSELVES) and weights != "none" and recipe.image.normalisation != "architecture":
        raise UsageError(
            f"Recipe {recipe.name}: {name} normalises inside itself, as its weights {weights!r} expect; with "
            f'image.normalisation = "{recipe.image.normalisation}" that would be done twice. '
            'Set image.normalisation = "architecture".'
        )
    if weights not in ("none", "imagenet"):
        check_weights_file(Path(weights))
    if recipe.training.first_side:
        _check_growth(recipe)
    if name in OWN_BODIES:
        return  # they take any size that a recipe may have
    shape = (recipe.image.height, recipe.image.width, 3)
    freeze(published(recipe, shape) if weights == "imagenet" else backbone_of(recipe, shape, weights=None), recipe)


def _check_body(recipe: Recipe) -> None:
    name, model = recipe.model.architecture, recipe.model
    if model.weights != "none":
        raise UsageError(f"Recipe {recipe.name}: {name} starts from random weights alone. Leave out --weights.")
    if model.views > 1:
        raise UsageError(
            f"Recipe {recipe.name}: views are of keras.applications networks; {name} has none. Leave out model.views."
        )
    if model.frozen_until:
        raise UsageError(f"Recipe {recipe.name}: {name} has no pretrained part. Leave out model.frozen_until.")


def _check_growth(recipe: Recipe) -> None:
    """Refuse images of a size that training goes through and the network does not take."""
    image, model = recipe.image, recipe.model
    if model.architecture in OWN_BODIES:
        network = build_network(recipe, np.zeros(3), np.ones(3), n_diagnoses=2, for_training=True)
    else:
        network = backbone_of(recipe, (None, None, 3), weights=None)
    for side in recipe.sides()[:2]:
        height, width = scaled_size(image.height, image.width, side)
        try:
            shape = network.compute_output_shape((1, height, width, 3))
            reason = "" if min(shape) > 0 else f"its last shape would be {shape}."
        except ValueError as error:
            reason = str(error).strip().splitlines()[0]
        if reason:
            raise UsageError(
                f"Recipe {recipe.name}: {model.architecture} does not take images of {height} x {width} px, which "
                f"training.first_side = {recipe.training.first_side} makes: {reason} Raise training.first_side, or leave it out."
            )
