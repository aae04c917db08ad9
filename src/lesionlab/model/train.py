"""Steps 11 to 13: build, optimise and fit a network; every finished epoch is kept, so that a killed run goes on.

In: a recipe, the pixel cache, the rows and labels of the training and validation parts. Out: the trained network and
its history. Each epoch draws its order, augmentation and dropout from `(seed, epoch)`, so a run that was stopped and
resumed gives the same numbers as one that was not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab.errors import LesionlabError, UsageError
from lesionlab.evaluation.metrics import headline
from lesionlab.model import devices
from lesionlab.model.architectures import build_network
from lesionlab.model.augment import with_augmentation
from lesionlab.model.backend import compiles_by_shape, compiles_with_xla, free_device_bytes, keras
from lesionlab.model.batches import Batches, predict
from lesionlab.model.checkpoint import resume, save
from lesionlab.model.degrade import NOISE_SHARE
from lesionlab.model.fast_layers import refresh_statistics, set_weights
from lesionlab.model.optimizer import make_optimizer, make_plateau, tell_plateau
from lesionlab.recipe import Recipe

HISTORY_COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "learning_rate",
    "seconds",
)
_VALIDATED = ("val_loss", "val_accuracy", "val_balanced_accuracy")


@dataclass(frozen=True)
class Part:
    """The images of one side of the split: `rows` into the pixel cache and integer `labels`, 0 to k - 1.

    `soft`: float32 (n, k), rows sum to 1, what is learnt in place of the labels alone; None for these.
    """

    rows: np.ndarray
    labels: np.ndarray
    soft: np.ndarray | None = None


def class_weights(labels: np.ndarray, n_diagnoses: int, rule: str) -> np.ndarray:
    """Weights of the diagnoses, float (n_diagnoses,), of mean 1 over the training images; 0 for an absent diagnosis.

    Args:
        labels: integers of the training part, 0 to n_diagnoses - 1.
        n_diagnoses: of the network.
        rule: `none`, `sqrt-inverse` or `inverse`: the power of a diagnosis's count.

    """
    counts = np.bincount(labels, minlength=n_diagnoses).astype(float)
    power = {"none": 0.0, "sqrt-inverse": -0.5, "inverse": -1.0}[rule]
    weights = np.where(counts > 0, np.maximum(counts, 1) ** power, 0.0)
    return weights * counts.sum() / (weights * counts).sum()


def set_normalisation_memory(network: keras.Model, steps_per_epoch: int) -> None:
    """Let the moving averages of batch normalisation reach back one epoch, but 10 to 100 steps.

    Keras's momentum of 0.99 reaches back 100 steps. A thousand images in batches of 32 make 30 steps an epoch: the
    averages would lag behind the weights, and the network would answer at random outside training.
    """
    momentum = float(np.clip(1 - 1 / steps_per_epoch, 0.9, 0.99))
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, momentum)


def train(
    network: keras.Model,
    recipe: Recipe,
    pixels: np.ndarray,
    training: Part,
    validation: Part | None,
    *,
    seed: int,
    checkpoint: Path,
    data_key: str = "",
    report: Callable[[dict[str, float]], None] = lambda row: None,
    resident: bool | None = None,
) -> list[dict[str, float]]:
    """Fit the network in place and return its history, one row of `HISTORY_COLUMNS` an epoch.

    Args:
        network: from `build_network`, weights loaded.
        recipe: says how to train; `recipe.optimizer.epochs` in all, those in the checkpoint included.
        pixels: uint8 (n, height, width, 3), the cache.
        training: the part fitted on.
        validation: the part that the plateau and the choice of the best epoch look at. None where everything is
            trained on: the last epoch is kept then, and its figures in the history are NaN.
        seed: of order, augmentation and dropout.
        checkpoint: file that holds the last finished epoch; it is continued where it exists.
        data_key: says which images, with which labels, are trained and validated on; a checkpoint of others is refused.
        report: called with each epoch's row.
        resident: keep the training images in the device's memory; None: where they take less than a third of what a GPU
            has free, are neither mixed, made worse nor growing, and one device trains. The numbers are the same.

    Raises:
        LesionlabError: the loss became NaN, or the checkpoint belongs to another network or other data.
        UsageError: the recipe's annealer is the plateau, and there is no validation part.

    """
    _check_annealer(recipe, validation)
    resident = _can_reside(recipe, len(training.rows) * pixels[0].nbytes) if resident is None else resident
    batches = _batches(recipe, pixels, training, network.output_shape[-1], seed, resident)
    set_normalisation_memory(network, len(batches))
    model = with_augmentation(network, recipe.augment, seed, resident=pixels[training.rows] if resident else None)
    _compile(model, recipe, len(batches))
    progress, best = resume(checkpoint, model, network, data_key)
    refresh_statistics(network)
    devices.check_same_start(progress.epochs_done)
    evaluated = devices.local_copy(network) if devices.is_spread() else network
    plateau = make_plateau(model, recipe.optimizer, progress.plateau)
    for epoch in range(progress.epochs_done, recipe.optimizer.epochs):
        batches.side = recipe.sides()[3 * epoch // recipe.optimizer.epochs]
        row = _fit_epoch(model, batches, epoch, seed)
        row |= _validate(evaluated, network, pixels, validation)
        if plateau is not None:
            progress.plateau = tell_plateau(plateau, epoch, row["val_accuracy"])
        if validation is None or recipe.training.keep == "last" or row["val_balanced_accuracy"] > progress.best_score:
            progress.best_score, best = row["val_balanced_accuracy"], network.get_weights()
        progress.epochs_done = epoch + 1
        progress.history.append({column: row[column] for column in HISTORY_COLUMNS})
        if devices.host_number() == 0:
            save(checkpoint, model, network, best, progress)
        report(progress.history[-1])
    set_weights(network, best)
    return progress.history


def _check_annealer(recipe: Recipe, validation: Part | None) -> None:
    if validation is None and recipe.optimizer.annealer == "plateau":
        raise UsageError(f"Recipe {recipe.name}: the annealer 'plateau' needs a validation part. Use 'cosine'.")


def _batches(
    recipe: Recipe, pixels: np.ndarray, training: Part, n_diagnoses: int, seed: int, resident: bool
) -> Batches:
    labels, sampling = training.labels, recipe.loss.sampling
    return Batches(
        pixels,
        training.rows,
        labels,
        batch_size=recipe.optimizer.batch_size,
        n_diagnoses=n_diagnoses,
        class_weights=class_weights(labels, n_diagnoses, recipe.loss.class_weights),
        soft=training.soft,
        sampling=None if sampling == "none" else class_weights(labels, n_diagnoses, sampling),
        mixup=recipe.augment.mixup,
        degrade=(1 - NOISE_SHARE) * recipe.augment.degrade,
        seed=seed,
        are_full=compiles_by_shape(),
        share=(devices.host_number(), devices.host_count()),
        as_rows=resident,
        workers=2,
    )


def _compile(model: keras.Model, recipe: Recipe, steps_per_epoch: int) -> None:
    model.compile(
        optimizer=make_optimizer(recipe.optimizer, steps_per_epoch),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.loss.label_smoothing),
        weighted_metrics=[],
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=compiles_with_xla(),
    )
    model.optimizer.build(model.trainable_variables)


def for_use(network: keras.Model, recipe: Recipe, mean: np.ndarray, std: np.ndarray) -> keras.Model:
    """Rebuild a trained network with the same weights for use and export: in float32, with the recipe's views."""
    used = build_network(recipe, mean, std, n_diagnoses=network.output_shape[-1], views=recipe.model.views)
    set_weights(used, network.get_weights())
    return used


