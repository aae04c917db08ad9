#!/usr/bin/env bash
# fairlearn 0.15.0 takes the sensitivity of a group that has no melanomas for 0, and reports it as the largest unfairness there is.
#
# Seen: predictions right for nine images in ten in every group; skin types I-II and III-IV have melanomas, the 30 images of V-VI none.
# The true positive rate of V-VI is 0.0, so equalized_odds_difference and equal_opportunity_difference are the best group's whole
# sensitivity, 0.9, and equalized_odds_ratio is 0. No warning. Without those 30 images the differences are 0 and the ratio is 1.
# Expected before it was run: no number for V-VI, or the group left out, with a warning at the least.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  fairlearn==0.15.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1 pandas==2.3.3

"$work/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
from fairlearn.metrics import (
    MetricFrame,
    equal_opportunity_difference,
    equalized_odds_difference,
    equalized_odds_ratio,
    true_positive_rate,
)

melanoma = np.tile([1, 0], 200)
melanoma = np.concatenate([melanoma, np.zeros(30, int)])
group = np.repeat(["I-II", "III-IV", "V-VI"], [200, 200, 30])
wrong = np.arange(430) % 20 < 2
predicted = np.where(wrong, 1 - melanoma, melanoma)
of_two = group != "V-VI"
figures = {}
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for figure in (equalized_odds_difference, equal_opportunity_difference, equalized_odds_ratio):
        figures[figure.__name__] = [
            float(figure(melanoma[kept], predicted[kept], sensitive_features=group[kept])) for kept in (of_two, slice(None))
        ]
    rates = MetricFrame(metrics=true_positive_rate, y_true=melanoma, y_pred=predicted, sensitive_features=group).by_group
rates = rates.astype(float).round(2).to_dict()
print(f"fairlearn 0.15.0: sensitivity by skin type {rates}; {len(told)} warnings")
for name, (two, three) in figures.items():
    print(f"{name}: of the two groups with melanomas {two:.2f}, with the third {three:.2f}")
if told:
    raise SystemExit(f"Changed: it warns, {told[0].message}")
if rates != {"I-II": 0.9, "III-IV": 0.9, "V-VI": 0.0}:
    raise SystemExit("Changed: other sensitivities.")
wanted = {"equalized_odds_difference": [0, 0.9], "equal_opportunity_difference": [0, 0.9], "equalized_odds_ratio": [1, 0]}
if any(not np.allclose(figures[name], values, atol=1e-9) for name, values in wanted.items()):
    raise SystemExit("Changed: other figures than those above.")
PYTHON
