"""A finished run or evaluation at hand: its figures, predictions and model, read when they are first asked for.

>>> import lesionlab
>>> run = lesionlab.open_run("runs/first")  # doctest: +SKIP
>>> run.metrics.test.balanced_accuracy, run.figures["confusion"], run.model.predict("photo.jpg")  # doctest: +SKIP
"""

import base64
import os
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.errors import UsageError
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics_file import Metrics
from lesionlab.inference.model import Model, load_model
from lesionlab.runs import directory
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.identity import Kind
from lesionlab.taxonomy import Taxonomy

MODEL = "model.onnx"
_MEDIA_TYPES = {".svg": "image/svg+xml", ".jpg": "image/jpeg", ".png": "image/png"}


@dataclass(frozen=True)
class Picture:
    """A figure in its file; a notebook shows it."""

    path: Path

    def _repr_html_(self) -> str:
        """Show it in a notebook, at most as wide as the page."""
        held = base64.b64encode(self.path.read_bytes()).decode()
        source = f"data:{_MEDIA_TYPES[self.path.suffix]};base64,{held}"
        return f'<img alt="{escape(self.path.stem)}" style="max-width:100%;background:white" src="{source}">'


@dataclass(frozen=True)
class OpenedRun:
    """A finished run, ensemble or evaluation, of which each file is read when it is first asked for.

    Attributes:
        folder: its path.
        directory: the same as the commands open it: `manifest`, `recipe`, `history()`, `splits()`, `card()`.

    """

    folder: Path
    directory: RunDirectory = field(repr=False)

    @property
    def taxonomy(self) -> Taxonomy:
        """The diagnoses, in the order of every table."""
        return self.directory.taxonomy

    @cached_property
    def metrics(self) -> Metrics:
        """All of `metrics.json`: `metrics.test` has the figures of the test part.

        Raises:
            LesionlabError: the file is gone or damaged.

        """
        return self.directory.metrics()

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row an image: `image`, a probability 0 to 1 for each diagnosis, `part`, `lesion_id`, `truth`, `predicted`.

        Raises:
            UsageError: `predictions.csv` cannot be read as a run writes it.

        """
        return self.directory.predictions()

    def labelled(self, part: str = "test") -> LabelledPredictions:
        """Take the predictions of a part as the functions of `lesionlab.evaluation` want them.

        Args:
            part: `train`, `validation` or `test`; an evaluation has `test` alone.

        Raises:
            UsageError: there is no such part.

        """
        table = self.predictions[self.predictions["part"] == part]
        if table.empty:
            there = ", ".join(self.predictions["part"].unique())
            raise UsageError(f"{self.folder} has no predictions of {part!r}; its parts are: {there}.")
        labels = np.array([self.taxonomy.index_of[dx] for dx in table["truth"]])
        probabilities = table[list(self.taxonomy.columns)].to_numpy(float)
        return LabelledPredictions(labels, probabilities, table["lesion_id"].to_numpy(), self.taxonomy)

    @cached_property
    def figures(self) -> dict[str, Picture]:
        """The figures of its report, by name: `confusion`, `roc`, `mistakes/01` and others; empty where they are gone."""
        folder = self.folder / "figures"
        files = sorted(path for path in folder.rglob("*") if path.suffix in _MEDIA_TYPES)
        return {path.relative_to(folder).with_suffix("").as_posix(): Picture(path) for path in files}

    @cached_property
    def model(self) -> Model:
        """The trained network, ready to predict, without Keras.

        Raises:
            UsageError: it is an evaluation, which has no model of its own, or `model.onnx` is not there.

        """
        if self.directory.kind is Kind.EVALUATION:
            raise UsageError(f"{self.folder} holds an evaluation, which has no model of its own: open the model's run.")
        path = self.folder / MODEL
        if not path.is_file():
            raise UsageError(f"{path} is not there. Write it anew: lesionlab export {self.folder} --format onnx")
        return load_model(path)

    def _repr_html_(self) -> str:
        """Show what was tested, with its intervals, in a notebook."""
        name = f"{self.directory.kind.value.capitalize()} in {self.folder}"
        about = f"finished {(self.directory.head.finished or '')[:10]}; diagnoses of {self.taxonomy.name}"
        report = f"report: {self.folder / 'report.html'}"
        lines = "".join(f"<div>{escape(line)}</div>" for line in (about, report))
        return f"<div><b>{escape(name)}</b>{lines}{self.metrics.test._repr_html_()}</div>"


def open_run(folder: str | os.PathLike[str]) -> OpenedRun:
    """Open what `lesionlab run`, `ensemble` or `evaluate` has finished, to look at it and to go on with it.

    Raises:
        UsageError: the folder holds no such thing, or one that is not finished.
        LesionlabError: its manifest is damaged.

    """
    path = Path(folder)
    return OpenedRun(path, directory.open_evaluated(path))
