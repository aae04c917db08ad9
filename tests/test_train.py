"""Training through the package's doors: every epoch survives a stop, the same seed gives the same numbers."""

import dataclasses
import functools
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import pixels_and_labels
from labelled import labelled
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.model import fast_layers
from lesionlab.model.architectures import build_network, name_of_network, with_decision
from lesionlab.model.backend import keras, seed_everything
from lesionlab.model.batches import Batches, predict
from lesionlab.model.check import check_model
from lesionlab.model.decision_rule import (
    EXPONENTS,
    MARGIN,
    Decision,
    apply_decision,
    choose_decision,
    choose_thresholds,
)
from lesionlab.model.export.compact_weights import round_weights
from lesionlab.model.export.onnx import export_onnx
from lesionlab.model.optimizer import make_optimizer
from lesionlab.model.pretrained import load_pretrained
from lesionlab.model.train import Part, class_weights, for_use, train
from lesionlab.recipe import DecisionChoice, Recipe, read_recipe

CORRECTED = DecisionChoice("prior-corrected")
MEAN, STD = np.array([180.0, 140.0, 130.0]), np.array([40.0, 35.0, 30.0])


def tiny(**optimizer: object) -> Recipe:
    recipe = read_recipe("quick").with_changes("image", height=16, width=16)
    return recipe.with_changes("optimizer", **({"epochs": 4, "batch_size": 16} | optimizer))


def parts(labels: np.ndarray) -> tuple[Part, Part]:
    rows = np.arange(len(labels))
    return Part(rows[:63], labels[:63]), Part(rows[63:], labels[63:])


def fit(recipe: Recipe, checkpoint: Path, *, stop_after: int | None = None, seed: int = 5, data_key: str = ""):
    class Stop(Exception):
        pass

    def report(row: dict[str, float]) -> None:
        if row["epoch"] == stop_after:
            raise Stop

    seed_everything(seed)
    pixels, labels = pixels_and_labels(side=recipe.image.height)
    network = build_network(recipe, MEAN, STD, n_diagnoses=7, for_training=True, seed=seed)
    try:
        facts = {"seed": seed, "checkpoint": checkpoint, "data_key": data_key}
        history = train(network, recipe, pixels, *parts(labels), **facts, report=report)
    except Stop:
        return None
    return network, history, predict(network, pixels, np.arange(len(labels)))


def without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "stops"),
    [
        (tiny(), (1, 3)),
        (tiny(name="adam", annealer="plateau", plateau_patience=1, plateau_floor=1e-8), (2,)),
        (tiny().with_changes("image", height=24, width=24).with_changes("training", first_side=16), (2,)),
    ],
    ids=["cosine", "plateau", "growing"],
)
def test_a_stopped_training_gives_the_numbers_of_an_unbroken_one(
    recipe: Recipe, stops: tuple[int, ...], tmp_path: Path
) -> None:
    _, whole, expected = fit(recipe, tmp_path / "whole.npz")
    for epoch in stops:
        assert fit(recipe, tmp_path / "broken.npz", stop_after=epoch) is None
    _, resumed, actual = fit(recipe, tmp_path / "broken.npz")
    assert without_seconds(resumed) == without_seconds(whole)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.slow
def test_images_in_device_memory_give_the_same_numbers(tmp_path: Path) -> None:
    """A checkpoint of the one way goes on in the other: the images are no part of it."""
    pixels, labels = pixels_and_labels()
    histories = []
    for first, second in ((False, False), (True, True), (False, True)):
        checkpoint = tmp_path / f"{first}-{second}.npz"
        for epochs, resident in ((1, first), (3, second)):
            seed_everything(5)
            network = build_network(tiny(), MEAN, STD, n_diagnoses=7, for_training=True, seed=5)
            recipe = tiny(epochs=epochs, annealer="none")
            given = {"seed": 5, "checkpoint": checkpoint, "resident": resident}
            history = train(network, recipe, pixels, *parts(labels), **given)
        histories.append(without_seconds(history))
        assert checkpoint.stat().st_size < 3e6
    assert histories[0] == histories[1] == histories[2]


@pytest.mark.slow
def test_another_seed_gives_other_numbers(tmp_path: Path) -> None:
    one, other = (fit(tiny(epochs=1), tmp_path / f"{seed}.npz", seed=seed)[2] for seed in (1, 2))
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.slow
def test_it_learns(tmp_path: Path) -> None:
    _, history, _ = fit(tiny(epochs=25), tmp_path / "c.npz")
    assert history[-1]["val_balanced_accuracy"] > 0.5 > 2 / 7


