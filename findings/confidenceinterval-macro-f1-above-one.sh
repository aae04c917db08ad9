#!/usr/bin/env bash
# confidenceinterval 1.0.5: the 95 % interval of a macro F1 passes 1, and is twice as wide as the figure's own spread.
#
# Seen: 200 images of three diagnoses (140, 40, 20), all predicted correctly: macro F1 1.000 with an interval that ends above 1.
# With one image in twenty predicted wrongly at random, 300 times: the macro F1 spreads over 0.09 (95 %), the mean interval is 0.17
# wide. Micro F1 of the same predictions has an interval that ends at 1 and is as wide as its spread.
# Expected before it was run: an interval within 0 and 1, as wide as the spread of the figure within a third.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  confidenceinterval==1.0.5 "numpy==1.26.4" "scikit-learn==1.5.2" "scipy==1.13.1" "pandas==2.3.3"

"$work/venv/bin/python" - <<'PYTHON'
import confidenceinterval
import numpy as np
from sklearn.metrics import f1_score

truth = np.repeat([0, 1, 2], [140, 40, 20])
ends = {}
for average in ("macro", "micro"):
    value, (low, high) = confidenceinterval.f1_score(truth, truth, average=average)
    ends[average] = high
    print(f"confidenceinterval 1.0.5, all predicted correctly, {average} F1: {value:.3f} ({low:.3f} to {high:.3f})")

random = np.random.default_rng(0)
figures = {"macro": [], "micro": []}
widths = {"macro": [], "micro": []}
for _ in range(300):
    predicted = np.where(random.random(200) < 0.05, (truth + 1) % 3, truth)
    for average in figures:
        figures[average].append(f1_score(truth, predicted, average=average))
        low, high = confidenceinterval.f1_score(truth, predicted, average=average)[1]
        widths[average].append(high - low)
ratios = {average: np.mean(widths[average]) / (3.92 * np.std(figures[average])) for average in figures}
for average, ratio in ratios.items():
    print(f"{average} F1: 95 % of the figures lie within {3.92 * np.std(figures[average]):.3f}; mean interval {np.mean(widths[average]):.3f}"
          f" wide, {ratio:.2f} times")
if not (ends["macro"] > 1.01 and ends["micro"] <= 1.0001):
    raise SystemExit(f"Changed: the intervals end at {ends} now.")
if not (ratios["macro"] > 1.5 and 0.67 < ratios["micro"] < 1.33):
    raise SystemExit(f"Changed: the intervals are {ratios} times as wide as the spread now.")
PYTHON
