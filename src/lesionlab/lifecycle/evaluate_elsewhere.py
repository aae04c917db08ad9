"""`lesionlab evaluate`: a finished model, or a table of its predictions, evaluated on a labelled folder; without Keras.

In: a model file or a table in ISIC's columns, and a folder in any layout. Out: `metrics.json`, `predictions.csv`,
`manifest.json`, `figures/`, `cases/` (a page an image) and `report.html`.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from lesionlab import folders
from lesionlab._version import __version__
from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.joined import read_data
from lesionlab.data.split import PARTS, file_split
from lesionlab.data.split_proof import prove
from lesionlab.environment import called_as, now
from lesionlab.errors import UsageError
from lesionlab.evaluation import conformal
from lesionlab.evaluation.abstention import RISKS
from lesionlab.evaluation.costs import read_costs
from lesionlab.evaluation.measure import GIVEN, ModelChoices, Parts, measure, recalibrated
from lesionlab.evaluation.metrics_file import Metrics, Robustness
from lesionlab.evaluation.skin_tone import with_skin_tone
from lesionlab.files import write_csv, write_json
from lesionlab.inference.model import Model, load_model
from lesionlab.lifecycle.evaluated_part import EvaluatedPart, ImagesInParts, predict_in_parts, read_for_model
from lesionlab.lifecycle.given_predictions import (
    GivenPredictions,
    measure_robustness,
    predictions_of_table,
    wider_taxonomy,
)
from lesionlab.lifecycle.overlap import Known, find_known, refuse_untold, training_overlap
from lesionlab.lifecycle.prepare import describe_data, fingerprint, inspect, look_at
from lesionlab.lifecycle.values import describe_set_aside
from lesionlab.report.cases import write_cases
from lesionlab.report.figures import write_part_figures
from lesionlab.report.figures_robustness import write_robustness
from lesionlab.report.figures_understanding import write_understanding
from lesionlab.report.page import write_evaluation_html
from lesionlab.runs import directory, start
from lesionlab.runs.identity import EvaluationHead, Kind
from lesionlab.runs.manifest import EvaluatedSplit, EvaluationManifest, SetAside
from lesionlab.runs.predictions import predictions_table
from lesionlab.taxonomy import Taxonomy


def evaluate(
    model: str | Path | None,
    data: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    seed: int = 0,
    allow_missing: bool = False,
    split: Path | str | None = None,
    costs: Path | str | None = None,
    risks: Sequence[float] = RISKS,
    robustness_lesions: int | None = None,
    taxonomy: Taxonomy | None = None,
    image_types: tuple[str, ...] | None = None,
    by_lesion: bool = False,
    unseen: bool = False,
    use_metadata: bool = False,
) -> Path:
    """Evaluate a model on the labelled images of a folder and write a report; return its path.

    Args:
        model: a `.onnx` file, the name of a model that comes with lesionlab, None for the default one, or a `.csv` file of
            predictions in ISIC's columns.
        data: labelled images, a folder or several, in any layout that `lesionlab run` reads.
        out: folder for the results; made where it does not exist. It may hold an earlier evaluation, and nothing else.
        seed: of everything random.
        allow_missing: evaluate the images that have a prediction where others have none, or predictions have no image.
        split: a run's `splits.csv`: its test part is evaluated, thresholds are chosen on its validation part, and its training
            part is left out. None to evaluate every image.
        costs: a cost matrix, see `lesionlab.evaluation.costs.read_costs`.
        risks: shares of wrong answers that abstaining should keep, 0 to 1.
        robustness_lesions: corrupt, turn and cover the images of so many lesions too; None to leave that out.
        taxonomy: to read the data in; None for the model's, or, of a table of predictions, the data's. With one of two kinds,
            malignant and benign (`isic2024`), a model is evaluated by these.
        image_types: kinds of image to evaluate, see `read_collection`.
        by_lesion: join the images of each lesion into one prediction, see `lesionlab.evaluation.by_lesion`.
        unseen: leave the lesions out that the model was trained on, by the ISIC ids in its file.
        use_metadata: predict from age, sex and site too, as the table of the data has them; see `Model.predict`.

    Raises:
        UsageError: model, predictions, data, split or costs cannot be used as asked; says what to change.

    """
    model, data, out = str(model) if model else None, folders.as_data(data), Path(out)
    split, costs = (Path(path) if path else None for path in (split, costs))
    folders.refuse_among_images(out, data)
    opened = _open_model(model, has_robustness=bool(robustness_lesions), has_metadata=use_metadata)
    images = _read(data, opened or str(model), taxonomy, image_types, split, unseen=unseen)
    matrix = read_costs(costs, images.collection.taxonomy) if costs else None
    with _held(out):
        given = _given(opened or str(model), images, allow_missing, bool(robustness_lesions), use_metadata)
        test, validation = (images.part(given, part, by_lesion) for part in ("test", "validation"))
        if not len(test.table):
            raise UsageError(_nothing_left(images, data))
        _begin(out)
        robustness = (
            measure_robustness(opened, test.table, robustness_lesions, seed) if opened and robustness_lesions else None
        )
        manifest = _describe(images, test, given, seed)
        toned = dataclasses.replace(test, table=with_skin_tone(test.table, images.look))
        metrics = _measure(toned, validation, manifest, costs=matrix, risks=risks, robustness=robustness)
        return _write(out, metrics, manifest, test, images.look)


def _given(
    model_or_table: Model | str, images: ImagesInParts, allow_missing: bool, has_robustness: bool, has_metadata: bool
) -> GivenPredictions:
    if isinstance(model_or_table, Model):
        return predict_in_parts(model_or_table, images, has_robustness=has_robustness, has_metadata=has_metadata)
    path, has_split = Path(model_or_table), images.split is not None
    return predictions_of_table(path, images.table, images.collection, allow_missing, has_split=has_split)


def _read(
    data: folders.Data,
    model_or_table: Model | str,
    taxonomy: Taxonomy | None,
    image_types: tuple[str, ...] | None,
    split: Path | None,
    *,
    unseen: bool,
) -> ImagesInParts:
    if isinstance(model_or_table, Model):
        collection = read_for_model(data, model_or_table.facts.taxonomy, taxonomy, image_types)
    else:
        collection = read_data(data, taxonomy, image_types)
        if taxonomy is None and (wider := wider_taxonomy(Path(model_or_table), collection.taxonomy)):
            collection = read_data(data, wider, image_types)
    look = look_at(collection)
    cleaned = inspect(collection, look)
    parts = file_split(cleaned.table, split, needed=["test"]) if split else pd.Series("test", index=cleaned.table.index)
    known = Known(untold="a table of predictions does not say what its model was trained on")
    if isinstance(model_or_table, Model):
        known = find_known(cleaned, model_or_table.facts.training_ids)
    if unseen:
        refuse_untold(model_or_table.facts.name if isinstance(model_or_table, Model) else str(model_or_table), known)
    return ImagesInParts(collection, cleaned, look.pixels, split, parts, known, unseen)


def _nothing_left(images: ImagesInParts, data: folders.Data) -> str:
    left_out = len(images.left_out)
    if left_out and not (images.table["part"] == "test").any():
        trained_on = f"all {left_out:,} images show a lesion that the model was trained on"
        return f"--unseen leaves nothing of {folders.named(data)}: {trained_on}."
    return f"No image of the part to evaluate in {folders.named(data)} has a prediction."


def _open_model(model: str | None, *, has_robustness: bool, has_metadata: bool) -> Model | None:
    """Open what is evaluated; None: it is a table of predictions."""
    if not model or not str(model).lower().endswith(".csv"):
        opened = load_model(model)
        if has_metadata and has_robustness:
            raise UsageError("--robustness predicts changed pictures alone: leave out --use-metadata, or --robustness.")
        if has_metadata:
            opened.refuse_metadata()
        return opened
    if has_metadata:
        raise UsageError("--use-metadata needs a model: evaluate the table that predict --metadata writes as it is.")
    if has_robustness:
        raise UsageError("--robustness needs a model: a table has no predictions of changed images.")
    return None


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Hold the folder for this evaluation; one that holds anything but an evaluation is left alone."""
    if out.is_dir() and not directory.holds(out, Kind.EVALUATION):
        folders.refuse_foreign(out, "evaluation")
    with folders.claimed(out, directory.MANIFEST):
        yield