@pytest.mark.slow
def test_images_grow_while_training_and_are_full_size_in_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    read = Batches.__getitem__

    def watched(self: Batches, index: int) -> tuple:
        batch = read(self, index)
        if self._seed is not None:  # the training part, not the validation part
            seen.append((self._epoch, batch[0].shape[1]))
        return batch

    monkeypatch.setattr(Batches, "__getitem__", watched)
    recipe = tiny(epochs=6).with_changes("image", height=24, width=24).with_changes("training", first_side=16)
    network, _, _ = fit(recipe, tmp_path / "c.npz")
    assert sorted(set(seen)) == [(0, 16), (1, 16), (2, 20), (3, 20), (4, 24), (5, 24)]
    assert for_use(network, recipe, MEAN, STD).input_shape == (None, 24, 24, 3)
    with pytest.raises(UsageError, match="one size of image only"):
        build_network(
            recipe.with_changes("model", architecture="notebook-cnn"), MEAN, STD, n_diagnoses=7, for_training=True
        )


@pytest.mark.slow
def test_the_best_epoch_is_kept_or_the_last(tmp_path: Path) -> None:
    pixels, labels = pixels_and_labels()
    validation = parts(labels)[1]
    for keep in ("best", "last"):
        recipe = tiny(epochs=8).with_changes("training", keep=keep)
        network, history, _ = fit(recipe, tmp_path / f"{keep}.npz")
        predicted = predict(network, pixels, validation.rows).argmax(axis=1)
        recall = [np.mean(predicted[validation.labels == c] == c) for c in range(7)]
        scores = [row["val_balanced_accuracy"] for row in history]
        assert np.mean(recall) == pytest.approx(max(scores) if keep == "best" else scores[-1])


@pytest.mark.slow
def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.npz"
    fit(tiny(epochs=1), checkpoint)
    other = tiny(epochs=2).with_changes("model", architecture="notebook-cnn")
    with pytest.raises(LesionlabError, match="cannot be continued from"):
        fit(other, checkpoint)
    with pytest.raises(LesionlabError, match="labels or the parts of the split have changed since"):
        fit(tiny(epochs=2), checkpoint, data_key="of others")
    checkpoint.write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(LesionlabError, match="cannot be continued from"):
        fit(tiny(epochs=2), checkpoint)


def test_a_loss_that_explodes_says_what_to_do(tmp_path: Path) -> None:
    recipe = tiny(epochs=3)
    pixels, labels = pixels_and_labels()
    network = build_network(recipe, MEAN, STD, n_diagnoses=7)
    head = network.get_layer("probabilities")
    head.set_weights([values * np.nan for values in head.get_weights()])
    with pytest.raises(LesionlabError, match="loss became nan in epoch 1. Lower optimizer.learning_rate"):
        train(network, recipe, pixels, *parts(labels), seed=0, checkpoint=tmp_path / "c.npz")


@pytest.mark.slow
def test_bfloat16_trains_and_leaves_float32(tmp_path: Path) -> None:
    recipe = tiny(epochs=1).with_changes("training", precision="bfloat16")
    network, _, _ = fit(recipe, tmp_path / "c.npz")
    plain = for_use(network, recipe, MEAN, STD)
    assert {layer.compute_dtype for layer in plain.layers} == {"float32"}
    np.testing.assert_array_equal(plain.get_weights()[0], network.get_weights()[0])


def test_the_notebooks_network_layer_by_layer() -> None:
    network = build_network(read_recipe("kaggle-cnn"), MEAN, STD, n_diagnoses=7)
    names = [type(layer).__name__ for layer in network.layers]
    block = ["Conv2D", "Conv2D", "MaxPooling2D", "Dropout"]
    assert names == ["InputLayer", "Rescaling", *block, *block, "Flatten", "Dense", "Dropout", "Dense"]
    assert network.input_shape == (None, 75, 100, 3)
    # 32*(3*9+1) + 32*(32*9+1) + 64*(32*9+1) + 64*(64*9+1) + 128*(18*25*64+1) + 7*129
    assert network.count_params() == 896 + 9248 + 18496 + 36928 + 3686528 + 903
    assert [layer.rate for layer in network.layers if "Dropout" in type(layer).__name__] == [0.25, 0.4, 0.5]


