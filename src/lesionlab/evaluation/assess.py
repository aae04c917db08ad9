"""Everything that is measured of a model's answers to one part of the data, whether a run asks or `lesionlab evaluate`.

In: the answers to the test part and, where there is one, to a validation part that lines are drawn on. Without it, lines are
drawn and promises made on one part of the lesions and judged on another, in turn: nothing is judged where it was chosen.
Out: plain numbers for metrics.json.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.evaluation import conformal, operating_points
from lesionlab.evaluation.abstention import RISKS, abstention, risk_coverage
from lesionlab.evaluation.abstention import cross_evaluated as cross_abstention
from lesionlab.evaluation.calibration import calibration
from lesionlab.evaluation.costs import expected_cost
from lesionlab.evaluation.label_errors import suspects
from lesionlab.evaluation.metrics import curves, evaluate_part, headline
from lesionlab.evaluation.subgroups import subgroups
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.evaluation.vector_scaling import cross_fitted, fit_vector_scaling, fitted_temperature

CONFIRMED = "histo"


@dataclass(frozen=True)
class LabelledPredictions:
    """Integer `labels` (n,) in `DX` order, `probabilities` float (n, 7), `lesions` (n,) ids."""

    labels: np.ndarray
    probabilities: np.ndarray
    lesions: np.ndarray

    def take(self, chosen: np.ndarray) -> "LabelledPredictions":
        """Take some of the images: bool (n,)."""
        return LabelledPredictions(self.labels[chosen], self.probabilities[chosen], self.lesions[chosen])


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
        table: of the test part, in the order of its answers: `image_id` and the columns of `lesionlab.evaluation.subgroups`.
        test: what is judged.
        validation: what lines are drawn on and promises made from; None to do both within the test part, crosswise.
        seed: of every random draw.
        costs: (7, 7), as `lesionlab.evaluation.costs.read_costs` gives.
        risks: shares of wrong answers to be kept by abstaining.

    """
    answers = test.labels, test.probabilities
    return {
        "test": evaluate_part(*answers, test.lesions, seed=seed)
        | {"calibration": calibration(*answers, test.lesions, seed=seed)},
        "lines": "validation" if validation else "crosswise",
        "histology": histology(table, test, seed=seed),
        "subgroups": subgroups(table, *answers, seed=seed),
        "operating": _operating(test, validation, seed),
        "conformal_raps": _raps(test, validation),
        "conformal_repeated": _repeated(test, validation, seed),
        "risk_coverage": risk_coverage(*answers, uncertainties(test.probabilities)),
        "abstention": _abstention(test, validation, seed, risks),
        "costs": None if costs is None else expected_cost(*answers, test.lesions, costs, seed=seed),
        "suspects": [
            dataclasses.asdict(suspect) | {"image": str(table["image_id"].iloc[suspect.row])}
            for suspect in suspects(*answers, test.lesions)
        ],
        "curves": curves(*answers),
    }


def histology(table: pd.DataFrame, test: LabelledPredictions, *, seed: int) -> dict[str, Any] | None:
    """Take the figures of the lesions confirmed by histology alone, None where none is known to be.

    The others were followed up, looked at by several people or under a confocal microscope: easier lesions, surer nevi.
    """
    if "dx_type" not in table or not (table["dx_type"] == CONFIRMED).any():
        return None
    part = test.take((table["dx_type"] == CONFIRMED).to_numpy())
    found = evaluate_part(part.labels, part.probabilities, part.lesions, seed=seed)
    counts = {dx: row["images"] for dx, row in found["per_class"].items()}
    return {name: value for name, value in found.items() if name not in ("per_class", "confusion")} | {"counts": counts}


def recalibrated(test: LabelledPredictions, validation: LabelledPredictions | None, *, seed: int) -> dict[str, Any]:
    """Judge the test part's probabilities after a temperature and after vector scaling, chosen on other lesions.

    The decision curve, which needs calibrated probabilities, takes those after vector scaling.
    """
    result: dict[str, Any] = {}
    for name, fit in (("test_temperature", fitted_temperature), ("test_vector", fit_vector_scaling)):
        if validation:
            found = fit(validation.labels, validation.probabilities)(test.probabilities)
        else:
            found = cross_fitted(fit, test.labels, test.probabilities, test.lesions, seed=seed)
        errors = calibration(test.labels, found, test.lesions, seed=seed)
        result[name] = headline(test.labels, found) | {"calibration": errors}
    tasks = {
        name: operating_points.as_task(test.labels, found, codes) for name, codes in operating_points.TASKS.items()
    }
    curves = {name: operating_points.net_benefit(*task) for name, task in tasks.items()}
    return result | {"decision_curve": curves, "decision_curve_of": "after vector scaling"}


def _operating(test: LabelledPredictions, validation: LabelledPredictions | None, seed: int) -> dict[str, Any]:
    if validation is None:
        return operating_points.cross_evaluated(test.labels, test.probabilities, test.lesions, seed=seed)
    drawn, judged = ((part.labels, part.probabilities) for part in (validation, test))
    return operating_points.operating_points(drawn, judged, test.lesions, seed=seed)


def _raps(test: LabelledPredictions, validation: LabelledPredictions | None) -> dict[str, Any] | None:
    if validation is None:
        return None
    drawn = validation.labels, validation.probabilities, validation.lesions
    promise = conformal.calibrate(*drawn, penalty=conformal.RAPS_PENALTY)
    return conformal.measure(test.labels, test.probabilities, promise, test.lesions)


def _repeated(test: LabelledPredictions, validation: LabelledPredictions | None, seed: int) -> dict[str, Any] | None:
    """Measure both kinds of sets on random halves of all images that were not trained on; None of one lesion alone."""
    parts = [test] if validation is None else [validation, test]
    labels, lesions = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "lesions"))
    if len(np.unique(lesions)) < 2:
        return None
    probabilities = np.concatenate([part.probabilities for part in parts])
    return {
        name: conformal.repeated(labels, probabilities, lesions, seed=seed, penalty=penalty)
        for name, penalty in (("aps", 0.0), ("raps", conformal.RAPS_PENALTY))
    }


def _abstention(
    test: LabelledPredictions, validation: LabelledPredictions | None, seed: int, risks: Sequence[float]
) -> list[dict[str, Any]]:
    judged = test.labels, test.probabilities, test.lesions
    if validation is None:
        return cross_abstention(*judged, seed=seed, risks=risks)
    return abstention((validation.labels, validation.probabilities, validation.lesions), judged, risks)