def _begin(out: Path) -> None:
    """Make the folder one of an unfinished evaluation: an earlier one's report must not stand beside other figures."""
    folders.sweep(out)
    start.write_manifest(out, EvaluationHead(kind=Kind.EVALUATION))
    (out / "report.html").unlink(missing_ok=True)
    (out / "figures").mkdir(exist_ok=True)


def _measure(
    test: EvaluatedPart,
    validation: EvaluatedPart,
    manifest: EvaluationManifest,
    *,
    costs: np.ndarray | None,
    risks: Sequence[float],
    robustness: Robustness | None,
) -> Metrics:
    """Take every figure of the images, and what the model's own facts promise; `validation` is what thresholds are chosen on."""
    model, seed = manifest.model, manifest.seed
    tested, chosen_on = test.predictions, validation.predictions if len(validation.table) else None
    promise = model.conformal
    if promise is None and chosen_on is not None:
        promise = conformal.calibrate(chosen_on)
    own = ModelChoices(
        model.thresholds.malignant,
        model.thresholds.uncertainty,
        model.operating,
        test.seen.is_rejected,
    )
    return measure(
        Parts(test.table, tested, chosen_on),
        recalibrated(tested, chosen_on, seed=seed, given=GIVEN[model.uses_metadata]),
        promise=promise,
        is_generated=manifest.data.is_generated,
        seed=seed,
        model=own,
        costs=costs,
        risks=risks,
        robustness=robustness,
    )