@pytest.mark.parametrize("rule", ["training", "training-global"])
def test_normalisation_is_in_the_network(rule: str) -> None:
    recipe = tiny().with_changes("image", normalisation=rule)
    pixels, _ = pixels_and_labels()
    rows = np.arange(len(pixels))
    from lesionlab.data.statistics import channel_statistics

    network = build_network(recipe, *channel_statistics(pixels, rows), n_diagnoses=7)
    out = keras.ops.convert_to_numpy(network.get_layer("normalise")(pixels.astype(np.float32)))
    axis = (0, 1, 2) if rule == "training" else None
    np.testing.assert_allclose(out.mean(axis=axis), 0, atol=1e-3)
    np.testing.assert_allclose(out.std(axis=axis), 1, atol=1e-3)


def one_layer(input_shape: tuple[int | None, ...], **_: object) -> keras.Model:
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Conv2D(4, 32, strides=32)(inputs))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("MobileNet", "mobilenet"),
        ("ResNet50", "resnet"),
        ("ResNet50V2", "resnet_v2"),
        ("DenseNet121", "densenet"),
        ("InceptionV3", "inception_v3"),
        ("EfficientNetV2B0", None),
        ("EfficientNetV2S", None),
        ("MobileNetV3Small", None),
        ("ConvNeXtTiny", None),
    ],
)
def test_architecture_normalisation_is_keras_own(
    name: str, module: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our first layer does what the family's `preprocess_input` does, or (None) the layers that it can begin with."""
    if module:  # then nothing behind the first layer takes part, and a large network is built for nothing
        monkeypatch.setattr(keras.applications, name, one_layer)
    recipe = tiny().with_changes("model", architecture=name).with_changes("image", normalisation="architecture")
    recipe = recipe.with_changes("image", height=80, width=80)
    network = build_network(recipe, MEAN, STD, n_diagnoses=7)
    images = np.random.default_rng(0).integers(0, 256, (2, 80, 80, 3)).astype(np.float32)
    ours = keras.ops.convert_to_numpy(keras.Model(network.input, network.get_layer("normalise").output)(images))
    if module:
        expected = getattr(keras.applications, module).preprocess_input(images.copy())
    else:
        whole = getattr(keras.applications, name)(input_shape=(80, 80, 3), include_top=False, weights=None)
        first = next(number for number, layer in enumerate(whole.layers) if layer.weights and "norm" not in layer.name)
        expected = keras.ops.convert_to_numpy(keras.Model(whole.input, whole.layers[first].input)(images))
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_an_unknown_architecture_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown architecture 'MobilNet' \(did you mean 'MobileNet'\?\)"):
        build_network(tiny().with_changes("model", architecture="MobilNet"), MEAN, STD, n_diagnoses=7)


def test_an_architecture_that_needs_larger_images() -> None:
    with pytest.raises(UsageError, match="InceptionV3 at 16 x 16 px"):
        build_network(tiny().with_changes("model", architecture="InceptionV3"), MEAN, STD, n_diagnoses=7)


@pytest.mark.parametrize(
    ("side", "changes", "first_side", "message"),
    [
        (16, {"architecture": "MobileNet"}, 0, "MobileNet at 16 x 16 px: Input size must be at least 32x32"),
        (64, {"architecture": "MobileNet"}, 16, r"MobileNet does not take images of 16 x 16 px"),
        (32, {}, 8, r"small-cnn does not take images of 8 x 8 px, which training\.first_side = 8 makes"),
        (32, {"views": 2}, 0, r"views are of keras\.applications networks; small-cnn has none"),
        (32, {"frozen_until": "conv"}, 0, r"small-cnn has no pretrained part. Leave out model\.frozen_until"),
        (32, {"architecture": "MobileNet", "frozen_until": "nonsense"}, 0, "MobileNet has no layer frozen_until"),
        (32, {"weights": "imagenet"}, 0, "small-cnn starts from random weights alone"),
        (32, {"architecture": "EfficientNetB0", "weights": "imagenet"}, 0, 'Set image.normalisation = "architecture"'),
    ],
)
def test_choices_that_do_not_fit_the_network(side: int, changes: dict, first_side: int, message: str) -> None:
    recipe = tiny().with_changes("image", height=side, width=side).with_changes("model", **changes)
    with pytest.raises(UsageError, match=message):
        check_model(recipe.with_changes("training", first_side=first_side))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "first_side"), [("small-cnn", 24), ("MobileNetV2", 60), ("EfficientNetB0", 0)]
)
def test_choices_that_fit_the_network(architecture: str, first_side: int) -> None:
    recipe = tiny().with_changes("image", height=48, width=72).with_changes("model", architecture=architecture)
    check_model(recipe.with_changes("training", first_side=first_side))


