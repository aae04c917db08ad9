"""A line on the terminal for each trial that ends."""

from typing import Any

from ray.tune import Callback

from lesionlab.cluster.tasks import last_line
from lesionlab.lifecycle.trial import trial_number
from lesionlab.runs.stages import say


class Lines(Callback):
    """Say what a trial of Ray Tune reached when it ends, or that it failed."""

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say the trial's last figure."""
        last = trial.last_result or {}
        reached = f"{last[self.metric]:.3f} after {last['epoch']:.0f} epochs" if self.metric in last else "no epoch"
        say(f"trial {trial_number(trial.trial_id)}: {self.metric.removeprefix('val_').replace('_', ' ')} {reached}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say why the trial failed."""
        say(f"trial {trial_number(trial.trial_id)} failed: {last_line(trial.get_error() or 'no reason is known')}")
