"""What passes from step to step of a run: what was asked for, the run at work, and what each group of steps gives the next."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.data.clean import Cleaned
from lesionlab.data.explore import Explored
from lesionlab.data.layouts.findings import Finding
from lesionlab.data.layouts.image_types import kinds_of_recipe
from lesionlab.data.layouts.recognise import Collection
from lesionlab.folders import Data
from lesionlab.model.decision_rule import Decision
from lesionlab.recipe import Recipe
from lesionlab.runs.manifest import DataFacts, Environment, ModelFacts, PixelFacts, SetAside, SplitFacts
from lesionlab.runs.stages import Stages
from lesionlab.taxonomy import HAM10000, Taxonomy, read_taxonomy
from lesionlab.tracking.tracker import Tracker


@dataclass(frozen=True)
class Request:
    """What a user asks for: `data`: folders, or None for generated lesions; `limit`: about how many images, or all (None).

    `devices`: how many train, None for all; `track`: trackers to log to. Neither is part of what identifies a run.
    """

    recipe: Recipe
    data: Data | None
    out: Path
    seed: int = 0
    limit: int | None = None
    again: bool = False
    devices: int | None = 1
    track: tuple[str, ...] = ()

    @property
    def taxonomy(self) -> Taxonomy | None:
        """The diagnoses that the recipe names; None: those of the data.

        Raises:
            UsageError: there is no such taxonomy, or its file is at fault.

        """
        return read_taxonomy(self.recipe.taxonomy) if self.recipe.taxonomy else None

    @property
    def written_taxonomy(self) -> str | None:
        """The taxonomy as TOML, by which a request is another; None where the data decide, and for HAM10000's."""
        taxonomy = self.taxonomy
        return taxonomy.to_toml() if taxonomy and taxonomy != HAM10000 else None

    @property
    def image_types(self) -> tuple[str, ...] | None:
        """Kinds of image to read, as `read_collection` takes them."""
        return kinds_of_recipe(self.recipe.image_types)


@dataclass(frozen=True)
class Run:
    """A run at work: what was asked for, and the time of each step.

    `checkpoint`: file of the last finished epoch; in the run directory where it is None. `trackers`: they get each epoch.
    """

    request: Request
    checkpoint: Path | None = None
    trackers: list[Tracker] = field(default_factory=list)
    stages: Stages = field(default_factory=Stages)


@dataclass(frozen=True)
class CleanData:
    """Steps 2 to 4: the clean table, the decoded pixels that its column `row` points into, and what the manifest says of both.

    `look` has the same images at the size that they were checked at.
    """

    collection: Collection
    cleaned: Cleaned
    pixels: np.ndarray
    look: np.ndarray
    facts: DataFacts

    @property
    def taxonomy(self) -> Taxonomy:
        """The diagnoses."""
        return self.collection.taxonomy

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the table, then with the images."""
        return (*self.collection.findings, *self.cleaned.findings)

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """Images that are not used."""
        return describe_set_aside(self.cleaned)


def describe_set_aside(cleaned: Cleaned) -> tuple[SetAside, ...]:
    """Say which images are not used, and why."""
    table = cleaned.set_aside
    return tuple(SetAside(name, reason) for name, reason in zip(table["image_id"], table["reason"], strict=True))


@dataclass(frozen=True)
class SplitData:
    """Steps 7 to 10: the part and the integer label of each row of the table, and what the manifest says of split and pixels.

    `mean` and `std`: of each channel in the training part, float (3,).
    """

    taxonomy: Taxonomy
    table: pd.DataFrame
    labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    facts: SplitFacts
    pixel_facts: PixelFacts

    def rows(self, part: str) -> np.ndarray:
        """Rows of a part in the pixel cache."""
        return self.table.loc[self.table["part"] == part, "row"].to_numpy()

    def labels_of(self, part: str) -> np.ndarray:
        """Integer labels of a part, in the order of `rows`."""
        return self.labels[(self.table["part"] == part).to_numpy()]


@dataclass(frozen=True)
class Trained:
    """Steps 11 to 13: the network with its decision rule inside; probabilities of test and validation part without it.

    `history`: a row an epoch; `facts`: what the manifest says of the network. `beside`: what else was fitted, to compare: by a
    key of `Metrics.stages`, in words and in probabilities of the test part.
    """

    network: Any
    decision: Decision
    as_trained: np.ndarray
    validated: np.ndarray
    history: pd.DataFrame
    facts: ModelFacts
    beside: dict[str, tuple[str, np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class Steps:
    """What steps 1 to 13 have given; `explored` is what `exploration.json` holds."""

    environment: Environment
    data: CleanData
    explored: Explored
    split: SplitData
    trained: Trained
