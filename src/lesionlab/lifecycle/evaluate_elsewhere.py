"""`lesionlab evaluate`: a finished model, or a table of its predictions, judged on a labelled folder; without Keras.

In: a model file or a table in ISIC's columns, and a folder in any layout. Out: `metrics.json`, `predictions.csv`,
`manifest.json`, `figures/`, `cases/` (a page an image) and `report.html`.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionlab import folders
from lesionlab._version import __version__
from lesionlab.data.layouts.findings import finding
from lesionlab.data.layouts.recognise import Collection, read_collection
from lesionlab.data.split import file_split
from lesionlab.data.split_proof import prove
from lesionlab.data.statistics import encode_labels
from lesionlab.environment import called_as, now
from lesionlab.errors import UsageError
from lesionlab.evaluation import conformal
from lesionlab.evaluation.abstention import RISKS
from lesionlab.evaluation.assess import LabelledPredictions, assess, recalibrated
from lesionlab.evaluation.costs import read_costs
from lesionlab.evaluation.operating_points import TASKS, as_task, judge
from lesionlab.evaluation.skin_tone import with_skin_tone
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.files import write_csv, write_json
from lesionlab.inference.outputs import ModelOutputs
from lesionlab.lifecycle.evaluate import predictions_table
from lesionlab.lifecycle.given_predictions import (
    answers_of_model,
    answers_of_table,
    measure_robustness,
    overlap_with_training,
)
from lesionlab.lifecycle.prepare import LOOK_PX, decode, describe_data, inspect
from lesionlab.lifecycle.values import CleanData
from lesionlab.report.cases import write_cases
from lesionlab.report.figures import write_part_figures
from lesionlab.report.figures_robustness import write_robustness
from lesionlab.report.figures_understanding import write_understanding
from lesionlab.report.page import write_evaluation_html
from lesionlab.runs import directory
from lesionlab.taxonomy import HAM10000

ROBUSTNESS_LESIONS = 200  # by default


@dataclass(frozen=True)
class EvaluatedPart:
    """Images of one part that have an answer: their table and what the model makes of them."""

    table: pd.DataFrame
    seen: ModelOutputs

    @property
    def answers(self) -> LabelledPredictions:
        """Labels, probabilities and lesions."""
        labels, lesions = encode_labels(self.table["dx"], HAM10000), self.table["lesion_id"].to_numpy()
        return LabelledPredictions(labels, self.seen.probabilities, lesions)


def evaluate(
    model: str | Path | None,
    data: Path | str,
    out: Path | str,
    *,
    seed: int = 0,
    allow_missing: bool = False,
    split: Path | str | None = None,
    costs: Path | str | None = None,
    risks: Sequence[float] = RISKS,
    robustness_lesions: int | None = None,
) -> Path:
    """Judge a model on the labelled images of a folder and write a report; return its path.

    Args:
        model: a `.onnx` file, the name of a model that comes with lesionlab, None for the default one, or a `.csv` file of
            predictions in ISIC's columns.
        data: labelled images, in any layout that `lesionlab run` reads.
        out: folder for the results; made where it does not exist. It may hold an earlier evaluation, and nothing else.
        seed: of everything random.
        allow_missing: judge the images that have a prediction where others have none, or predictions have no image.
        split: a run's `splits.csv`: its test part is judged, lines are drawn on its validation part, and its training part
            is left out. None to judge every image.
        costs: a cost matrix, see `lesionlab.evaluation.costs.read_costs`.
        risks: shares of wrong answers that abstaining should keep, 0 to 1.
        robustness_lesions: corrupt, turn and cover the images of so many lesions too; None to leave that out.

    Raises:
        UsageError: model, predictions, data, split or costs cannot be used as asked; says what to change.

    """
    model, data, out = str(model) if model else None, Path(data), Path(out)
    split, costs = (Path(path) if path else None for path in (split, costs))
    folders.refuse_among_images(out, data)
    matrix = read_costs(costs) if costs else None
    if robustness_lesions and _is_table(model):
        raise UsageError("--robustness needs a model: a table of predictions has no answers to changed images.")
    collection = read_collection(data)
    cleaned = inspect(collection)
    parts = file_split(cleaned.table, split, needed=["test"]) if split else pd.Series("test", index=cleaned.table.index)
    table = cleaned.table.assign(part=parts)[parts != "train"].reset_index(drop=True)
    with _held(out):
        seen, described = _answers(model, table, collection, allow_missing, has_split=split is not None)
        has_answer = ~np.isnan(seen.probabilities[:, 0])
        test, validation = (
            _judged(table, seen, has_answer & (table["part"] == p).to_numpy()) for p in ("test", "validation")
        )
        if not len(test.table):
            raise UsageError(f"No image of the part to be judged in {data} has an answer.")
        _begin(out)
        drawn = validation if len(validation.table) else None
        pixels = decode(collection, LOOK_PX, LOOK_PX, "centre").pixels
        toned = dataclasses.replace(test, table=with_skin_tone(test.table, pixels))
        metrics = measure(toned, drawn, described, seed=seed, costs=matrix, risks=risks)
        metrics["robustness"] = (
            measure_robustness(model, test.table, robustness_lesions, seed) if robustness_lesions else None
        )
        whole = CleanData(collection, cleaned, pixels)
        manifest = _describe(whole, test, described, table.loc[~has_answer, "image_id"], seed)
        manifest["overlap_with_training"] = overlap_with_training(
            described, describe_data(whole)["fingerprint"], split is not None
        )
        manifest["split"] = _describe_split(cleaned.table, parts, split)
        metrics["is_generated"] = manifest["data"]["is_generated"]
        if robustness_lesions:
            write_robustness(out / "figures", metrics, np.asarray(pixels[test.table["row"].iloc[0]]))
        return _write(out, metrics, manifest, test, pixels)


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Hold the folder for this evaluation; one that holds anything but an evaluation is left alone."""
    if out.is_dir() and not directory.read_evaluation(out):
        folders.refuse_foreign(out, "evaluation")
    with folders.claimed(out, directory.MANIFEST):
        yield


