"""The trials of a search side by side by Ray Tune: those that lag behind are stopped early, a line on the terminal for each.

Early stopping is ASHA (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020). Ray's extra is `[scale]`.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune import Callback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator

from lesionlab import environment
from lesionlab.cluster import tasks
from lesionlab.cluster.tasks import last_line
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.lifecycle.search_space import Choices, Range, Space
from lesionlab.lifecycle.trial import METRIC, run_trial, trial_number
from lesionlab.recipe import Recipe
from lesionlab.runs.stages import announce, say

NAME = "search"  # of Ray's folder
_ATTEMPTS = 3  # of a trial whose worker died; each goes on after the last epoch


class Lines(Callback):
    """Say what a trial of Ray Tune reached when it ends, or that it failed."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say the trial's last figure."""
        last = trial.last_result or {}
        reached = f"{last[METRIC]:.3f} after {last['epoch']:.0f} epochs" if METRIC in last else "no epoch"
        say(f"trial {trial_number(trial.trial_id)}: {METRIC.removeprefix('val_').replace('_', ' ')} {reached}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say why the trial failed."""
        say(f"trial {trial_number(trial.trial_id)} failed: {last_line(trial.get_error() or 'no reason is known')}")


def fit(ray: Any, recipe: Recipe, space: Space, job: Path, *, n_trials: int, seed: int, cpus: int) -> Any:
    """Run the trials, or go on with those of an interrupted search; returns Ray Tune's results.

    Args:
        ray: connected.
        recipe: that is varied.
        space: of its keys.
        job: folder that every trial reads; Ray's own files lie beside it.
        n_trials: how many recipes are tried.
        seed: of the choices and of each training.
        cpus: cores of a trial; it takes a GPU as well where the cluster has any.

    Raises:
        UsageError: no node has so many cores.
        LesionlabError: Ray failed.

    """
    largest = tasks.largest_node(ray)
    if cpus > largest:
        raise UsageError(f"--cpus {cpus}: no node has so many cores; the largest has {largest}. Give that or less.")
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # lines are our own
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # or an interrupted search would look like a finished one
    tuner_class, storage = tune.Tuner, job.parent
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    trial = tune.with_parameters(run_trial, job=str(job), seed=seed, settings=environment.settings())
    trainable = tune.with_resources(trial, {"cpu": cpus, "gpu": gpus})
    if tuner_class.can_restore(str(storage / NAME)):
        announce("Resuming an interrupted search.")
        tuner = tuner_class.restore(str(storage / NAME), trainable, resume_unfinished=True, restart_errored=True)
    else:
        tuner = tuner_class(
            trainable,
            param_space={name: _domain(given) for name, given in space.items()},
            tune_config=_config(recipe.optimizer.epochs, n_trials, seed),
            run_config=_run_config(storage),
        )
    announce(f"\n{n_trials} trials of at most {recipe.optimizer.epochs} epochs, {cpus} core(s) each")
    try:
        return tuner.fit()
    except (ray.exceptions.RayError, tune.TuneError, RuntimeError) as error:
        raise LesionlabError(tasks.worded(ray, error)) from error


def _run_config(storage: Path) -> Any:
    again = tune.FailureConfig(max_failures=_ATTEMPTS)
    return tune.RunConfig(name=NAME, storage_path=str(storage), verbose=0, failure_config=again, callbacks=[Lines()])


def _config(epochs: int, n_trials: int, seed: int) -> Any:
    asha = ASHAScheduler(time_attr="epoch", max_t=epochs, grace_period=max(1, epochs // 9), reduction_factor=3)
    return tune.TuneConfig(
        metric=METRIC,
        mode="max",
        num_samples=n_trials,
        scheduler=asha,
        search_alg=BasicVariantGenerator(random_state=np.random.default_rng(seed)),
    )


def _domain(given: Choices | Range) -> Any:
    if isinstance(given, Choices):
        return tune.choice(given.choices)
    if given.whole:
        return (tune.lograndint if given.log else tune.randint)(int(given.low), int(given.high) + 1)
    return (tune.loguniform if given.log else tune.uniform)(given.low, given.high)
