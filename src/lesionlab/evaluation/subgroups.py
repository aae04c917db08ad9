"""Whether a model does as well for some as for others: figures of the test part by age, sex, site, source, confirmation.

In: the table of one part with its `LabelledPredictions`. Out: a row for each group of at least 20 lesions. The groups
hold different diagnoses, and that alone makes their figures differ: a group of nevi is easy. So each group's accuracy
stands beside what the rest of the part would get if it had the group's diagnoses (direct standardisation), and the gap
between the two is what is tested, by the test of Mantel and Haenszel (J. Natl. Cancer Inst. 22, 1959): whether the group's
lesions are a random draw of all lesions of their diagnosis. Its variance is that of such draws, so that a small group in which
all are right is not taken for certain. Of twenty groups one differs by chance: p-values are corrected by Holm's method
(Scand. J. Stat. 6, 1979), which holds however the groups overlap.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from lesionlab.evaluation.intervals import (
    RESAMPLES,
    draw_weights,
    effective_number,
    percentile_interval,
    share_of_lesions,
    sums_over_draws,
    wilson_interval,
)
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.tasks import is_malignant, malignant_columns
from lesionlab.evaluation.values import Subgroup

MIN_LESIONS = 20
AGE_BANDS = ((0, 30), (30, 45), (45, 60), (60, 75), (75, 200))
COLUMNS = {
    "age": "age",
    "sex": "sex",
    "localization": "site",
    "dataset": "source",
    "dx_type": "confirmation",
    "skin_tone": "skin tone, estimated",
}
ALPHA = 0.05


def subgroups(
    table: pd.DataFrame, part: LabelledPredictions, *, seed: int, resamples: int = RESAMPLES
) -> list[Subgroup]:
    """Figures of each group of at least 20 lesions, groups of one column after the other, the largest first.

    Args:
        table: of one part, in the order of its images: `age` in years, `sex`, `localization`, `dataset`, `dx_type`,
            `skin_tone`; a column may be missing, and unknown values make a group of their own.
        part: its predictions.
        seed: of the bootstrap over lesions.
        resamples: of the bootstrap.

    Returns:
        For each group `by`, `group`, `images`, `lesions`, `accuracy` (share of images) and its 95 % `interval`; `expected`,
        the accuracy of the rest with the group's mix of diagnoses; `gap`, accuracy less expected over the diagnoses that both
        have, with its `gap_interval` (bootstrap), `p` (Mantel-Haenszel, lesions counting) and `p_holm`, corrected for
        the number of groups; `stands_out` where that is below 0.05. `malignant` counts lesions, and `malignant_found` is the
        share of them predicted as malignant (in part, where the predictions of a lesion's images differ), with
        Wilson's `malignant_interval`; None where the group has none, or malignant against benign is not defined.
        A group without a rest to compare with has None for gap, p and expected.

    """
    groups = _groups(table, part.lesions)
    if not groups:
        return []
    weights = draw_weights(part.lesions, seed, resamples)
    whole = _counts(weights, part)
    gaps = [_compare(chosen, part, weights, whole) for _, _, chosen in groups]
    rows = []
    for (by, group, chosen), gap, p_holm in zip(groups, gaps, holm([gap["p"] for gap in gaps]), strict=True):
        stands_out = bool(p_holm is not None and p_holm < ALPHA)
        rows.append(Subgroup(by=by, group=group, **_figures(chosen, part), **gap, p_holm=p_holm, stands_out=stands_out))
    return rows


def holm(p_values: list[float | None]) -> list[float | None]:
    """Correct p-values for their number by Holm's step-down method; None stays None and does not count."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[index] = largest
    return corrected


def _groups(table: pd.DataFrame, lesions: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """Name the groups that are large enough, with their images, bool (n,)."""
    groups = []
    for column, by in COLUMNS.items():
        if column not in table:
            continue
        values = (
            _age_bands(table[column]) if column == "age" else table[column].fillna("unknown").replace("", "unknown")
        )
        for group in values.value_counts().index:
            chosen = (values == group).to_numpy()
            if len(np.unique(lesions[chosen])) >= MIN_LESIONS:
                groups.append((by, str(group), chosen))
    return groups


def _figures(chosen: np.ndarray, part: LabelledPredictions) -> dict[str, Any]:
    columns, malignant = malignant_columns(part.taxonomy), chosen & is_malignant(part)
    number, found = len(np.unique(part.lesions[malignant])), None
    if number and columns is not None:
        found = share_of_lesions(np.isin(part.predicted[malignant], columns), part.lesions[malignant])
    return {
        "images": int(chosen.sum()),
        "lesions": int(len(np.unique(part.lesions[chosen]))),
        "accuracy": float(part.is_right[chosen].mean()),
        "malignant": number,
        "malignant_found": found,
        "malignant_interval": None if found is None else wilson_interval(found, number),
    }


def _compare(
    chosen: np.ndarray, part: LabelledPredictions, weights: np.ndarray, whole: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Compare a group's accuracy with that of the rest at the group's mix of diagnoses, in every draw."""
    group = part.take(chosen)
    inside = _counts(weights[:, chosen], group)
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = percentile_interval(inside[1].sum(axis=1) / inside[0].sum(axis=1))
    is_moved = not np.isnan(low)
    interval = (
        [low, high] if is_moved else wilson_interval(float(group.is_right.mean()), effective_number(group.lesions))
    )
    once = np.ones((1, len(part)), np.float32)
    here, all_of_it = _counts(once[:, chosen], group), _counts(once, part)
    observed = _standardised(here, (all_of_it[0] - here[0], all_of_it[1] - here[1]))
    drawn = _standardised(inside, (whole[0] - inside[0], whole[1] - inside[1]))
    if not np.isfinite(observed[1][0]):
        return {"interval": interval, "expected": None, "gap": None, "gap_interval": None, "p": None}
    expected = float(observed[1][0])
    return {
        "interval": interval,
        "expected": expected,
        "gap": float(observed[0][0] - expected),
        "gap_interval": percentile_interval(drawn[0] - drawn[1]),
        "p": mantel_haenszel(chosen, part.lesions, part.labels, part.is_right),
    }


def mantel_haenszel(chosen: np.ndarray, lesions: np.ndarray, labels: np.ndarray, is_right: np.ndarray) -> float:
    """Test whether the predictions of a group are right as often as to the rest, diagnosis by diagnosis: the two-sided p-value.

    With a correction for continuity, which keeps false alarms below the promise where groups are small. A lesion counts once,
    with the share of its images that are answered rightly, and belongs to the group if one of its images does.

    Args:
        chosen: bool (n,), images of the group.
        lesions: (n,) lesion ids.
        labels: integers (n,), the diagnoses.
        is_right: bool (n,).

    """
    _, first, lesion = np.unique(lesions, return_index=True, return_inverse=True)
    share, is_in = np.bincount(lesion, is_right) / np.bincount(lesion), np.bincount(lesion, chosen) > 0
    excess = variance = 0.0
    for index in np.unique(labels):
        of_class = labels[first] == index
        right, inside = share[of_class], is_in[of_class]
        whole, number = len(right), int(inside.sum())
        if 0 < number < whole:
            excess += right[inside].sum() - number * right.mean()
            variance += number * (whole - number) / whole * right.var(ddof=1)
    return float(2 * norm.sf(max(abs(excess) - 0.5, 0.0) / np.sqrt(variance))) if variance else 1.0


def _standardised(
    inside: tuple[np.ndarray, np.ndarray], rest: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy of the group, and of the rest weighted to the group's diagnoses; of diagnoses that both have: (draws,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(rest[0] > 0, rest[1] / rest[0], 0.0)
        shared = np.where(rest[0] > 0, inside[0], 0.0)
        number = shared.sum(axis=1)
        return np.where(rest[0] > 0, inside[1], 0.0).sum(axis=1) / number, (shared * recall).sum(axis=1) / number


def _counts(weights: np.ndarray, part: LabelledPredictions) -> tuple[np.ndarray, np.ndarray]:
    """Images and right predictions of each diagnosis in every draw: (draws, k) each."""
    is_class = part.labels[:, None] == np.arange(part.n_diagnoses)
    right = is_class & part.is_right[:, None]
    images, found = (sums_over_draws(weights, columns.astype(np.float32)) for columns in (is_class, right))
    return images.astype(float), found.astype(float)


def _age_bands(ages: pd.Series) -> pd.Series:
    years = pd.to_numeric(ages, errors="coerce")
    bands = pd.Series("unknown", index=ages.index)
    for low, high in AGE_BANDS:
        name = f"{low} to {high - 1}" if high < 200 else f"{low} and over"
        bands[(years >= low) & (years < high)] = name
    return bands