def _begin(out: Path) -> None:
    """Make the folder one of an unfinished evaluation: an earlier one's report must not stand beside other figures."""
    folders.sweep(out)
    write_json(out / directory.MANIFEST, {"kind": directory.EVALUATION, "finished": None})
    (out / "report.html").unlink(missing_ok=True)
    (out / "figures").mkdir(exist_ok=True)


def measure(
    test: EvaluatedPart,
    validation: EvaluatedPart | None,
    described: dict[str, Any],
    *,
    seed: int,
    costs: np.ndarray | None = None,
    risks: Sequence[float] = RISKS,
) -> dict[str, Any]:
    """Take every figure of the images: as in a run's metrics, and what the model's own facts promise.

    Args:
        test: what is judged.
        validation: what lines are drawn on, or None.
        described: `thresholds`, `conformal` and `operating` of the model's facts.
        seed: of everything random.
        costs: (7, 7), or None.
        risks: see `evaluate`.

    """
    answers, drawn = test.answers, validation.answers if validation else None
    metrics = assess(test.table, answers, drawn, seed=seed, costs=costs, risks=risks)
    metrics |= recalibrated(answers, drawn, seed=seed)
    metrics["stages"] = {
        "test": "as the model gives them",
        "test_temperature": "after a temperature",
        "test_vector": "after vector scaling",
    }
    metrics["own_lines"] = _own_lines(answers, described)
    is_unsure = uncertainties(answers.probabilities) > described["thresholds"].get("uncertainty", 1.0)
    is_refused = test.seen.is_refused
    metrics["own_refused"] = None if is_refused is None else int(is_refused.sum())
    metrics["own_uncertain"] = int(is_unsure.sum() if is_refused is None else (is_unsure & ~is_refused).sum())
    promise = None
    if described["conformal"]:
        promise = conformal.read_promise(described["conformal"])
    elif drawn:
        promise = conformal.calibrate(drawn.labels, drawn.probabilities, drawn.lesions)
    given = answers.labels, answers.probabilities
    metrics["conformal"] = promise and conformal.measure(*given, promise, answers.lesions)
    return metrics


