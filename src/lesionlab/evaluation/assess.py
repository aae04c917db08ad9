"""Everything that is measured of a model's predictions for one part of the data, whether a run asks or `lesionlab evaluate`.

In: `LabelledPredictions` of the test part and, where there is one, of a validation part that thresholds are chosen on. Without
it, thresholds are chosen and promises made on one part of the lesions and evaluated on another, in turn: nothing is evaluated
where it was chosen.
Out: plain numbers for metrics.json.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.evaluation import conformal, operating_points
from lesionlab.evaluation.abstention import RISKS, abstention, risk_coverage
from lesionlab.evaluation.abstention import cross_evaluated as cross_abstention
from lesionlab.evaluation.calibration import calibration
from lesionlab.evaluation.costs import expected_cost
from lesionlab.evaluation.label_errors import suspects
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import curves, evaluate_part, headline
from lesionlab.evaluation.subgroups import subgroups
from lesionlab.evaluation.tasks import as_task, tasks_of
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.evaluation.vector_scaling import cross_fitted, fit_vector_scaling, fitted_temperature

CONFIRMED = "histo"


def assess(
    table: pd.DataFrame,
    test: LabelledPredictions,
    validation: LabelledPredictions | None,
    *,
    seed: int,
    costs: np.ndarray | None = None,
    risks: Sequence[float] = RISKS,
) -> dict[str, Any]:
    """Take every figure of the test part.

    Args:
        table: of the test part, in the order of its predictions: `image_id` and the columns of `lesionlab.evaluation.subgroups`.
        test: what is evaluated.
        validation: what thresholds are chosen on and promises made from; None to do both within the test part, crosswise.
        seed: of every random draw.
        costs: (k, k), as `lesionlab.evaluation.costs.read_costs` gives.
        risks: shares of wrong answers to be kept by abstaining.

    """
    return {
        "test": evaluate_part(test, seed=seed) | {"calibration": calibration(test, seed=seed)},
        "lines": "validation" if validation else "crosswise",
        "histology": histology(table, test, seed=seed),
        "subgroups": subgroups(table, test, seed=seed),
        "operating": _operating(test, validation, seed),
        "conformal_raps": _raps(test, validation),
        "conformal_repeated": _repeated(test, validation, seed),
        "risk_coverage": risk_coverage(test, uncertainties(test.probabilities)),
        "abstention": _abstention(test, validation, seed, risks),
        "costs": None if costs is None else expected_cost(test, costs, seed=seed),
        "suspects": [
            dataclasses.asdict(suspect) | {"image": str(table["image_id"].iloc[suspect.row])}
            for suspect in suspects(test)
        ],
        "curves": curves(test),
    }


def histology(table: pd.DataFrame, test: LabelledPredictions, *, seed: int) -> dict[str, Any] | None:
    """Take the figures of the lesions confirmed by histology alone, None where none is known to be.

    The others were followed up, looked at by several people or under a confocal microscope: easier lesions, surer nevi.
    """
    if "dx_type" not in table or not (table["dx_type"] == CONFIRMED).any():
        return None
    part = test.take((table["dx_type"] == CONFIRMED).to_numpy())
    found = evaluate_part(part, seed=seed)
    counts = {dx: row["images"] for dx, row in found["per_class"].items()}
    return {name: value for name, value in found.items() if name not in ("per_class", "confusion")} | {"counts": counts}


def recalibrated(test: LabelledPredictions, validation: LabelledPredictions | None, *, seed: int) -> dict[str, Any]:
    """Measure the test part's probabilities after a temperature and after vector scaling, chosen on other lesions.

    The decision curve, which needs calibrated probabilities, takes those after vector scaling.
    """
    result: dict[str, Any] = {}
    for name, fit in (("test_temperature", fitted_temperature), ("test_vector", fit_vector_scaling)):
        if validation:
            found = fit(validation.labels, validation.probabilities)(test.probabilities)
        else:
            found = cross_fitted(fit, test, seed=seed)
        part = test.with_probabilities(found)
        result[name] = headline(test.labels, found) | {"calibration": calibration(part, seed=seed)}
    curves = {
        name: operating_points.net_benefit(*as_task(part, codes)) for name, codes in tasks_of(test.taxonomy).items()
    }
    return result | {"decision_curve": curves, "decision_curve_of": "after vector scaling"}


def _operating(test: LabelledPredictions, validation: LabelledPredictions | None, seed: int) -> dict[str, Any]:
    if validation is None:
        return operating_points.cross_evaluated(test, seed=seed)
    return operating_points.operating_points(validation, test, seed=seed)


def _raps(test: LabelledPredictions, validation: LabelledPredictions | None) -> dict[str, Any] | None:
    if validation is None:
        return None
    return conformal.measure(test, conformal.calibrate(validation, penalty=conformal.RAPS_PENALTY))


def _repeated(test: LabelledPredictions, validation: LabelledPredictions | None, seed: int) -> dict[str, Any] | None:
    """Measure both kinds of sets on random halves of all images that were not trained on; None of one lesion alone."""
    part = test if validation is None else validation.joined(test)
    if part.n_lesions < 2:
        return None
    return {
        name: conformal.repeated(part, seed=seed, penalty=penalty)
        for name, penalty in (("aps", 0.0), ("raps", conformal.RAPS_PENALTY))
    }


def _abstention(
    test: LabelledPredictions, validation: LabelledPredictions | None, seed: int, risks: Sequence[float]
) -> list[dict[str, Any]]:
    if validation is None:
        return cross_abstention(test, seed=seed, risks=risks)
    return abstention(validation, test, risks)
