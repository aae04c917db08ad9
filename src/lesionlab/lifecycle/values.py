"""What passes from step to step of a run: what was asked for, the run at work, and what each group of steps gives the next."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.data.clean import Cleaned
from lesionlab.data.layouts.recognise import Collection
from lesionlab.model.decision_rule import Decision
from lesionlab.recipe import Recipe
from lesionlab.runs.stages import Stages
from lesionlab.tracking.tracker import Tracker


@dataclass(frozen=True)
class Request:
    """What a user asks for: `data` None means generated lesions; `limit` about how many images, None for all.

    `devices`: how many train, None for all; `track`: trackers to log to. Neither is part of what identifies a run.
    """

    recipe: Recipe
    data: Path | None
    out: Path
    seed: int = 0
    limit: int | None = None
    again: bool = False
    devices: int | None = 1
    track: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run at work: what was asked for, what the manifest will hold, the time of each step.

    `checkpoint`: file of the last finished epoch; in the run directory where it is None. `trackers`: they get each epoch.
    """

    request: Request
    manifest: dict[str, Any]
    checkpoint: Path | None = None
    trackers: list[Tracker] = field(default_factory=list)
    stages: Stages = field(default_factory=Stages)


@dataclass(frozen=True)
class CleanData:
    """Steps 2 to 4: the clean table and the decoded pixels that its column `row` points into."""

    collection: Collection
    cleaned: Cleaned
    pixels: np.ndarray


@dataclass(frozen=True)
class SplitData:
    """Steps 7 to 10: the part and the integer label of each row of the table; channel statistics of training."""

    table: pd.DataFrame
    labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def rows(self, part: str) -> np.ndarray:
        """Rows of a part in the pixel cache."""
        return self.table.loc[self.table["part"] == part, "row"].to_numpy()

    def labels_of(self, part: str) -> np.ndarray:
        """Integer labels of a part, in the order of `rows`."""
        return self.labels[(self.table["part"] == part).to_numpy()]


@dataclass(frozen=True)
class Trained:
    """Steps 11 to 13: the network with its decision rule inside; probabilities of test and validation part without it."""

    network: Any
    decision: Decision
    as_trained: np.ndarray
    validated: np.ndarray