def _describe(images: ImagesInParts, test: EvaluatedPart, given: GivenPredictions, seed: int) -> EvaluationManifest:
    """Say what was evaluated, how, and what was left out."""
    collection, cleaned, has_split = images.collection, images.cleaned, images.split is not None
    overlap, known = training_overlap(
        given.model.training_data,
        images.known,
        test.table,
        fingerprint(cleaned.table),
        has_split=has_split,
    )
    return EvaluationManifest(
        lesionlab=__version__,
        command=called_as(),
        evaluated=now(),
        finished=None,
        seed=seed,
        model=given.model,
        data=describe_data(collection, test.table),
        findings=(*collection.findings, *cleaned.findings, *given.findings, *_joined(images, given, test)),
        set_aside=_set_aside(images, given),
        overlap_with_training=overlap,
        images_trained_on=known,
        split=_describe_split(images),
    )


def _set_aside(images: ImagesInParts, given: GivenPredictions) -> tuple[SetAside, ...]:
    """Say what was left out, and why."""
    without = images.table.loc[~given.has_prediction, "image_id"]
    return (
        *describe_set_aside(images.cleaned),
        *(SetAside(name, "the model was trained on its lesion") for name in images.left_out),
        *(SetAside(name, "no prediction") for name in without),
        *(SetAside(name, "predicted, but not in the data") for name in given.unknown),
    )


def _joined(images: ImagesInParts, given: GivenPredictions, test: EvaluatedPart) -> list[Finding]:
    """Say which images were joined with others of their lesion: none where each has its own row."""
    table = images.table
    of_part = table.loc[given.has_prediction & (table["part"] == "test").to_numpy(), "image_id"]
    what, decision = (
        "An image is joined with others of its lesion",
        "a prediction a lesion: the mean of log probabilities",
    )
    return finding("lesion-joined", what, decision, of_part[~of_part.isin(test.table["image_id"])])


def _describe_split(images: ImagesInParts) -> EvaluatedSplit | None:
    if images.split is None:
        return None
    counts = {part: int((images.parts == part).sum()) for part in PARTS}
    counts["test"] -= len(images.left_out)
    return EvaluatedSplit(file=str(images.split), images=counts, proof=prove(images.cleaned.table, images.parts))


def _write(out: Path, metrics: Metrics, manifest: EvaluationManifest, test: EvaluatedPart, pixels: np.ndarray) -> Path:
    """Write tables, figures, case pages and the report; return the report's path."""
    predictions = predictions_table(test.table, test.seen.probabilities, test.taxonomy)
    write_csv(predictions, out / "predictions.csv")
    write_json(out / "metrics.json", msgspec.to_builtins(metrics))
    if metrics.robustness:
        write_robustness(out / "figures", metrics, np.asarray(pixels[test.table["row"].iloc[0]]))
    write_part_figures(out / "figures", metrics, test.taxonomy, predictions, pixels, test.table)
    write_understanding(out / "figures", metrics, test.taxonomy, test.table, test.seen, pixels, seed=manifest.seed)
    write_cases(out / "cases", test.table, test.seen, metrics, manifest.model, test.taxonomy)
    report = write_evaluation_html(out, manifest, metrics)
    start.write_manifest(out, msgspec.structs.replace(manifest, finished=now()))
    return report
