"""The run directory, opened in one way: what kind of run it is, its manifest and recipe, and its tables where asked for.

In: a folder. Out: a `RunDirectory`, or in words why it is none, is not finished, or is damaged.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pandas as pd

from lesionlab.data.explore import Explored
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.evaluation.metrics_file import Metrics, read_metrics, renewed
from lesionlab.files import read_csv
from lesionlab.folders import Data, as_read, each
from lesionlab.recipe import Recipe, read_recipe
from lesionlab.runs.identity import EvaluationHead, Head, Identity, Kind
from lesionlab.runs.manifest import Manifest
from lesionlab.taxonomy import HAM10000, Taxonomy

Written = TypeVar("Written")

MANIFEST = "manifest.json"
RECIPE = "recipe.toml"
CHECKPOINT = "checkpoint.npz"
FINAL = "final.keras"


class _DataTaxonomy(msgspec.Struct, frozen=True):
    taxonomy: Taxonomy | None = None


class _WithTaxonomy(msgspec.Struct, frozen=True):
    """What the manifests of runs and of evaluations have in common."""

    data: _DataTaxonomy = _DataTaxonomy()


@dataclass(frozen=True)
class RunDirectory:
    """A folder that holds a run, an ensemble, folds, a search or an evaluation, finished or not.

    Attributes:
        folder: its path.
        kind: what it holds.
        head: what its manifest says from the start.
        written: the bytes of its manifest.

    """

    folder: Path
    kind: Kind
    head: Head
    written: bytes = field(repr=False)

    @cached_property
    def manifest(self) -> Manifest:
        """The whole manifest of a finished run or ensemble.

        Raises:
            LesionlabError: a key is missing, or holds something else than it should.

        """
        return self.decoded(Manifest)

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The diagnoses; older files are HAM10000's.

        Raises:
            LesionlabError: the manifest is damaged.

        """
        return self.decoded(_WithTaxonomy).data.taxonomy or HAM10000

    def decoded(self, kind: type[Written]) -> Written:
        """Read what of the manifest a type names.

        Raises:
            LesionlabError: a key is missing, or holds something else than it should.

        """
        try:
            return msgspec.json.decode(self.written, type=kind)
        except msgspec.ValidationError as error:
            raise damaged(self.folder, f"its {MANIFEST} cannot be read ({error})") from error

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe.

        Raises:
            LesionlabError: it is gone.
            UsageError: it cannot be read.

        """
        path = self.folder / RECIPE
        if not path.is_file():
            raise damaged(self.folder, f"{RECIPE} is gone")
        return read_recipe(str(path))

    @property
    def members(self) -> tuple[Path, ...]:
        """The runs that an ensemble joins."""
        return tuple(map(Path, self.head.request.members))

    @property
    def data_folder(self) -> Data:
        """The folder of the images, or several, wherever the command is called from."""
        found, asked = as_read(self.manifest.data.folder), as_read(self.head.request.data or "")
        is_asked = all(one.is_absolute() for one in each(asked)) and not all(one.is_absolute() for one in each(found))
        return asked if is_asked else found

    def metrics(self) -> Metrics:
        """Read `metrics.json`.

        Raises:
            LesionlabError: it is gone, or no such file.

        """
        try:
            return read_metrics(self.figures())
        except msgspec.ValidationError as error:
            raise damaged(self.folder, f"its metrics.json does not hold what it should ({error})") from error

    def figures(self) -> dict[str, Any]:
        """Read `metrics.json` under today's keys, whatever it holds; an older run's too.

        Raises:
            LesionlabError: it is gone, or no such file.

        """
        try:
            figures = json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
            return renewed(figures)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(self.folder, "its metrics.json cannot be read") from error

    def decision(self) -> dict[str, Any]:
        """Read what was chosen on the validation part: the block `decision` of `metrics.json`.

        Raises:
            LesionlabError: it is not there.

        """
        decision = self.figures().get("decision")
        if not isinstance(decision, dict):
            raise damaged(self.folder, "its metrics.json does not say how it decides")
        return decision

    def history(self) -> pd.DataFrame:
        """Read `history.csv`, a row an epoch; of an ensemble the column `run` says whose the epoch was.

        Raises:
            LesionlabError: it is gone, or no such table.

        """
        try:
            path = self.folder / "history.csv"
            columns = pd.read_csv(path, nrows=0).columns
            return read_csv(path, list(columns.drop("run", errors="ignore")))
        except (OSError, ValueError) as error:  # pandas's own errors are ValueErrors
            raise damaged(self.folder, "its history.csv cannot be read") from error

    def predictions(self) -> pd.DataFrame:
        """Read `predictions.csv`, of all parts: `image`, a probability a diagnosis, `part`, `lesion_id`, `truth`, `predicted`.

        Raises:
            UsageError: it cannot be read as a run writes it.

        """
        path = self.folder / "predictions.csv"
        try:
            table = read_csv(path, self.taxonomy.columns)
            _ = table[["image", *self.taxonomy.columns, "part", "lesion_id", "truth"]]
            return table
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(
                f"{path} cannot be read as a run writes it ({error}). Give another, or repeat the run."
            ) from error

    def splits(self) -> pd.DataFrame:
        """Read `splits.csv`, as text: `image_id`, `lesion_id`, `group`, `dx`, `part`.

        Raises:
            LesionlabError: it is gone.

        """
        if not (self.folder / "splits.csv").is_file():
            raise damaged(self.folder, "splits.csv is gone")
        return read_csv(self.folder / "splits.csv")

    def exploration(self) -> Explored:
        """Read `exploration.json`.

        Raises:
            LesionlabError: it is gone, or no such file.

        """
        try:
            return msgspec.json.decode((self.folder / "exploration.json").read_bytes(), type=Explored)
        except (OSError, ValueError) as error:  # msgspec's own errors are ValueErrors
            raise damaged(self.folder, "its exploration.json cannot be read") from error

    def card(self) -> str:
        """Read the model card; empty where it is gone."""
        path = self.folder / "card.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""


def find_run(folder: Path) -> RunDirectory | None:
    """Open a folder of results of any kind, finished or not; None where it holds no manifest.

    Raises:
        UsageError: the manifest is none of lesionlab's.

    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        written = path.read_bytes()
        evaluation = msgspec.json.decode(written, type=EvaluationHead)
        if evaluation.kind == Kind.EVALUATION:
            head = Head(request=Identity(), finished=evaluation.finished)
            return RunDirectory(folder, Kind.EVALUATION, head, written)
        head = msgspec.json.decode(written, type=Head)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is not a manifest of lesionlab's. Give another folder.") from error
    return RunDirectory(folder, head.request.kind, head, written)


