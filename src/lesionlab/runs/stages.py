"""What the terminal shows of a command at work: each step's number and name as it begins, lines of outcome under it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

STEPS = (
    "Libraries and environment",
    "Images and labels",
    "Metadata",
    "Cleaning",
    "Exploration",
    "Load and resize",
    "Train/test split",
    "Normalisation",
    "Label encoding",
    "Train/validation split",
    "Model",
    "Optimizer and annealer",
    "Training",
    "Evaluation",
)


@dataclass(frozen=True)
class Stages:
    """Prints the steps of a run and keeps the time of each, as the manifest holds it."""

    times: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Run one of the 14 `STEPS`, counted from 1."""
        name = STEPS[number - 1]
        print(f"{number:2}/{len(STEPS)}  {name}", flush=True)
        started = time.perf_counter()
        yield
        self.times.append({"step": number, "name": name, "seconds": round(time.perf_counter() - started, 3)})


def say(line: str) -> None:
    """Print one line of a step's outcome."""
    print(f"       {line}", flush=True)


def announce(text: str) -> None:
    """Print what belongs to no step: a fold that begins, a run that is finished, where its report is."""
    print(text, flush=True)