@pytest.mark.parametrize("name", ["my recipe", "Mäl", "a/b", "1-2", "", "κ"])
def test_any_name_of_a_recipe_makes_a_network(name: str) -> None:
    network = build_network(dataclasses.replace(tiny(), name=name), MEAN, STD, n_diagnoses=7)
    assert re.fullmatch("[A-Za-z][A-Za-z0-9_]*", network.name)
    assert name_of_network("plain-name") == "plain_name"


def test_weights_are_rounded_by_the_normalisation_that_follows_in_the_graph() -> None:
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    one, two = layers.Conv2D(32, 3, name="one")(inputs), layers.Conv2D(16, 3, name="two")(inputs)
    normal = [layers.BatchNormalization(name=f"{name}_bn")(x) for name, x in (("two", two), ("one", one))]
    shared = layers.Conv2D(16, 3, name="shared")(inputs)
    outputs = layers.Concatenate()([*normal, shared, layers.BatchNormalization(name="shared_bn")(shared)])
    network = keras.Model(inputs, outputs)
    factors = {}
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma = np.random.default_rng(len(factors)).uniform(0.1, 3, layer.gamma.shape)
            layer.gamma.assign(gamma)
            factors[layer.name] = gamma / np.sqrt(1 + layer.epsilon)
    round_weights(network)
    for name, factor in (("one", factors["one_bn"]), ("two", factors["two_bn"]), ("shared", 1.0)):
        folded = (network.get_layer(name).get_weights()[0] * factor).astype(np.float32)
        np.testing.assert_allclose(folded, folded.astype(np.float16).astype(np.float32), rtol=1e-6)


def test_class_weights_have_mean_one_over_the_images() -> None:
    labels = np.array([1] * 90 + [0] * 9 + [5])
    for rule in ("none", "sqrt-inverse", "inverse"):
        weights = class_weights(labels, 7, rule)
        assert weights[labels].mean() == pytest.approx(1)
        assert weights[2] == 0
    assert class_weights(labels, 7, "inverse")[5] / class_weights(labels, 7, "inverse")[1] == pytest.approx(90)


def test_cosine_warms_up_and_falls_to_zero() -> None:
    choice = tiny(learning_rate=0.01, epochs=10, warmup_epochs=1.0).optimizer
    schedule = make_optimizer(choice, steps_per_epoch=10)._learning_rate
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == 0 and rates[10] == pytest.approx(0.01) and rates[100] == pytest.approx(0, abs=1e-9)
    assert np.argmax(rates) == 10


def test_an_epoch_reads_every_image_once_with_its_label() -> None:
    pixels, labels = pixels_and_labels()
    batches = Batches(pixels, np.arange(84), labels, batch_size=16, n_diagnoses=7, seed=3)
    first = [batches[i] for i in range(len(batches))]
    batches.start_epoch(1)
    second = [batches[i] for i in range(len(batches))]
    for epoch in (first, second):
        images = np.concatenate([x for x, _, _ in epoch])
        marks = np.concatenate([y for _, y, _ in epoch]).argmax(axis=1)
        assert sorted(images.sum(axis=(1, 2, 3))) == sorted(pixels.sum(axis=(1, 2, 3)))
        np.testing.assert_array_equal(marks, [labels[np.flatnonzero((pixels == x).all((1, 2, 3)))[0]] for x in images])
    assert not np.array_equal(first[0][0], second[0][0])


