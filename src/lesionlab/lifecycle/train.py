"""Steps 11 to 13 of a run: build, optimise and train the network; then choose its decision rule on the validation part.

In: clean and split data of `lesionlab.lifecycle.prepare`. Out: the network with its rule inside,
saved as `model.keras`; the history.
"""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from lesionlab.data.layouts.recognise import Collection
from lesionlab.data.statistics import encode_labels
from lesionlab.files import replacing, write_csv
from lesionlab.inference.bundle import Bundle
from lesionlab.lifecycle.prepare import data_key
from lesionlab.lifecycle.teach import in_words, open_teacher, say_known, taught_labels
from lesionlab.lifecycle.values import CleanData, Run, SplitData, Trained
from lesionlab.model.architectures import build_network, with_decision
from lesionlab.model.backend import seed_everything
from lesionlab.model.batches import predict
from lesionlab.model.decision_rule import choose_decision
from lesionlab.model.devices import leave_hosts, spread, with_other_hosts
from lesionlab.model.optimizer import describe_optimizer
from lesionlab.model.pretrained import load_pretrained
from lesionlab.model.train import Part, for_use, train
from lesionlab.runs import directory
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.manifest import ModelFacts
from lesionlab.runs.stages import Step, say


def fit(run: Run, data: CleanData, split: SplitData) -> Trained:
    """Steps 11 to 13: build, optimise, train; then choose the decision rule on validation data."""
    recipe = run.request.recipe
    teacher = open_teacher(recipe, split.taxonomy)
    with with_other_hosts(), spread(run.request.devices, recipe.optimizer.batch_size) as devices:
        network, facts = _build(run, split, devices)
        with run.stages.step(Step.TRAINING):
            history = _train(run, data, split, network, teacher)
        leave_hosts()
    if teacher:
        facts = msgspec.structs.replace(facts, teacher=in_words(teacher, recipe.loss.teacher_share))
    return apply_decision_rule(run, data, split, for_use(network, recipe, split.mean, split.std), history, facts)


def _build(run: Run, split: SplitData, devices: int) -> tuple[Any, ModelFacts]:
    """Steps 11 and 12: the network with its starting weights, and how it is optimised."""
    recipe = run.request.recipe
    architecture = recipe.model.architecture
    with run.stages.step(Step.MODEL):
        network = build_network(
            recipe, split.mean, split.std, n_diagnoses=len(split.taxonomy), for_training=True, seed=run.request.seed
        )
        parameters, weights = network.count_params(), load_pretrained(network, recipe)
        say(f"{architecture}, {parameters:,} parameters; weights: {weights}")
    with run.stages.step(Step.OPTIMIZER):
        optimizer = describe_optimizer(recipe.optimizer)
        say(optimizer)
    facts = ModelFacts(
        architecture=architecture, parameters=parameters, weights=weights, devices=devices, optimizer=optimizer
    )
    return network, facts


def _train(run: Run, data: CleanData, split: SplitData, network: Any, teacher: Bundle | None) -> pd.DataFrame:
    """Step 13: train the network in place, write its history and return it."""

    def report(row: dict[str, float]) -> None:
        say_epoch(row)
        for tracker in run.trackers:
            tracker.epoch(row)

    training, validation = (Part(split.rows(p), split.labels_of(p)) for p in ("train", "validation"))
    recipe = run.request.recipe
    if teacher:
        say_known(teacher, split.table)
        soft = taught_labels(teacher, recipe.loss.teacher_share, data.collection, training.rows, training.labels)
        training = dataclasses.replace(training, soft=soft)
    learnt_from = split.table[split.table["part"] != "test"]
    rows = train(
        network,
        recipe,
        data.pixels,
        training,
        validation,
        seed=run.request.seed,
        checkpoint=run.checkpoint or run.request.out / directory.CHECKPOINT,
        data_key=data_key(learnt_from) + (teacher.sha256 if teacher else ""),
        report=report,
    )
    history = pd.DataFrame(rows)
    write_csv(history, run.request.out / "history.csv")
    return history


def apply_decision_rule(
    run: Run, data: CleanData, split: SplitData, network: Any, history: pd.DataFrame, facts: ModelFacts
) -> Trained:
    """End of step 13: choose the decision rule of a trained network on the validation part, put it inside, save it."""
    validated = predict(network, data.pixels, split.rows("validation"))
    decision = choose_decision(
        run.request.recipe.decision, split.labels_of("validation"), validated, split.labels_of("train")
    )
    as_trained = predict(network, data.pixels, split.rows("test"))
    network = with_decision(network, decision)
    with replacing(run.request.out / "model.keras") as temporary:
        network.save(temporary)
    return Trained(network, decision, as_trained, validated, history, facts)


def refit(
    run: RunDirectory,
    pixels: np.ndarray,
    table: pd.DataFrame,
    collection: Collection,
    statistics: tuple[np.ndarray, np.ndarray],
    checkpoint: Path,
) -> Any:
    """Train a finished run's recipe on all of its images, for as many steps as the run took; write `final-history.csv`.

    Args:
        run: its directory.
        pixels: uint8 (n, height, width, 3).
        table: every image of the run: `image_id`, `dx`, `sha256`, `part`, and `row`, its place in `pixels`.
        collection: the images, as they were read.
        statistics: channel means and standard deviations of these images, float (3,) each.
        checkpoint: file of the last finished epoch.

    Returns:
        The network, without a decision rule.

    """
    seed, epochs = run.head.seed, round(run.recipe.optimizer.epochs * (table["part"] == "train").mean())
    recipe = run.recipe.with_changes("optimizer", epochs=max(1, epochs))
    say(f"{recipe.optimizer.epochs} epochs: as many steps as the run took")
    seed_everything(seed)
    network = build_network(recipe, *statistics, n_diagnoses=len(run.taxonomy), for_training=True, seed=seed)
    load_pretrained(network, recipe)
    rows, labels = table["row"].to_numpy(), encode_labels(table["dx"], run.taxonomy)
    teacher = open_teacher(recipe, run.taxonomy)
    soft = taught_labels(teacher, recipe.loss.teacher_share, collection, rows, labels) if teacher else None
    part = Part(rows, labels, soft)

    def report(row: dict[str, float]) -> None:
        say(f"epoch {row['epoch']:3.0f}  loss {row['loss']:.3f}  {row['seconds']:.0f} s")

    key = data_key(table) + (teacher.sha256 if teacher else "")
    history = train(network, recipe, pixels, part, None, seed=seed, checkpoint=checkpoint, data_key=key, report=report)
    write_csv(pd.DataFrame(history), run.folder / "final-history.csv")
    return for_use(network, recipe, *statistics)


def say_epoch(row: dict[str, float]) -> None:
    """Say on the terminal what an epoch came to; `row` is of `lesionlab.model.train.HISTORY_COLUMNS`."""
    say(
        f"epoch {row['epoch']:3.0f}  loss {row['loss']:.3f}  validation: loss {row['val_loss']:.3f}, accuracy "
        f"{row['val_accuracy']:.3f}, balanced {row['val_balanced_accuracy']:.3f}  {row['seconds']:.0f} s"
    )