def find_training(folder: Path) -> RunDirectory | None:
    """As `find_run`, of folders that `lesionlab run`, `ensemble` and `tune` write.

    Raises:
        UsageError: the folder holds an evaluation, or a manifest that is none of lesionlab's.

    """
    found = find_run(folder)
    if found and found.kind is Kind.EVALUATION:
        raise UsageError(f"{folder} holds an evaluation, by 'lesionlab evaluate', and no run. Give another folder.")
    return found


def open_run(folder: Path) -> RunDirectory:
    """Open a finished run or ensemble, which has a network of its own.

    Raises:
        UsageError: the folder holds no run, one that is not finished, or one without a network.
        LesionlabError: its manifest is damaged.

    """
    found = find_training(folder) if folder.is_dir() else None
    if found is None:
        raise UsageError(f"{folder} is no run directory. Give one that 'lesionlab run' has written.")
    if not found.head.finished:
        raise UsageError(f"The run in {folder} is not finished. The same 'lesionlab run' goes on with it.")
    if not found.kind.has_network:
        inner = next((path.parent for path in sorted(folder.glob(f"*/{MANIFEST}"))), None)
        hint = f" Give one of the runs in it, such as {inner}." if inner else ""
        raise UsageError(f"{folder} holds folds or a search, and no network of its own.{hint}")
    _ = found.manifest  # checked here, before anything is done with it
    return found


def open_evaluated(folder: Path) -> RunDirectory:
    """Open a finished run, ensemble or evaluation: all have test predictions.

    Raises:
        UsageError: the folder holds none of these, or one that is not finished.
        LesionlabError: a run's manifest is damaged.

    """
    found = find_run(folder) if holds(folder, Kind.EVALUATION) else None
    if found is None:
        return open_run(folder)
    if not found.head.finished:
        raise UsageError(f"The evaluation in {folder} is not finished. Repeat the same 'lesionlab evaluate'.")
    return found


def holds(folder: Path, kind: Kind) -> bool:
    """Whether a folder holds results of a kind, finished or not."""
    try:
        found = find_run(folder)
    except UsageError:
        return False
    return found is not None and found.kind is kind


def damaged(folder: Path, what: str) -> LesionlabError:
    """Word that a run directory is not as its run has left it."""
    advice = "Put it back, or repeat the run: the same command with --again."
    return LesionlabError(f"The run in {folder} is damaged: {what}. {advice}")
