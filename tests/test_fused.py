"""What is computed faster while training gives what Keras's own layers give."""

from pathlib import Path

import numpy as np
import pytest

from builders import pixels_and_labels
from lesionlab.model import fast_layers
from lesionlab.model.architectures import build_network
from lesionlab.model.backend import keras, seed_everything, trains_on_cpu_with_tensorflow
from lesionlab.model.batches import predict
from lesionlab.model.train import Part, for_use, train
from lesionlab.recipe import Recipe, read_recipe

pytestmark = pytest.mark.slow

MEAN, STD = np.full(3, 150.0), np.full(3, 40.0)

if not trains_on_cpu_with_tensorflow():
    pytest.skip("only TensorFlow on a CPU computes so", allow_module_level=True)


def mobile(precision: str) -> Recipe:
    recipe = read_recipe("mobile").with_changes("image", height=32, width=32).with_changes("model", weights="none")
    recipe = recipe.with_changes("optimizer", epochs=2, batch_size=16).with_changes("augment", flips=False)
    return recipe.with_changes("training", precision=precision)


def is_reduced(network: keras.Model) -> dict[str, bool]:
    layers = network.get_layer("backbone").layers
    return {layer.name: layer.compute_dtype == "bfloat16" for layer in layers}


@pytest.mark.parametrize(("scale", "center"), [(True, True), (False, True), (True, False)])
def test_fused_normalisation_equals_keras(scale: bool, center: bool) -> None:
    """Outputs, gradients and moving averages, in training and after it."""
    import tensorflow as tf

    images = np.random.default_rng(0).normal(3, 2, (8, 5, 7, 6)).astype("float32")
    weights = np.random.default_rng(1).normal(size=images.shape).astype("float32")
    found = []
    for kind in (keras.layers.BatchNormalization, fast_layers.BatchNormalization):
        layer = kind(momentum=0.9, scale=scale, center=center)
        layer.build(images.shape)
        for variable, values in zip(
            layer.trainable_variables, (np.linspace(0.5, 2, 6), np.linspace(-1, 1, 6)), strict=False
        ):
            variable.assign(values)
        x = tf.Variable(images)
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
            loss = tf.reduce_sum(y * weights)
        gradients = tape.gradient(loss, [x, *(variable.value for variable in layer.trainable_variables)])
        found.append([y, *gradients, layer.moving_mean, layer.moving_variance, layer(x, training=False)])
    for own, of_keras in zip(*found, strict=True):
        np.testing.assert_allclose(own, of_keras, rtol=1e-4, atol=2e-5)


def test_a_frozen_layer_keeps_its_statistics() -> None:
    layer = fast_layers.BatchNormalization()
    images = np.random.default_rng(0).normal(3, 2, (4, 3, 3, 2)).astype("float32")
    layer(images)
    layer.trainable = False
    np.testing.assert_allclose(layer(images, training=True), images / np.sqrt(1 + layer.epsilon), rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, 0)


def test_training_and_use_share_weights_and_answers() -> None:
    recipe = mobile("float32")
    seed_everything(1)
    training = build_network(recipe, MEAN, STD, n_diagnoses=7, for_training=True, seed=1)
    plain = build_network(recipe, MEAN, STD, n_diagnoses=7, seed=1)
    kinds = {type(layer).__module__ for layer in training.get_layer("backbone").layers}
    assert "lesionlab.model.fast_layers" in kinds
    used = for_use(training, recipe, MEAN, STD)
    assert not any("lesionlab" in type(layer).__module__ for layer in used._flatten_layers())
    for ours, theirs in zip(training.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    answers = [predict(network, pixels, np.arange(6)) for network in (training, used, plain)]
    np.testing.assert_array_equal(answers[1], answers[2])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)


@pytest.mark.parametrize("has_instructions", [True, False])
def test_only_dense_convolutions_are_reduced_and_only_where_it_pays(
    has_instructions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_layers, "multiplies_bfloat16", lambda: has_instructions)
    reduced = is_reduced(build_network(mobile("bfloat16-convolutions"), MEAN, STD, n_diagnoses=7, for_training=True))
    assert reduced["conv_pw_1"] is has_instructions
    assert not any(is_low for name, is_low in reduced.items() if not name.startswith(("conv_pw", "conv1")))
    assert not any(is_reduced(build_network(mobile("bfloat16-convolutions"), MEAN, STD, n_diagnoses=7)).values())
    assert not any(is_reduced(build_network(mobile("float32"), MEAN, STD, n_diagnoses=7, for_training=True)).values())


@pytest.mark.parametrize("is_reduced", [False, True])
def test_what_is_computed_anew_is_what_was_kept(is_reduced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients are the same whether the backward pass finds activations kept or makes them anew."""
    import tensorflow as tf

    monkeypatch.setattr(fast_layers, "multiplies_bfloat16", lambda: is_reduced)
    recipe = mobile("bfloat16-convolutions").with_changes("model", dropout=0.0)
    images = np.random.default_rng(0).uniform(0, 255, (16, 32, 32, 3)).astype("float32")
    one_hot = np.eye(7, dtype="float32")[np.arange(16) % 7]
    found = []
    for many in (10**9, 0):
        monkeypatch.setattr(fast_layers, "MANY_PIXELS", many)
        network = build_network(recipe, MEAN, STD, n_diagnoses=7, for_training=True, seed=3)
        kinds = {type(layer) for layer in network.get_layer("backbone").layers}
        assert (
            {fast_layers.ReLU, fast_layers.ZeroPadding2D, fast_layers.Conv2D, fast_layers.DepthwiseConv2D} <= kinds
        ) is (many == 0)

        @tf.function
        def step(network: keras.Model = network) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(keras.losses.categorical_crossentropy(one_hot, network(images, training=True)))
            return loss, tape.gradient(loss, [variable.value for variable in network.trainable_variables])

        loss, gradients = step()
        found.append([loss, *gradients])
    for kept, anew in zip(*found, strict=True):
        # Products that the processor sums in another order may be rounded to the neighbouring number of 8 bits.
        rtol = 2**-7 if is_reduced else 1e-3
        np.testing.assert_allclose(anew, kept, rtol=rtol, atol=1e-5 * float(tf.norm(kept)))


def test_reduced_training_follows_full_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_layers, "multiplies_bfloat16", lambda: True)
    pixels, labels = pixels_and_labels(56, 32, grain=1)
    part = Part(np.arange(56), labels)
    losses = {}
    for precision in ("float32", "bfloat16-convolutions"):
        # Slowly: at the recipe's rate the two part within a few steps, more or less by processor.
        recipe = mobile(precision).with_changes("optimizer", learning_rate=2e-5)
        seed_everything(2)
        network = build_network(recipe, MEAN, STD, n_diagnoses=7, for_training=True, seed=2)
        history = train(network, recipe, pixels, part, None, seed=2, checkpoint=tmp_path / f"{precision}.npz")
        losses[precision] = [row["loss"] for row in history]
        assert {variable.dtype for variable in network.trainable_variables} == {"float32"}
    full, reduced = losses.values()
    np.testing.assert_allclose(reduced, full, rtol=0.1)
    assert reduced != full
