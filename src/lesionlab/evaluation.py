"""Step 14: what the trained network is worth, on every part; its export, its figures, its card and its report."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from lesionlab import rundir
from lesionlab.data.split import PARTS
from lesionlab.diagnosis import DX, ISIC_COLUMNS
from lesionlab.files import write_csv, write_json
from lesionlab.predict import uncertainties
from lesionlab.report.card import write_card
from lesionlab.report.figures import write_run_figures
from lesionlab.report.page import write_report
from lesionlab.stages import say
from lesionlab.steps import Divided, Prepared, Run, Trained
from lesionlab.trust import conformal
from lesionlab.trust.calibration import calibration
from lesionlab.trust.metrics import curves, evaluate_part, headline
from lesionlab.trust.operating import TASKS, as_task, net_benefit, operating_points
from lesionlab.trust.subgroups import subgroups


def evaluate(run: Run, prepared: Prepared, divided: Divided, trained: Trained) -> None:
    """Step 14: metrics of every part, export, figures, card and report; then the run counts as finished."""
    from lesionlab.model.batches import predict

    out = run.request.out
    with run.stages.step(14):
        probabilities = predict(trained.network, prepared.pixels, divided.table["row"].to_numpy())
        write_csv(predictions_table(divided.table, probabilities), out / "predictions.csv")
        metrics = measure(run, divided, trained, probabilities)
        write_json(out / "metrics.json", metrics)
        run.manifest["evaluated"] = now()
        write_json(out / rundir.MANIFEST, run.manifest)  # card and report are made from the run directory's files
        write_card(out)
        run.manifest["export"] = export(run, prepared, trained)
        _say_result(metrics["test"])
        write_run_figures(out, prepared.pixels, divided.table)
    run.manifest["stages"] = run.stages.times
    write_json(out / rundir.MANIFEST, run.manifest)
    write_report(out)
    write_json(out / rundir.MANIFEST, run.manifest | {"finished": now()})
    (out / rundir.CHECKPOINT).unlink(missing_ok=True)


def measure(run: Run, divided: Divided, trained: Trained, probabilities: np.ndarray) -> dict[str, Any]:
    """Compute what metrics.json holds, from the probabilities of every image (n, 7) in the order of the table."""
    from lesionlab.model.decide import choose_thresholds

    lesions, parts, seed = divided.table["lesion_id"].to_numpy(), divided.table["part"].to_numpy(), run.request.seed
    validated = divided.labels_of("validation"), probabilities[parts == "validation"]
    promise = conformal.calibrate(*validated)
    metrics: dict[str, Any] = {
        "is_generated": run.manifest["data"]["is_generated"],
        "decision": dataclasses.asdict(trained.decision)
        | {
            "thresholds": choose_thresholds(*validated),
            "conformal": dataclasses.asdict(promise),
            "chosen_on": "validation",
        },
    }
    for part in PARTS:
        chosen = parts == part
        metrics[part] = evaluate_part(divided.labels[chosen], probabilities[chosen], lesions[chosen], seed=seed)
    tested = divided.labels_of("test"), probabilities[parts == "test"]
    metrics |= _before_the_rule(trained, tested[0])
    metrics["test"]["calibration"] = calibration(*tested)
    metrics["subgroups"] = subgroups(divided.table[parts == "test"], *tested, seed=seed)
    metrics["operating"] = operating_points(validated, tested, lesions[parts == "test"])
    metrics["conformal"] = conformal.measure(*tested, promise)
    metrics["risk_coverage"] = conformal.risk_coverage(*tested, uncertainties(tested[1]))
    metrics["curves"] = curves(*tested)
    return metrics


def _before_the_rule(trained: Trained, labels: np.ndarray) -> dict[str, Any]:
    """Judge the test part's probabilities as trained and after the temperature: the decision rule gives up calibration."""
    from lesionlab.model.decide import apply_decision

    calibrated = apply_decision(trained.as_trained, dataclasses.replace(trained.decision, log_shift=(0.0,) * len(DX)))
    stages = {"test_as_trained": trained.as_trained, "test_before_rule": calibrated}
    curve = {name: net_benefit(*as_task(labels, calibrated, codes)) for name, codes in TASKS.items()}
    return {name: headline(labels, p) | {"calibration": calibration(labels, p)} for name, p in stages.items()} | {
        "decision_curve": curve
    }


def export(run: Run, prepared: Prepared, trained: Trained) -> dict[str, Any]:
    """Write model.onnx with its facts inside, or say why this installation cannot."""
    from lesionlab.model.export import export_onnx, why_no_onnx
    from lesionlab.model.export_run import run_facts

    reason = why_no_onnx()
    if reason:
        say(f"model.onnx was not written: {reason}")
        return {"onnx": None, "reason": reason}
    out = run.request.out
    sample = prepared.pixels[prepared.cleaned.table["row"].to_numpy()[:64]]
    difference = export_onnx(trained.network, out / "model.onnx", run_facts(out, run.manifest), sample)
    say(f"model.onnx equals model.keras: largest difference {difference:.0e} in probability on {len(sample)} images")
    return {"onnx": "model.onnx", "largest_difference": difference, "images": len(sample)}


def predictions_table(table: pd.DataFrame, probabilities: np.ndarray) -> pd.DataFrame:
    """ISIC's columns, then part, lesion, truth and prediction."""
    predictions = pd.DataFrame(probabilities, columns=list(ISIC_COLUMNS))
    predictions.insert(0, "image", table["image_id"].to_numpy())
    return predictions.assign(
        part=table["part"].to_numpy(),
        lesion_id=table["lesion_id"].to_numpy(),
        truth=table["dx"].to_numpy(),
        predicted=np.array(DX)[probabilities.argmax(axis=1)],
    )


def _say_result(test: dict[str, Any]) -> None:
    for name in ("balanced_accuracy", "macro_auc", "accuracy"):
        low, high = test["intervals"][name]
        say(f"test {name.replace('_', ' '):17} {test[name]:.3f}  (95 % interval {low:.3f} to {high:.3f})")
    say(f"for comparison, always answering the commonest diagnosis: accuracy {test['majority_accuracy']:.3f}")


def now() -> str:
    """Give the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