def _own_lines(answers: LabelledPredictions, described: dict[str, Any]) -> list[dict[str, Any]]:
    """Judge the lines that the model itself carries: that of `predict`, then those drawn in its run."""
    threshold = described["thresholds"].get("malignant")
    own = {"task": "malignant", "wanted": "line of predict", "at_least": None, "threshold": threshold}
    rows = []
    for line in [own, *(line for line in described["operating"] if line["task"] in TASKS)]:
        is_positive, score = as_task(answers.labels, answers.probabilities, TASKS[line["task"]])
        if line["threshold"] is not None and is_positive.any() and not is_positive.all():
            rows.append(line | judge(is_positive, score, float(line["threshold"]), answers.lesions))
    return rows


def _answers(
    model: str | None, table: pd.DataFrame, collection: Collection, allow_missing: bool, *, has_split: bool
) -> tuple[ModelOutputs, dict[str, Any]]:
    if model and _is_table(model):
        return answers_of_table(Path(model), table, collection, allow_missing, has_split=has_split)
    return answers_of_model(model, table)


def _is_table(model: str | None) -> bool:
    return bool(model) and str(model).lower().endswith(".csv")


def _judged(table: pd.DataFrame, seen: ModelOutputs, chosen: np.ndarray) -> EvaluatedPart:
    return EvaluatedPart(table[chosen].reset_index(drop=True), seen.take(chosen))


def _describe(
    whole: CleanData, test: EvaluatedPart, described: dict[str, Any], unanswered: pd.Series, seed: int
) -> dict[str, Any]:
    """Say what was judged, how, and what was left out; `described` is of the model."""
    unknown = described.pop("unknown", [])
    left_out = [
        *({"image_id": name, "reason": "no prediction"} for name in unanswered),
        *({"image_id": name, "reason": "predicted, but not in the data"} for name in unknown),
    ]
    judged = dataclasses.replace(whole.cleaned, table=test.table)
    what, decision = "A prediction may be of another file of this name", "taken for the file that is read"
    doubtful = finding("prediction-twice", what, decision, described.pop("doubtful", []))
    return {
        "kind": directory.EVALUATION,
        "lesionlab": __version__,
        "command": called_as(),
        "evaluated": now(),
        "finished": None,
        "seed": seed,
        "model": described,
        "data": describe_data(dataclasses.replace(whole, cleaned=judged)),
        "findings": [
            dataclasses.asdict(item) for item in (*whole.collection.findings, *whole.cleaned.findings, *doubtful)
        ],
        "set_aside": [*whole.cleaned.set_aside.to_dict("records"), *left_out],
    }


def _describe_split(table: pd.DataFrame, parts: pd.Series, split: Path | None) -> dict[str, Any] | None:
    if split is None:
        return None
    counts = {part: int((parts == part).sum()) for part in ("train", "validation", "test")}
    return {"file": str(split), "images": counts, "proof": dataclasses.asdict(prove(table, parts))}


def _write(
    out: Path, metrics: dict[str, Any], manifest: dict[str, Any], test: EvaluatedPart, pixels: np.ndarray
) -> Path:
    """Write tables, figures, case pages and the report; return the report's path."""
    predictions = predictions_table(test.table, test.seen.probabilities)
    write_csv(predictions, out / "predictions.csv")
    write_json(out / "metrics.json", metrics)
    write_json(out / directory.MANIFEST, manifest)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))  # what is not defined is null there
    write_part_figures(out / "figures", metrics, predictions, pixels, test.table)
    write_understanding(out / "figures", metrics, test.table, test.seen, pixels, seed=manifest["seed"])
    write_cases(out / "cases", test.table, test.seen, metrics, manifest["model"])
    report = write_evaluation_html(out)
    write_json(out / directory.MANIFEST, manifest | {"finished": now()})
    return report
