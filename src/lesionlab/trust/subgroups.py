"""Whether a model does as well for some as for others: figures of the test part by age, sex, site, source, confirmation.

In: the table of one part with its labels and probabilities. Out: a row for each group of at least 20 lesions. The groups
hold different diagnoses, and that alone makes their figures differ: a group of nevi is easy. So each group's accuracy
stands beside what would be expected of its diagnoses if every diagnosis went as it does in the whole part.
"""

from typing import Any

import numpy as np
import pandas as pd

from lesionlab.trust.metrics import bootstrap, percentile_interval

MIN_LESIONS = 20
AGE_BANDS = ((0, 30), (30, 45), (45, 60), (60, 75), (75, 200))
COLUMNS = {
    "age": "age",
    "sex": "sex",
    "localization": "site",
    "dataset": "source",
    "dx_type": "confirmation",
}


def subgroups(table: pd.DataFrame, labels: np.ndarray, probabilities: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
    """Figures of each group of at least 20 lesions, groups of one column after the other, the largest first.

    Args:
        table: of one part: `lesion_id`, `age` in years, `sex`, `localization`, `dataset`, `dx_type`; a column may be
            missing, and unknown values make a group of their own.
        labels: integers (n,) in `DX` order.
        probabilities: float (n, 7).
        seed: of the bootstrap over lesions.

    Returns:
        For each group `by`, `group`, `images`, `lesions`, `accuracy` and its 95 % `interval`, and `expected`: the mean
        over its images of the whole part's recall of their diagnosis. `stands_out` where the interval lies beside it.

    """
    is_right = probabilities.argmax(axis=1) == labels
    recall_of = {label: is_right[labels == label].mean() for label in np.unique(labels)}
    expected = np.array([recall_of[label] for label in labels])
    lesions = table["lesion_id"].to_numpy()
    rows = []
    for column, by in COLUMNS.items():
        if column not in table:
            continue
        values = (
            _age_bands(table[column]) if column == "age" else table[column].fillna("unknown").replace("", "unknown")
        )
        for group in values.value_counts().index:
            chosen = (values == group).to_numpy()
            count = len(np.unique(lesions[chosen]))
            if count < MIN_LESIONS:
                continue
            draws = bootstrap(labels[chosen], probabilities[chosen], lesions[chosen], seed=seed)
            low, high = percentile_interval(draws["accuracy"])
            expectation = float(expected[chosen].mean())
            rows.append(
                {
                    "by": by,
                    "group": str(group),
                    "images": int(chosen.sum()),
                    "lesions": count,
                    "accuracy": float(is_right[chosen].mean()),
                    "interval": [low, high],
                    "expected": expectation,
                    "stands_out": not low <= expectation <= high,
                }
            )
    return rows


def _age_bands(ages: pd.Series) -> pd.Series:
    years = pd.to_numeric(ages, errors="coerce")
    bands = pd.Series("unknown", index=ages.index)
    for low, high in AGE_BANDS:
        name = f"{low} to {high - 1}" if high < 200 else f"{low} and over"
        bands[(years >= low) & (years < high)] = name
    return bands