def test_the_decision_rule_is_put_into_the_network(tmp_path: Path) -> None:
    pixels, labels = pixels_and_labels()
    network = build_network(tiny(), MEAN, STD, n_diagnoses=7)
    before = predict(network, pixels, np.arange(84))
    training_labels = np.r_[labels, np.ones(500, int)]
    assert choose_decision(CORRECTED, labels, before, training_labels).exponent in EXPONENTS
    decision = Decision("prior-corrected", 1.0, tuple(-np.log(np.bincount(training_labels) / len(training_labels))))
    network = with_decision(network, decision)
    np.testing.assert_allclose(predict(network, pixels, np.arange(84)), apply_decision(before, decision), atol=1e-6)
    assert choose_decision(DecisionChoice("argmax"), labels, before, training_labels).exponent == 0


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3))
@settings(max_examples=60, deadline=None)
def test_a_decision_moves_probabilities_only_as_far_as_it_must(seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    before = rng.dirichlet(np.full(7, 0.4), 50)
    shift = rng.normal(scale=1.5, size=7)
    after = apply_decision(before, Decision("prior-corrected", 1.0, tuple(shift), temperature))
    tempered = before ** (1 / temperature) / (before ** (1 / temperature)).sum(axis=1, keepdims=True)
    decided = (tempered * np.exp(shift)).argmax(axis=1)
    np.testing.assert_allclose(after.sum(axis=1), 1)
    assert (after.argmax(axis=1) == decided).all()
    agrees = decided == tempered.argmax(axis=1)
    np.testing.assert_allclose(after[agrees], tempered[agrees], atol=2 * MARGIN)
    lead = after[~agrees].max(axis=1) - np.sort(after[~agrees], axis=1)[:, -2]
    assert (lead < 2 * MARGIN).all() and (lead > 0.4 * MARGIN).all()
    others = np.eye(7)[decided] == 0
    ratio = after[others].reshape(50, 6) / after[others].reshape(50, 6).sum(axis=1, keepdims=True)
    same = tempered[others].reshape(50, 6) / tempered[others].reshape(50, 6).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ratio, same, atol=1e-9)


def test_prior_correction_undoes_a_known_prior() -> None:
    """Probabilities that hold the prior 90:10 decide best after dividing it out."""
    rng = np.random.default_rng(0)
    training_labels = np.r_[np.ones(900, int), np.zeros(100, int)]
    labels = rng.integers(0, 2, 4000)
    score = rng.normal(loc=labels.astype(float))
    odds = np.exp(score - 0.5) * 9  # likelihood ratio times the prior odds
    probabilities = np.full((4000, 7), 1e-9)
    probabilities[:, 1], probabilities[:, 0] = odds / (1 + odds), 1 / (1 + odds)
    assert choose_decision(CORRECTED, labels, probabilities, training_labels).exponent == 1.0


def test_a_diagnosis_of_one_validation_image_is_moved_as_the_rarest_that_has_a_say() -> None:
    """Three of 10,000 training images would move it by all their share, on the word of one."""
    rng = np.random.default_rng(0)
    training_labels = np.repeat([0, 1, 2], [9000, 997, 3])
    labels = np.r_[rng.integers(0, 2, 2000), 2]
    odds = np.exp(rng.normal(loc=labels == 1) - 0.5) / 9
    probabilities = np.stack([1 / (1 + odds), odds / (1 + odds), np.full(2001, 1e-4)], axis=1)
    found = choose_decision(CORRECTED, labels, probabilities, training_labels)
    assert found.exponent == 1.0 and found.log_shift[2] == found.log_shift[1] > found.log_shift[0]
    few = choose_decision(
        CORRECTED, np.array([0, 1, 2]), probabilities[:3], training_labels
    )  # none has a say: all have
    assert few.exponent == 0 or few.log_shift[2] > few.log_shift[1]


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found_and_folded_in(true_temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=2, size=(20_000, 7))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(7, p=row) for row in probabilities])
    sure = np.exp(
        true_temperature * logits
    )  # dividing its logits by the temperature gives what the labels were drawn from
    sure /= sure.sum(axis=1, keepdims=True)
    decision = choose_decision(DecisionChoice("argmax", "temperature"), labels, sure, labels)
    assert decision.temperature == pytest.approx(true_temperature, rel=0.05)
    np.testing.assert_allclose(apply_decision(sure, decision), probabilities, atol=0.02)
    pixels, _ = pixels_and_labels()
    network = build_network(tiny(), MEAN, STD, n_diagnoses=7)
    before = predict(network, pixels, np.arange(84))
    network = with_decision(network, decision)
    np.testing.assert_allclose(predict(network, pixels, np.arange(84)), apply_decision(before, decision), atol=1e-6)


