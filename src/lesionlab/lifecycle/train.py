"""Steps 11 to 13 of a run: build, optimise and train the network; then choose its decision rule on the validation part.

In: what `lesionlab.lifecycle.prepare` has prepared and divided. Out: the network with its rule inside,
saved as `model.keras`; the history.
"""

from typing import Any

import pandas as pd

from lesionlab.files import replacing, write_csv
from lesionlab.lifecycle.prepare import data_key
from lesionlab.lifecycle.values import CleanData, Run, SplitData, Trained
from lesionlab.model.architectures import build_network, load_pretrained, with_decision
from lesionlab.model.batches import predict
from lesionlab.model.decision_rule import choose_decision
from lesionlab.model.devices import leave_hosts, spread, with_other_hosts
from lesionlab.model.train import Part, describe_optimizer, for_use, train
from lesionlab.runs import directory
from lesionlab.runs.stages import say
from lesionlab.taxonomy import DX


def fit(run: Run, prepared: CleanData, divided: SplitData) -> Trained:
    """Steps 11 to 13: build, optimise, train; then choose the decision rule on validation data."""
    recipe = run.request.recipe
    with with_other_hosts(), spread(run.request.devices, recipe.optimizer.batch_size) as devices:
        network = _build(run, divided)
        run.manifest["model"]["devices"] = devices
        with run.stages.step(13):
            _train(run, prepared, divided, network)
        leave_hosts()
    return apply_decision_rule(run, prepared, divided, for_use(network, recipe, divided.mean, divided.std))


def _build(run: Run, divided: SplitData) -> Any:
    """Steps 11 and 12: the network with its starting weights, and how it is optimised."""
    recipe = run.request.recipe
    with run.stages.step(11):
        network = build_network(
            recipe, divided.mean, divided.std, n_diagnoses=len(DX), for_training=True, seed=run.request.seed
        )
        facts = {
            "architecture": recipe.model.architecture,
            "parameters": network.count_params(),
            "weights": load_pretrained(network, recipe),
        }
        run.manifest["model"] = facts
        say(f"{facts['architecture']}, {facts['parameters']:,} parameters; weights: {facts['weights']}")
    with run.stages.step(12):
        run.manifest["model"]["optimizer"] = describe_optimizer(recipe.optimizer)
        say(run.manifest["model"]["optimizer"])
    return network


def _train(run: Run, prepared: CleanData, divided: SplitData, network: Any) -> None:
    """Step 13: train the network in place and write its history."""

    def report(row: dict[str, float]) -> None:
        say_epoch(row)
        for tracker in run.trackers:
            tracker.epoch(row)

    training, validation = (Part(divided.rows(p), divided.labels_of(p)) for p in ("train", "validation"))
    learnt_from = divided.table[divided.table["part"] != "test"]
    history = train(
        network,
        run.request.recipe,
        prepared.pixels,
        training,
        validation,
        seed=run.request.seed,
        checkpoint=run.checkpoint or run.request.out / directory.CHECKPOINT,
        data_key=data_key(learnt_from),
        report=report,
    )
    write_csv(pd.DataFrame(history), run.request.out / "history.csv")


def apply_decision_rule(run: Run, prepared: CleanData, divided: SplitData, network: Any) -> Trained:
    """End of step 13: choose the decision rule of a trained network on the validation part, put it inside, save it."""
    validated = predict(network, prepared.pixels, divided.rows("validation"))
    decision = choose_decision(
        run.request.recipe.decision, divided.labels_of("validation"), validated, divided.labels_of("train")
    )
    as_trained = predict(network, prepared.pixels, divided.rows("test"))
    network = with_decision(network, decision)
    with replacing(run.request.out / "model.keras") as temporary:
        network.save(temporary)
    return Trained(network, decision, as_trained, validated)


def say_epoch(row: dict[str, float]) -> None:
    """Say on the terminal what an epoch came to; `row` is of `lesionlab.model.train.HISTORY_COLUMNS`."""
    say(
        f"epoch {row['epoch']:3.0f}  loss {row['loss']:.3f}  validation: loss {row['val_loss']:.3f}, accuracy "
        f"{row['val_accuracy']:.3f}, balanced {row['val_balanced_accuracy']:.3f}  {row['seconds']:.0f} s"
    )
