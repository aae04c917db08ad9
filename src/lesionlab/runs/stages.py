"""What the terminal shows of a command at work: each step's number and name as it begins, lines of outcome under it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct


class StepTime(Struct, frozen=True):
    """How long a step took.

    Attributes:
        step: its number, from 1.
        name: of the step.
        seconds: that it took.
    """

    step: int
    name: str
    seconds: float


class Step(StrEnum):
    """The 14 steps of a run, in order, by the names that terminal and report show."""

    LIBRARIES = "Libraries and environment"
    IMAGES = "Images and labels"
    METADATA = "Metadata"
    CLEANING = "Cleaning"
    EXPLORATION = "Exploration"
    LOADING = "Load and resize"
    TEST_SPLIT = "Train/test split"
    NORMALISATION = "Normalisation"
    LABELS = "Label encoding"
    VALIDATION_SPLIT = "Train/validation split"
    MODEL = "Model"
    OPTIMIZER = "Optimizer and annealer"
    TRAINING = "Training"
    EVALUATION = "Evaluation"

    @property
    def number(self) -> int:
        """Its place, from 1."""
        return list(Step).index(self) + 1


@dataclass(frozen=True)
class Stages:
    """Prints the steps of a run and keeps the time of each, as the manifest holds it."""

    times: list[StepTime] = field(default_factory=list)

    @contextmanager
    def step(self, step: Step) -> Iterator[None]:
        """Run a step within it."""
        print(f"{step.number:2}/{len(Step)}  {step}", flush=True)
        started = time.perf_counter()
        yield
        self.times.append(StepTime(step.number, step.value, round(time.perf_counter() - started, 3)))


def say(line: str) -> None:
    """Print one line of a step's outcome."""
    print(f"       {line}", flush=True)


def announce(text: str) -> None:
    """Print what belongs to no step: a fold that begins, a run that is finished, where its report is."""
    print(text, flush=True)