def test_vector_scaling_is_found_and_put_into_the_network() -> None:
    """Probabilities too sure, and biased for one diagnosis, are mended; in the network as in NumPy."""
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=2, size=(20_000, 7))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(7, p=row) for row in probabilities])
    biased = np.exp(np.log(probabilities) * 1.5 + [1.5, 0, 0, 0, 0, 0, 0])
    biased /= biased.sum(axis=1, keepdims=True)
    decision = choose_decision(DecisionChoice("argmax", "vector"), labels, biased, labels)
    assert decision.temperature == 1.0
    assert (
        np.abs(apply_decision(biased, decision) - probabilities).mean() < 0.01 < np.abs(biased - probabilities).mean()
    )
    pixels, pixel_labels = pixels_and_labels()
    for rule in ("argmax", "prior-corrected"):
        network = build_network(tiny(), MEAN, STD, n_diagnoses=7)
        before = predict(network, pixels, np.arange(84))
        decision = choose_decision(
            DecisionChoice(rule, "vector"), pixel_labels, before, np.r_[pixel_labels, np.ones(300, int)]
        )
        network = with_decision(network, decision)
        after = predict(network, pixels, np.arange(84))
        np.testing.assert_allclose(after, apply_decision(before, decision), atol=1e-5)


def test_thresholds_call_nine_in_ten_malignant_and_refer_a_tenth() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 7, 1000)
    probabilities = rng.dirichlet(np.ones(7), 1000) * 0.5 + np.eye(7)[labels] * 0.5
    thresholds = choose_thresholds(labelled(labels, probabilities))
    malignant = np.isin(labels, [0, 2, 3])
    called = probabilities[:, [0, 2, 3]].sum(axis=1) >= thresholds["malignant"]
    assert called[malignant].mean() == pytest.approx(0.9, abs=0.01)
    assert (uncertainties(probabilities) > thresholds["uncertainty"]).mean() == pytest.approx(0.1, abs=0.01)
    assert "malignant" not in choose_thresholds(labelled(np.ones(5, int), probabilities[:5]))


@pytest.mark.parametrize("number", [1, 9, 10, 11, 30, 141])
def test_the_threshold_of_malignant_is_the_largest_that_finds_nine_in_ten(number: int) -> None:
    """Of 10 positives 9, not all; and without any benign image too."""
    certainty = np.random.default_rng(number).permutation(np.linspace(0.1, 0.91, number))
    probabilities = np.stack([certainty, 1 - certainty, *np.zeros((5, number))], axis=1)
    labels = np.zeros(number, int)
    line = choose_thresholds(labelled(labels, probabilities))["malignant"]
    enough = [t for t in certainty if (certainty >= t).sum() >= 0.9 * number - 1e-9]
    assert line == max(enough)
    among_benign = np.r_[probabilities, np.eye(7)[np.ones(50, int)] * 0.6 + np.eye(7)[np.zeros(50, int)] * 0.4]
    assert choose_thresholds(labelled(np.r_[labels, np.ones(50, int)], among_benign))["malignant"] == line


@pytest.mark.slow
def test_frozen_layers_stay_and_the_rest_is_trained(tmp_path: Path, imagenet_weights: Path) -> None:
    pixels, labels = pixels_and_labels()
    recipe = tiny().with_changes("image", height=32, width=32, normalisation="architecture")
    recipe = recipe.with_changes("optimizer", epochs=1)
    changes = {"architecture": "MobileNet", "weights": str(imagenet_weights), "frozen_until": "conv_pw_3_relu"}
    recipe = recipe.with_changes("model", **changes)
    pixels = np.repeat(np.repeat(pixels, 2, axis=1), 2, axis=2)[:, :32, :32]
    network = build_network(recipe, MEAN, STD, n_diagnoses=7)
    load_pretrained(network, recipe)
    backbone = network.get_layer("backbone")
    before = {layer.name: layer.get_weights() for layer in backbone.layers}
    part = Part(np.arange(84), labels)
    train(network, recipe, pixels, part, part, seed=0, checkpoint=tmp_path / "c.npz")
    names = [layer.name for layer in backbone.layers if layer.weights]
    after = {name: backbone.get_layer(name).get_weights() for name in names}
    changed = [n for n in names if any((a != b).any() for a, b in zip(before[n], after[n], strict=True))]
    assert changed == names[names.index("conv_dw_4") :]
    with pytest.raises(UsageError, match="no layer frozen_until = 'conv_pw_3_rel'.*did you mean 'conv_pw_3_relu'"):
        build_network(recipe.with_changes("model", frozen_until="conv_pw_3_rel"), MEAN, STD, n_diagnoses=7)
    free = build_network(recipe.with_changes("model", weights="none"), MEAN, STD, n_diagnoses=7)
    assert len(free.trainable_weights) > len(network.trainable_weights)