def _can_reside(recipe: Recipe, needed_bytes: int) -> bool:
    if recipe.augment.mixup or recipe.augment.degrade or recipe.training.first_side or devices.is_spread():
        return False
    return 3 * needed_bytes < free_device_bytes()


def _fit_epoch(model: keras.Model, batches: Batches, epoch: int, seed: int) -> dict[str, float]:
    started = time.perf_counter()
    batches.start_epoch(epoch)
    _reseed(model, seed, epoch)
    bar = EpochProgress(len(batches), epoch + 1)
    rate = _learning_rate(model)
    logs = model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[bar]).history
    loss = logs["loss"][0]
    if not np.isfinite(loss):
        raise LesionlabError(
            f"The training loss became {loss} in epoch {epoch + 1}. Lower optimizer.learning_rate (now {rate:g}) "
            "in the recipe, and start again."
        )
    return {
        "epoch": epoch + 1,
        "loss": loss,
        "accuracy": logs["accuracy"][0],
        "learning_rate": rate,
        "seconds": time.perf_counter() - started,
    }


def _learning_rate(model: keras.Model) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def _validate(
    evaluated: keras.Model, network: keras.Model, pixels: np.ndarray, validation: Part | None
) -> dict[str, float]:
    """Take the figures of an epoch on the validation part, by this host's copy of the network where several train."""
    if evaluated is not network:
        set_weights(evaluated, network.get_weights())
    if validation is None:
        return dict.fromkeys(_VALIDATED, float("nan"))
    with devices.alone():
        probabilities = predict(evaluated, pixels, validation.rows)
    found = headline(validation.labels, probabilities)
    return dict(zip(_VALIDATED, (found.log_loss, found.accuracy, found.balanced_accuracy), strict=True))


def _reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Set every random generator in the model from `(seed, epoch)`: what was drawn before does not matter."""
    generators = [g for layer in model._flatten_layers() for g in getattr(layer, "_seed_generators", [])]
    states = np.random.SeedSequence([seed, epoch]).generate_state(2 * len(generators)).reshape(-1, 2)
    for generator, state in zip(generators, states, strict=True):
        generator.state.assign(state.astype(np.uint32))


class EpochProgress(keras.callbacks.Callback):
    """One progress bar an epoch, on a terminal only."""

    def __init__(self, batches: int, epoch: int) -> None:
        from lesionlab.progress import track

        super().__init__()
        self._steps = iter(track(range(batches + 1), f"epoch {epoch}", total=batches))

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Show the empty bar."""
        next(self._steps)

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Advance by one batch. At its end Keras would wait for the device at every step, to hand over the logs."""
        next(self._steps, None)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Take the bar away."""
        for _ in self._steps:
            pass
