"""Step 14: what the trained network is worth, on every part; its export, its figures, its card and its report."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from lesionlab.data.layouts.joined import folder_of_row
from lesionlab.data.patient_table import patients_of
from lesionlab.data.split import PARTS
from lesionlab.environment import now
from lesionlab.errors import LesionlabError
from lesionlab.evaluation import conformal
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.measure import Parts, Stages, headline_in_words, measure
from lesionlab.evaluation.metrics_file import DecisionFacts, Metrics
from lesionlab.evaluation.patient_fit import KnownPatients, choose_patient_terms
from lesionlab.evaluation.patient_terms import PatientTerms, with_patients
from lesionlab.evaluation.skin_tone import with_skin_tone
from lesionlab.evaluation.vector_scaling import fit_vector_scaling, fitted_temperature
from lesionlab.files import write_csv, write_json
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.outputs import ModelOutputs, see
from lesionlab.lifecycle.values import CleanData, Run, SplitData, Steps, Trained
from lesionlab.model.decision_rule import calibrate, choose_thresholds, out_of_fold
from lesionlab.report.card import write_card
from lesionlab.report.figures import write_run_figures
from lesionlab.report.figures_understanding import write_understanding
from lesionlab.report.page import write_report
from lesionlab.runs import directory, start
from lesionlab.runs.identity import Head
from lesionlab.runs.manifest import ExportFacts, Manifest
from lesionlab.runs.model_facts import model_facts
from lesionlab.runs.predictions import predictions_table
from lesionlab.runs.stages import Step, say


def evaluate(run: Run, head: Head, steps: Steps) -> None:
    """Step 14: metrics of every part, export, figures, card and report; then the run counts as finished."""
    from lesionlab.model.batches import predict

    data, split, trained = steps.data, steps.split, steps.trained
    finish(
        run,
        head,
        steps,
        lambda: predict(trained.network, data.pixels, split.table["row"].to_numpy()),
        lambda decision, card: export(run, data, split, trained, decision, card),
    )


def finish(
    run: Run,
    head: Head,
    steps: Steps,
    predict: Callable[[], np.ndarray],
    write_model: Callable[[dict[str, object], str], ExportFacts],
) -> None:
    """Step 14 of any model; see `evaluate`.

    Args:
        run: at work.
        head: what its manifest begins with.
        steps: what the others gave.
        predict: gives the probabilities of every image (n, k), in the order of the table.
        write_model: writes `model.onnx`, given the decision and the model card.

    """
    out, data, split, trained = run.request.out, steps.data, steps.split, steps.trained
    with run.stages.step(Step.EVALUATION):
        probabilities = predict()
        predictions = predictions_table(split.table, probabilities, split.taxonomy)
        write_csv(predictions, out / "predictions.csv")
        metrics = measure_run(run, split, trained, probabilities, data.look, data.facts.is_generated)
        write_json(out / "metrics.json", msgspec.to_builtins(metrics))
        evaluated = now()
        card = write_card(out, metrics, evaluated, data.facts, split.facts, split.pixel_facts, trained.facts)
        exported = write_model(msgspec.to_builtins(metrics.decision), card)
        _say_result(metrics)
        write_run_figures(
            out / "figures", metrics, split.taxonomy, trained.history, predictions, data.pixels, split.table
        )
        _understand(out, metrics, data, split, probabilities, run.request.seed)
    manifest = Manifest(
        **msgspec.structs.asdict(head),
        environment=steps.environment,
        data=data.facts,
        findings=data.findings,
        set_aside=data.set_aside,
        split=split.facts,
        pixels=split.pixel_facts,
        model=trained.facts,
        evaluated=evaluated,
        export=exported,
        stages=tuple(run.stages.times),
    )
    write_report(out, manifest, metrics, steps.explored, trained.history, run.request.recipe)
    start.write_manifest(out, msgspec.structs.replace(manifest, finished=now()))
    (out / directory.CHECKPOINT).unlink(missing_ok=True)


def _understand(
    out: Path, metrics: Metrics, data: CleanData, split: SplitData, probabilities: np.ndarray, seed: int
) -> None:
    """Look at the test part through the exported model, which gives features and activation maps, where there is one."""
    is_test = (split.table["part"] == "test").to_numpy()
    table, rows = split.table[is_test].reset_index(drop=True), split.rows("test")
    seen = ModelOutputs(probabilities[is_test])
    if (out / "model.onnx").exists():
        found = see(open_bundle(out / "model.onnx"), len(rows), lambda number: data.pixels[rows[number]])
        seen = dataclasses.replace(found, probabilities=seen.probabilities)
    write_understanding(out / "figures", metrics, split.taxonomy, table, seen, data.pixels, seed=seed)


def measure_run(
    run: Run, split: SplitData, trained: Trained, probabilities: np.ndarray, look: np.ndarray, is_generated: bool
) -> Metrics:
    """Measure the probabilities of every image (n, k), in the order of the table.

    Skin tone is estimated on `look`, the pixels of every image at `LOOK_PX`, whatever size the network takes.
    """
    table, part_of = split.table, split.table["part"].to_numpy()
    everything = LabelledPredictions(split.labels, probabilities, table["lesion_id"].to_numpy(), split.taxonomy)
    train, validation, test = (everything.take(part_of == part) for part in PARTS)
    stages = stages_of_run(trained, validation.labels)
    terms = patient_terms_of(split, validation)
    if terms:
        stages = _with_patient_stage(stages, test, table[part_of == "test"], terms)
    sets_on = out_of_fold(validation, trained.validated, trained.decision, seed=run.request.seed)
    promise = conformal.calibrate(sets_on)
    decision = DecisionFacts(
        **msgspec.to_builtins(trained.decision),
        thresholds=choose_thresholds(validation),
        conformal=promise,
        chosen_on="validation",
        operating=[],
        patient=terms,
    )
    return measure(
        Parts(with_skin_tone(table[part_of == "test"], look), test, validation, train, sets_on),
        stages,
        promise=promise,
        is_generated=is_generated,
        seed=run.request.seed,
        decision=decision,
    )


def patient_terms_of(split: SplitData, validation: LabelledPredictions) -> PatientTerms | None:
    """Choose how far age, sex and site speak for each diagnosis: fitted on the training part, weighed on the validation part."""
    is_trained, is_validated = (split.table["part"] == part for part in ("train", "validation"))
    trained = split.table[is_trained]
    known = KnownPatients(
        patients_of(trained),
        split.labels[is_trained.to_numpy()],
        trained["lesion_id"].to_numpy(),
        trained["dataset"].to_numpy(),
    )
    return choose_patient_terms(known, validation, patients_of(split.table[is_validated]))


def _with_patient_stage(stages: Stages, test: LabelledPredictions, table: pd.DataFrame, terms: PatientTerms) -> Stages:
    """Add the stage of the test part that age, sex and site are known of."""
    moved = with_patients(test.probabilities, patients_of(table), terms)
    say("age, sex and site help on the validation part: the model file takes them, by predict --metadata")
    return dataclasses.replace(
        stages,
        probabilities={**stages.probabilities, "patient": moved},
        labels={**stages.labels, "patient": "with age, sex and site as well"},
    )


def stages_of_run(trained: Trained, validation_labels: np.ndarray) -> Stages:
    """Give the test part's probabilities as trained, calibrated, with the other calibrations, and of what was fitted beside.

    The decision curve takes calibrated probabilities: the network's own, or after vector scaling where it has none.
    """
    decision, as_trained = trained.decision, trained.as_trained
    is_calibrated = bool(decision.scale) or decision.temperature != 1.0
    found, labels = {"as_trained": as_trained}, {"as_trained": "as trained"}
    if is_calibrated:
        found["before_rule"] = calibrate(as_trained, decision)
        labels["before_rule"] = "after vector scaling" if decision.scale else "after the temperature"
    if decision.scale or not is_calibrated:
        found["temperature"] = fitted_temperature(validation_labels, trained.validated)(as_trained)
        labels["temperature"] = "with a temperature instead"
    if not decision.scale:
        found["vector"] = fit_vector_scaling(validation_labels, trained.validated)(as_trained)
        labels["vector"] = "with vector scaling instead"
    for key, (words, probabilities) in trained.beside.items():
        found[key], labels[key] = probabilities, words
    return Stages(
        found,
        labels,
        given="after the decision rule, as given",
        calibrated="before_rule" if is_calibrated else "vector",
    )


def export(
    run: Run, data: CleanData, split: SplitData, trained: Trained, decision: dict[str, Any], card: str
) -> ExportFacts:
    """Write model.onnx with its facts inside, or say why this installation cannot."""
    from lesionlab.model.export.onnx import export_onnx, why_no_onnx
    from lesionlab.model.export.ood_score import add_ood_score, in_words

    reason = why_no_onnx()
    if reason:
        say(f"model.onnx was not written: {reason}")
        return ExportFacts(onnx=None, reason=reason)
    file = run.request.out / "model.onnx"
    sample = data.pixels[data.cleaned.table["row"].to_numpy()[:64]]
    facts = model_facts(run.request.recipe, data.facts, decision, card, split.table).to_json()
    try:
        difference = export_onnx(trained.network, file, facts, sample)
    except LesionlabError as error:  # hours of training are not lost for it
        say(f"model.onnx was not written: {error}")
        return ExportFacts(onnx=None, reason=str(error))
    say(f"model.onnx equals model.keras: largest difference {difference:.0e} in probability on {len(sample)} images")
    training, validation = split.rows("train"), split.rows("validation")
    origin = folder_of_row(data.collection).to_numpy()
    say(in_words(add_ood_score(file, data.pixels, training, validation, origin)))
    return ExportFacts(onnx=file.name, largest_difference=difference, images=len(sample))


def _say_result(metrics: Metrics) -> None:
    for line in headline_in_words(metrics):
        say(f"test {line}")
    majority = metrics.test.majority_accuracy
    say(f"for comparison, always predicting the commonest diagnosis: accuracy {majority:.3f}")