def test_sampling_draws_rare_diagnoses_more_often() -> None:
    labels = np.r_[np.zeros(900, int), np.ones(100, int)]
    pixels = np.zeros((1000, 2, 2, 3), np.uint8)
    drawn = {}
    for rule in ("none", "sqrt-inverse", "inverse"):
        batches = Batches(
            pixels,
            np.arange(1000),
            labels,
            batch_size=100,
            n_diagnoses=7,
            sampling=class_weights(labels, 7, rule),
            seed=0,
        )
        drawn[rule] = np.mean([batches[i][1][:, 1].mean() for i in range(10)])
    assert drawn["none"] == pytest.approx(0.1, abs=0.03)
    assert drawn["sqrt-inverse"] == pytest.approx(0.25, abs=0.04)  # 1 part of 1 + sqrt(9)
    assert drawn["inverse"] == pytest.approx(0.5, abs=0.05)


def test_mixup_mixes_images_labels_and_weights_alike() -> None:
    labels = np.arange(84) % 7
    pixels = np.broadcast_to((labels * 30).astype(np.uint8)[:, None, None, None], (84, 4, 4, 3))
    weights = np.arange(1.0, 8.0)
    batches = Batches(
        pixels, np.arange(84), labels, batch_size=28, n_diagnoses=7, class_weights=weights, mixup=0.4, seed=0
    )
    images, one_hot, weight = batches[1]
    np.testing.assert_allclose(one_hot.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(images[:, 0, 0, 0], one_hot @ np.arange(7) * 30, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(weight, one_hot @ weights, rtol=1e-5)
    assert (one_hot.max(axis=1) < 0.999).any()
    np.testing.assert_array_equal(batches[1][0], images)
    batches.start_epoch(1)
    assert not np.array_equal(batches[1][0], images)


@pytest.mark.slow
def test_local_imagenet_weights(imagenet_weights: Path) -> None:
    recipe = tiny().with_changes("image", height=32, width=32, normalisation="architecture")
    recipe = recipe.with_changes("model", architecture="MobileNet", weights=str(imagenet_weights))
    network = build_network(recipe, MEAN, STD, n_diagnoses=7)
    before = network.get_layer("backbone").get_weights()[0].copy()
    assert load_pretrained(network, recipe) == f"file {imagenet_weights.name}"
    assert np.abs(network.get_layer("backbone").get_weights()[0] - before).max() > 0.1
    other = recipe.with_changes("model", architecture="MobileNetV2")
    with pytest.raises(UsageError, match="does not fit MobileNetV2 without its top"):
        load_pretrained(build_network(other, MEAN, STD, n_diagnoses=7), other)


@pytest.mark.slow
def test_efficientnet_computes_what_keras_own_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of ImageNet's statistics, downloaded or in a file, and through every copy of the network."""
    build = keras.applications.EfficientNetB0
    with monkeypatch.context() as patch:  # Keras builds one more layer for ImageNet's weights
        patch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: "")
        patch.setattr(keras.Model, "load_weights", lambda *_, **__: None)
        theirs = build(include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    (statistics,) = (layer for layer in theirs.layers if isinstance(layer, keras.layers.Normalization))
    statistics.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(0)])
    statistics.finalize_state()
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(theirs(images, training=False))
    monkeypatch.setattr("lesionlab.model.pretrained.published", lambda *_: theirs)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    recipe = tiny().with_changes("image", height=32, width=32, normalisation="architecture")
    for weights in ("imagenet", "theirs.weights.h5", "ours.weights.h5"):
        name = weights if weights == "imagenet" else str(tmp_path / weights)
        recipe = recipe.with_changes("model", architecture="EfficientNetB0", weights=name)
        network = build_network(recipe, MEAN, STD, n_diagnoses=7)
        load_pretrained(network, recipe)
        network.get_layer("backbone").save_weights(tmp_path / "ours.weights.h5")
        copies = [network]
        if weights == "imagenet":
            copies += [fast_layers.for_training(network, "float32", 0), for_use(network, recipe, MEAN, STD)]
        for copy in copies:
            features = keras.ops.convert_to_numpy(copy.get_layer("backbone")(images, training=False))
            np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.slow
