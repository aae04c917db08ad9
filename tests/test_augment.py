"""Random changes of training images: what they may do, and that a seed settles them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import patches
from lesionlab.model import degrade
from lesionlab.model.augment import RandomColour, RandomMove, augmentation_layers
from lesionlab.model.backend import keras
from lesionlab.model.batches import Batches
from lesionlab.recipe import AugmentChoice, read_recipe

STILL = AugmentChoice(flips=False, rotation_degrees=0.0)


def changed(layer: keras.layers.Layer, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(images.astype(np.float32), training=True))


def test_all_changes_stay_in_range_and_change_images() -> None:
    x = images = patches(6, 32)
    for layer in augmentation_layers(read_recipe("bundled").augment, seed=1):
        x = changed(layer, x)
    assert x.shape == images.shape and x.min() >= 0 and x.max() <= 255 and np.abs(x - images).mean() > 5
    assert augmentation_layers(STILL, seed=1) == []


def test_flips_alone_are_exact_and_all_occur() -> None:
    image = patches(1, 32)[0]
    flips = [image[::y, ::x].astype(np.float32) for y in (1, -1) for x in (1, -1)]
    moved = changed(RandomMove(AugmentChoice(flips=True, rotation_degrees=0.0), seed=3), np.stack([image] * 40))
    found = [next(number for number, flip in enumerate(flips) if np.allclose(flip, one, atol=1e-3)) for one in moved]
    assert set(found) == {0, 1, 2, 3}


def test_an_image_is_turned_about_its_middle_and_scaled() -> None:
    """A disc in the middle stays where it is, whatever the turn; zoom changes its area by the square of the factor."""
    y, x = np.mgrid[:65, :65] - 32
    disc = np.where((x**2 + y**2 <= 15**2)[..., None], 255, 0).repeat(3, axis=2).astype(np.uint8)
    discs = np.stack([disc] * 20)
    turned = changed(RandomMove(AugmentChoice(flips=True, rotation_degrees=180.0), seed=4), discs)
    assert np.abs(turned - disc).mean() < 3
    areas = (changed(RandomMove(AugmentChoice(flips=False, rotation_degrees=0.0, zoom=0.2), seed=5), discs) > 127).sum(
        axis=(1, 2, 3)
    ) / (disc > 127).sum()
    assert 1 / 1.25**2 < areas.min() < 0.85 and 1.15 < areas.max() < 1 / 0.78**2


def test_colours_change_as_light_contrast_saturation_and_balance_do(monkeypatch: pytest.MonkeyPatch) -> None:
    light, contrast, saturation, balance = 0.8, 0.5, 0.6, np.array([1.1, 1.0, 0.9])
    factors = iter(np.reshape(f, (1, 1, 1, -1)).astype(np.float32) for f in (light, contrast, saturation, balance))
    monkeypatch.setattr(RandomColour, "_factor", lambda self, *_: keras.ops.convert_to_tensor(next(factors)))
    images = patches(3, 32).astype(float)
    found = changed(RandomColour(0.2, seed=0), images)
    grey = images.mean(axis=3, keepdims=True)
    wanted = grey + saturation * (images - grey)
    mean = wanted.mean(axis=(1, 2), keepdims=True)
    wanted = (mean + contrast * (wanted - mean)) * light * balance
    np.testing.assert_allclose(found, np.clip(wanted, 0, 255), atol=0.01)


@pytest.mark.parametrize("kind", degrade._KINDS)
def test_each_kind_makes_an_image_worse_and_leaves_the_original(kind) -> None:
    image = patches(1, 64)[0]
    before = image.copy()
    random = np.random.default_rng(1)
    worse = [np.asarray(kind(degrade.Image.fromarray(image), random)) for _ in range(5)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in worse)
    assert all((one != image).any() for one in worse)
    np.testing.assert_array_equal(image, before)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=40)
def test_the_same_draw_makes_the_same_picture(seed: int, share: float) -> None:
    image = patches(1, 24)[0]
    first, second = (degrade.degraded(image, share, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(degrade.degraded(image, 0.0, np.random.default_rng(seed)), image)


def test_about_the_wanted_share_is_made_worse_anew_each_epoch_and_shares_fit_together() -> None:
    pixels = np.repeat(patches(1, 32), 400, axis=0)
    given = (pixels, np.arange(400), np.zeros(400, int))
    options = {"batch_size": 100, "n_diagnoses": 1, "degrade": 0.5, "seed": 7}
    batches = Batches(*given, **options)
    worse = np.concatenate([(batches[i][0] != pixels[0]).any(axis=(1, 2, 3)) for i in range(4)])
    assert 0.4 < worse.mean() < 0.6
    halves = [Batches(*given, **options, share=(k, 2)) for k in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([half[1][0] for half in halves]), batches[1][0])
    before = batches[0][0]
    batches.start_epoch(1)
    assert (batches[0][0] != before).any()
