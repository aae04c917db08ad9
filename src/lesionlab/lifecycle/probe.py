"""`lesionlab probe`: the fastest honest baseline: a linear head on the features of a model that stays as it is.

In: labelled images and a model file. Out: a run directory as of any run, by the same 14 steps: the same cleaning, the same split
by lesion, the same evaluation and report; and `model.onnx`, the model with the new head. What a full training must beat.
Neither Keras nor TensorFlow is imported.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab._version import NOT_A_DEVICE, __version__
from lesionlab.data.isic_ids import joined_ids
from lesionlab.environment import record_environment
from lesionlab.errors import LesionlabError
from lesionlab.files import write_csv
from lesionlab.folders import Data
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.outputs import see
from lesionlab.lifecycle import prepare
from lesionlab.lifecycle.evaluate import finish
from lesionlab.lifecycle.explore import explore_run
from lesionlab.lifecycle.new_head import write_with_head
from lesionlab.lifecycle.overlap import find_known
from lesionlab.lifecycle.run import carry_out, validated
from lesionlab.lifecycle.values import CleanData, Request, Run, SplitData, Steps, Trained
from lesionlab.model.decision_rule import Decision, apply_decision, choose_decision, fold_calibration
from lesionlab.model.export.head import Head as ModelHead
from lesionlab.model.export.head import refuse_without_onnx
from lesionlab.model.linear_head import LinearHead, fit_linear_head
from lesionlab.model.nearest_head import fit_nearest
from lesionlab.recipe import DecisionChoice, ImageChoice, ModelChoice, Recipe, SplitChoice
from lesionlab.runs.identity import Head
from lesionlab.runs.manifest import Environment, ExportFacts, ModelFacts
from lesionlab.runs.model_facts import model_facts
from lesionlab.runs.stages import Step, announce, say

_PROVED = 64  # images


@dataclasses.dataclass(frozen=True)
class ProbeRequest:
    """What a user asks for: see `lesionlab.lifecycle.values.Request`; `model` as of `lesionlab.inference.bundle.open_bundle`."""

    data: Data
    out: Path
    model: str | Path | None = None
    split: SplitChoice = SplitChoice()
    taxonomy: str = ""
    image_types: str = ""
    seed: int = 0
    limit: int | None = None
    again: bool = False


def probe(request: ProbeRequest) -> Path:
    """Fit a linear head to labelled images, evaluate it on lesions kept apart, and return the run directory.

    Raises:
        UsageError: data, model or directory cannot be used as asked; says what to change.
        LesionlabError: a step failed.

    """
    refuse_without_onnx("lesionlab probe")
    base = open_bundle(request.model).with_features()
    given = Request(recipe_of(request, base), request.data, request.out, request.seed, request.limit, request.again)
    return carry_out(validated(given), lambda run, head: _fourteen_steps(run, head, base))


def recipe_of(request: ProbeRequest, base: Bundle) -> Recipe:
    """Give the choices of a probe as a recipe: the images are read as the model takes them; its file is named by its SHA-256."""
    facts = base.facts
    return Recipe(
        name="probe",
        summary=f"A linear head on the features of {facts.name}, which stay as they are.",
        taxonomy=request.taxonomy,
        image_types=request.image_types,
        image=ImageChoice(facts.height, facts.width, facts.crop, "architecture"),
        split=request.split,
        model=ModelChoice(architecture=f"linear head on {facts.name}", weights=base.sha256[:16]),
        decision=DecisionChoice("prior-corrected", "temperature"),
    )


def _fourteen_steps(run: Run, head: Head, base: Bundle) -> None:
    with run.stages.step(Step.LIBRARIES):
        say(
            f"lesionlab {__version__}, ONNX Runtime; features of {base.facts.name}, trained on {base.facts.training_data}"
        )
        environment = Environment(**record_environment(), backend="onnxruntime", device="cpu")
    data = prepare.prepare(run)  # 2 to 4
    explored = explore_run(run, data)  # 5
    prepare.load(run, data)  # 6
    split = prepare.divide(run, data)  # 7 to 10
    trained, linear, features = _fit(run, data, split, base)  # 11 to 13
    decided = apply_decision(linear.probabilities(features), trained.decision)
    finish(
        run,
        head,
        Steps(environment, data, explored, split, trained),
        lambda: decided,
        lambda decision, card: _write_model(run, data, split, base, linear, trained.decision, decided, decision, card),
    )
    announce(f"\nReport: {run.request.out / 'report.html'}\n{NOT_A_DEVICE}")


def _fit(run: Run, data: CleanData, split: SplitData, base: Bundle) -> tuple[Trained, LinearHead, np.ndarray]:
    """Steps 11 to 13: features of every image, a head on those of the training part, its decision rule on validation."""
    rows, parts = split.table["row"].to_numpy(), split.table["part"].to_numpy()
    with run.stages.step(Step.MODEL):
        features = see(base, len(rows), lambda number: data.pixels[rows[number]]).features
        if features is None:
            raise LesionlabError(f"The model {base.facts.name!r} gives no features. Give another with --model.")
        say(f"{features.shape[1]:,} features of {len(rows):,} images by {base.facts.name}, which stays as it is")
        known = _known(data, split, base)
        if known:
            say(f"warning: {known}: every figure is too good")
    with run.stages.step(Step.OPTIMIZER):
        optimizer = "logistic regression (L-BFGS), its strength of L2 chosen on the validation part by log loss"
        say(optimizer)
    with run.stages.step(Step.TRAINING):
        of = {part: (features[parts == part], split.labels_of(part)) for part in ("train", "validation")}
        linear = fit_linear_head(of["train"], of["validation"], len(split.taxonomy))
        for strength in linear.tried:
            say(
                f"L2 {strength.l2:g}  loss {strength.loss:.3f}  validation: loss {strength.val_loss:.3f}, accuracy "
                f"{strength.val_accuracy:.3f}, balanced {strength.val_balanced_accuracy:.3f}"
            )
        say(f"chosen: L2 {linear.l2:g}")
        history = _history(linear)
        write_csv(history, run.request.out / "history.csv")
        validated_, as_trained = (linear.probabilities(features[parts == part]) for part in ("validation", "test"))
        choice = run.request.recipe.decision
        decision = choose_decision(choice, split.labels_of("validation"), validated_, split.labels_of("train"))
        beside = _by_neighbours(of["train"], of["validation"], features[parts == "test"], len(split.taxonomy), choice)
    facts = ModelFacts(
        architecture=run.request.recipe.model.architecture,
        parameters=linear.kernel.size + linear.bias.size,
        weights=f"none; the features are of {base.facts.name} ({base.sha256[:16]}), trained on {base.facts.training_data}"
        + (f"; {known}" if known else ""),
        optimizer=f"{optimizer}: {linear.l2:g}",
    )
    trained = Trained(None, decision, as_trained, validated_, history, facts, {"neighbours": beside})
    return trained, linear, features


def _known(data: CleanData, split: SplitData, base: Bundle) -> str:
    """Say how many test images show a lesion that the features were trained on, by ISIC ids; empty where none is known to."""
    tested = split.table[split.table["part"] == "test"]
    count = int(find_known(data.cleaned, base.facts.training_ids).among(tested).sum())
    return (
        f"{count:,} of the {len(tested):,} test images show a lesion that {base.facts.name} was trained on"
        if count
        else ""
    )


def _by_neighbours(
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    features: np.ndarray,
    n_diagnoses: int,
    choice: DecisionChoice,
) -> tuple[str, np.ndarray]:
    """Predict other images (n, d) by the nearest training images: in words, and probabilities (n, k) with a rule of their own."""
    nearest = fit_nearest(training, validation, n_diagnoses)
    rule = choose_decision(choice, validation[1], nearest.probabilities(validation[0]), training[1])
    words = f"by the {nearest.number} nearest training images instead, with a decision rule of their own"
    say(f"to compare: {words}")
    return words, apply_decision(nearest.probabilities(features), rule)


def _history(linear: LinearHead) -> pd.DataFrame:
    rows = [dataclasses.asdict(strength) for strength in linear.tried]
    return pd.DataFrame(rows).assign(epoch=np.arange(1, len(rows) + 1))


def _write_model(
    run: Run,
    data: CleanData,
    split: SplitData,
    base: Bundle,
    linear: LinearHead,
    rule: Decision,
    decided: np.ndarray,
    decision: dict[str, object],
    card: str,
) -> ExportFacts:
    """Write model.onnx: the model with the new head and its rule, proved on images to give what the head computes."""
    facts = model_facts(run.request.recipe, data.facts, decision, card, split.table)
    told = f"{facts.training_data}; its features were trained on {base.facts.training_data}"
    ids = joined_ids(facts.training_ids, base.facts.training_ids)
    facts = dataclasses.replace(facts, training_data=told, training_ids=ids, ood=base.facts.ood)
    kernel, bias = fold_calibration(linear.kernel, linear.bias, rule)
    head = ModelHead(kernel.astype(np.float32), bias.astype(np.float32), np.asarray(rule.log_shift, np.float32))
    rows = split.table["row"].to_numpy()[:_PROVED]
    file = run.request.out / "model.onnx"
    difference = write_with_head(
        base, head, facts, file, lambda number: data.pixels[rows[number]], decided[: len(rows)]
    )
    say(
        f"model.onnx gives what the head computes: largest difference {difference:.0e} in probability on {len(rows)} images"
    )
    return ExportFacts(onnx="model.onnx", largest_difference=difference, images=len(rows))