def test_a_download_that_fails_says_how_to_give_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.applications.mobilenet.BASE_WEIGHT_PATH", "http://127.0.0.1:9/")
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    recipe = tiny().with_changes("image", height=32, width=32)
    recipe = recipe.with_changes("model", architecture="MobileNet", weights="imagenet")
    with pytest.raises(
        LesionlabError, match=r"could not be downloaded.*KERAS_HOME/models.*--weights FILE\.weights\.h5"
    ):
        load_pretrained(build_network(recipe, MEAN, STD, n_diagnoses=7), recipe)
    with pytest.raises(LesionlabError, match="could not be downloaded"):
        check_model(recipe)  # as a run does before it reads the data


@pytest.mark.slow
def test_imagenet_weights_are_downloaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keras's own download, from a server on this machine that has the file under the name that Keras asks for."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    recipe = tiny().with_changes("image", height=32, width=32)
    recipe = recipe.with_changes("model", architecture="MobileNet", weights="imagenet")
    published = build_network(recipe, MEAN, STD, n_diagnoses=7, seed=7).get_layer("backbone")
    (tmp_path / "server").mkdir()
    with h5py.File(tmp_path / "server" / "mobilenet_1_0_224_tf_no_top.h5", "w") as file:
        save_weights_to_hdf5_group(file, published)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "server")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr("keras.src.applications.mobilenet.BASE_WEIGHT_PATH", address)
        monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path / "home"))
        network = build_network(recipe, MEAN, STD, n_diagnoses=7, seed=8)
        assert load_pretrained(network, recipe) == "ImageNet (keras.applications)"
        server.shutdown()
    for actual, expected in zip(network.get_layer("backbone").get_weights(), published.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)
    again = build_network(recipe, MEAN, STD, n_diagnoses=7, seed=9)  # the server is gone: from Keras's cache
    load_pretrained(again, recipe)
    np.testing.assert_array_equal(again.get_layer("backbone").get_weights()[0], published.get_weights()[0])
    file = tmp_path / "server" / "mobilenet_1_0_224_tf_no_top.h5"  # the very file, given by hand
    by_hand = recipe.with_changes("model", weights=str(file))
    check_model(by_hand)
    fourth = build_network(by_hand, MEAN, STD, n_diagnoses=7, seed=10)
    assert load_pretrained(fourth, by_hand) == f"file {file.name}"
    for actual, expected in zip(fourth.get_layer("backbone").get_weights(), published.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)
    smaller = by_hand.with_changes("model", architecture="MobileNetV2")
    with pytest.raises(UsageError, match="does not fit MobileNetV2 without its top"):
        load_pretrained(build_network(smaller, MEAN, STD, n_diagnoses=7), smaller)


@pytest.mark.slow
def test_onnx_equals_keras_and_carries_its_facts(tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    pixels, _ = pixels_and_labels()
    network = build_network(tiny(), MEAN, STD, n_diagnoses=7)
    path = tmp_path / "model.onnx"
    assert export_onnx(network, path, {"classes": ["mel"]}, pixels[:8]) < 1e-5
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert entry.type == "tensor(uint8)" and entry.shape[1:] == [16, 16, 3]
    (probabilities,) = session.run(["probabilities"], {entry.name: pixels})
    np.testing.assert_allclose(probabilities, predict(network, pixels, np.arange(84)), atol=1e-5)
    assert {p.key for p in onnx.load(path).metadata_props} >= {"classes"}


@pytest.mark.slow
def test_an_export_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, _ = pixels_and_labels()
    network = build_network(tiny(), MEAN, STD, n_diagnoses=7)
    monkeypatch.setattr("lesionlab.model.export.proof.TOLERANCE", -1.0)
    with pytest.raises(LesionlabError, match="The ONNX export differs from Keras"):
        export_onnx(network, tmp_path / "model.onnx", {}, pixels[:8])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_views_are_the_mean_over_flips_in_the_logits() -> None:
    recipe = tiny().with_changes("image", height=32, width=48, normalisation="architecture")
    recipe = recipe.with_changes("model", architecture="MobileNet", views=4)
    one = build_network(recipe, MEAN, STD, n_diagnoses=7, seed=3)
    four = for_use(one, recipe, MEAN, STD)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3)).astype(np.float32)
    flips = [np.flip(pixels, axes) for axes in ((), (2,), (1,), (1, 2))]
    logits = np.mean([np.log(np.asarray(one.predict_on_batch(flipped))) for flipped in flips], axis=0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(four.predict_on_batch(pixels)), expected, atol=1e-6)
    for flipped in flips[1:]:
        np.testing.assert_allclose(np.asarray(four.predict_on_batch(flipped)), expected, atol=1e-6)
