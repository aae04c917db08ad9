"""`lesionlab evaluate`: a finished model, or a table of its predictions, judged on a labelled folder; without Keras.

In: a model file or a table in ISIC's columns, and a folder in any layout. Out: `metrics.json`, `predictions.csv`,
`manifest.json`, `figures/` and `report.html`.
"""

import argparse
import dataclasses
import hashlib
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionlab import __version__
from lesionlab.data.layouts import read_collection
from lesionlab.data.prepare import encode_labels
from lesionlab.diagnosis import NOT_A_DEVICE
from lesionlab.errors import UsageError
from lesionlab.evaluation import now, predictions_table
from lesionlab.files import write_csv, write_json
from lesionlab.predict import Prediction, load_model, uncertainties
from lesionlab.progress import track
from lesionlab.report.figures import write_part_figures
from lesionlab.report.page import write_evaluation_html
from lesionlab.score_tables import read_predictions
from lesionlab.stages import say
from lesionlab.steps import LOOK_PX, Prepared, decode, describe_data, inspect
from lesionlab.trust import conformal
from lesionlab.trust.calibration import calibration
from lesionlab.trust.metrics import curves, evaluate_part
from lesionlab.trust.operating import TASKS, as_task, judge
from lesionlab.trust.subgroups import subgroups


def evaluate(model: str | None, data: Path, out: Path, *, seed: int = 0, allow_missing: bool = False) -> Path:
    """Judge a model on every labelled image of a folder and write a report; return its path.

    Args:
        model: a `.onnx` file, the name of a model that comes with lesionlab, None for the default one, or a `.csv` file of
            predictions in ISIC's columns.
        data: labelled images, in any layout that `lesionlab run` reads.
        out: folder for the results; made where it does not exist.
        seed: of the bootstrap.
        allow_missing: judge the images that have a prediction where others have none.

    Raises:
        UsageError: model, predictions or data cannot be used as asked; says what to change.

    """
    collection = read_collection(data)
    cleaned = inspect(collection)
    pixels = decode(collection, LOOK_PX, LOOK_PX, "centre").pixels
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}). Choose another folder with --out.") from error
    answer = _from_table if model and model.endswith(".csv") else _from_model
    probabilities, described = answer(model, cleaned.table, allow_missing)
    has_answer = ~np.isnan(probabilities[:, 0])
    table, probabilities = cleaned.table[has_answer].reset_index(drop=True), probabilities[has_answer]
    kept = Prepared(collection, dataclasses.replace(cleaned, table=table), pixels)
    unanswered = cleaned.table.loc[~has_answer, ["image_id"]].assign(reason="no prediction")
    metrics = measure(table, probabilities, described, seed=seed)
    manifest: dict[str, Any] = {
        "lesionlab": __version__,
        "command": shlex.join(["lesionlab", *sys.argv[1:]]),
        "evaluated": now(),
        "seed": seed,
        "model": described,
        "data": describe_data(kept),
        "findings": [dataclasses.asdict(finding) for finding in (*collection.findings, *cleaned.findings)],
        "set_aside": [*cleaned.set_aside.to_dict("records"), *unanswered.to_dict("records")],
    }
    metrics["is_generated"] = manifest["data"]["is_generated"]
    predictions = predictions_table(table.assign(part="test"), probabilities)
    write_csv(predictions, out / "predictions.csv")
    write_json(out / "metrics.json", metrics)
    write_json(out / "manifest.json", manifest)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))  # what is not defined is null there
    write_part_figures(out / "figures", metrics, predictions, pixels, table)
    return write_evaluation_html(out)


def measure(table: pd.DataFrame, probabilities: np.ndarray, described: dict[str, Any], *, seed: int) -> dict[str, Any]:
    """Take every figure of the images: `test` as in a run's metrics, and what the model's own facts promise.

    Args:
        table: `lesion_id`, `dx` and the columns of `lesionlab.trust.subgroups`, a row an image.
        probabilities: float (n, 7).
        described: `thresholds` and `conformal` of the model's facts.
        seed: of the bootstrap.

    """
    labels, lesions = encode_labels(table["dx"]), table["lesion_id"].to_numpy()
    part = evaluate_part(labels, probabilities, lesions, seed=seed) | {
        "calibration": calibration(labels, probabilities)
    }
    metrics = {
        "test": part,
        "subgroups": subgroups(table, labels, probabilities, seed=seed),
        "risk_coverage": conformal.risk_coverage(labels, probabilities, uncertainties(probabilities)),
        "curves": curves(labels, probabilities),
        "operating": None,
        "conformal": None,
    }
    is_malignant, score = as_task(labels, probabilities, TASKS["malignant"])
    threshold = described["thresholds"].get("malignant")
    if threshold is not None and is_malignant.any() and not is_malignant.all():
        metrics["operating"] = judge(is_malignant, score, threshold, lesions)
    if described["conformal"]:
        promise = conformal.Conformal(**described["conformal"])
        metrics["conformal"] = conformal.measure(labels, probabilities, promise)
    return metrics


def _from_model(name: str | None, table: pd.DataFrame, allow_missing: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Predict every image of the table: float (n, 7), NaN where an image cannot be read any more."""
    model = load_model(name)
    paths = [Path(path) for path in table["path"]]
    rows = [
        list(found.probabilities.values()) if isinstance(found, Prediction) else [np.nan] * 7
        for found in track(model.stream(paths), "predicting", total=len(paths))
    ]
    facts = model.facts
    described = {
        "name": facts.name,
        "training_data": facts.training_data,
        "thresholds": dict(facts.thresholds),
        "conformal": dict(facts.conformal),
    }
    return np.array(rows), described


def _from_table(name: str | None, table: pd.DataFrame, allow_missing: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Take the predictions of the table's images from a file: float (n, 7), NaN where it has none."""
    path = Path(str(name))
    given, notes = read_predictions(path)
    for note in notes:
        say(note)
    row_of = {image: row for image, row in zip(given.images, given.values, strict=True)}
    missing = [image for image in table["image_id"] if image not in row_of]
    if len(missing) == len(table):
        raise UsageError(f"{path} has no prediction for any image of the data; its first is {given.images[0]!r}.")
    if missing and not allow_missing:
        raise UsageError(
            f"{path} lacks {len(missing):,} images of the data: {', '.join(missing[:5])}. Predict them, or judge the others "
            "with --allow-missing."
        )
    values = np.array([row_of.get(image, np.full(7, np.nan)) for image in table["image_id"]])
    sums = values.sum(axis=1, keepdims=True)
    if (sums == 0).any():
        raise UsageError(f"{path}: the probabilities of {table['image_id'][int((sums == 0).argmax())]!r} are all 0.")
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    described = {"name": path.name, "sha256": content, "training_data": "", "thresholds": {}, "conformal": {}}
    return values / sums, described


def evaluate_command(options: argparse.Namespace) -> None:
    """Run `lesionlab evaluate`: print the headline figures and where the report is."""
    report = evaluate(options.model, options.data, options.out, seed=options.seed, allow_missing=options.allow_missing)
    metrics = json.loads((options.out / "metrics.json").read_text(encoding="utf-8"))["test"]
    print(f"{metrics['images']:,} images of {metrics['lesions']:,} lesions")
    for name in ("balanced_accuracy", "macro_auc", "accuracy"):
        low, high = metrics["intervals"][name]
        defined = metrics[name] is not None and low is not None
        figure = f"{metrics[name]:.3f}  (95 % interval {low:.3f} to {high:.3f})" if defined else "not available"
        print(f"{name.replace('_', ' '):18} {figure}")
    print(f"Report: {report}\n{NOT_A_DEVICE}")
