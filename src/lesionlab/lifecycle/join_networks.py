"""Networks of several runs as one, whose logits are the mean of theirs: what an ensemble has in place of a training.

In: opened runs. Out: their network, without a decision rule (`joined`), or as steps 11 to 13 leave it (`join_runs`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.errors import LesionlabError
from lesionlab.files import write_csv
from lesionlab.lifecycle.train import apply_decision_rule
from lesionlab.lifecycle.values import CleanData, Run, SplitData, Trained
from lesionlab.model.architectures import build_network
from lesionlab.model.decision_rule import read_decision, unfold_calibration
from lesionlab.model.export.compact_weights import round_weights
from lesionlab.model.fast_layers import set_weights
from lesionlab.model.join import join
from lesionlab.model.safe_load import load_network
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.manifest import ModelFacts
from lesionlab.runs.stages import Step, say


def joined(runs: Sequence[RunDirectory], file: str, name: str, statistics: tuple[np.ndarray, np.ndarray]) -> Any:
    """Join the networks that stand in `file` of each run directory; no decision rule, not calibrated, weights of 8 bits.

    Args:
        runs: to join.
        file: `model.keras` or `final.keras`.
        name: of the joined network.
        statistics: channel means and standard deviations, float (3,) each, of the images that all were trained on.

    """
    each = []
    for number, run in enumerate(runs):
        views = max(1, run.recipe.model.views // len(runs))
        each.append(uncalibrated(run, file, statistics, views=views, first_view=number * views))
    network = join(each, name)
    round_weights(network)
    return network


def uncalibrated(
    run: RunDirectory, file: str, statistics: tuple[np.ndarray, np.ndarray], *, views: int, first_view: int
) -> Any:
    """A run's network as it was trained: its calibration, folded into the last layer, is taken out again; no decision rule.

    Args:
        run: its directory.
        file: `model.keras` or `final.keras`.
        statistics: as of `joined`.
        views: of how many flipped copies of an image it takes the mean.
        first_view: which of the four comes first.

    """
    path = run.folder / file
    n_diagnoses = len(run.taxonomy)
    network = build_network(run.recipe, *statistics, n_diagnoses=n_diagnoses, views=views, first_view=first_view)
    weights = load_network(path).get_weights()
    if [values.shape for values in weights] != [values.shape for values in network.get_weights()]:
        raise LesionlabError(
            f"{path} is no network of the recipe beside it: one of the two is another run's. Repeat the run with --again."
        )
    set_weights(network, weights)
    last = network.get_layer("probabilities")
    kernel, bias = last.get_weights()
    last.set_weights(unfold_calibration(kernel, bias, read_decision(run.decision())))
    return network


def join_runs(run: Run, data: CleanData, split: SplitData, members: Sequence[RunDirectory]) -> Trained:
    """Steps 11 to 13, without training."""
    names = ", ".join(member.folder.resolve().name for member in members)
    with run.stages.step(Step.MODEL):
        network = joined(members, "model.keras", run.request.recipe.name, (split.mean, split.std))
        architecture, parameters = " + ".join(m.recipe.model.architecture for m in members), network.count_params()
        say(f"{architecture}, {parameters:,} parameters, of the runs {names}")
    with run.stages.step(Step.OPTIMIZER):
        optimizer = f"none: the runs {names} are trained already"
        say(optimizer)
    facts = ModelFacts(
        architecture=architecture,
        parameters=parameters,
        weights=f"those of the runs {names}",
        teacher="; ".join(dict.fromkeys(m.manifest.model.teacher for m in members if m.manifest.model.teacher)),
        optimizer=optimizer,
    )
    with run.stages.step(Step.TRAINING):
        history = pd.concat([member.history().assign(run=member.folder.resolve().name) for member in members])
        write_csv(history, run.request.out / "history.csv")
        return apply_decision_rule(run, data, split, network, history, facts)
