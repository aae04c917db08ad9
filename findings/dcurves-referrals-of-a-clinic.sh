#!/usr/bin/env bash
# dcurves 1.1.7: given a clinic's prevalence, half of a row is of that clinic, and the share that tests positive is of the test set.
#
# Seen: a test set of 20,000 lesions of which 40 % are melanomas, calibrated for a clinic with 5 %, and dca(..., prevalence=0.05). At a
# threshold of 5 %, tp_rate 0.042 and fp_rate 0.149 are the clinic's, as is the net benefit; test_pos_rate is 0.423, not their sum,
# 0.191. Who reads off how many lesions would be excised gets more than twice as many. Rows of "all" and "none" do agree.
# Expected, since it holds without the prevalence: test_pos_rate = tp_rate + fp_rate in every row.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  dcurves==1.1.7 lifelines==0.30.3 statsmodels==0.15.0 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3

"$work/venv/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd
from dcurves import dca

random = np.random.default_rng(0)
is_melanoma = random.random(20000) < 0.4
risk = 1 / (1 + np.exp(-(random.normal(size=20000) + 2 * is_melanoma - 1 + np.log(0.05 / 0.95))))
table = pd.DataFrame({"melanoma": is_melanoma.astype(int), "risk": risk})
gaps = {}
for prevalence in (None, 0.05):
    rows = dca(table, "melanoma", ["risk"], thresholds=[0.02, 0.05, 0.1], prevalence=prevalence)
    rows = rows[rows["model"] == "risk"]
    for row in rows.itertuples():
        gaps[prevalence, row.threshold] = row.test_pos_rate - row.tp_rate - row.fp_rate
        print(f"dcurves 1.1.7, prevalence {prevalence}, threshold {row.threshold}: test_pos_rate {row.test_pos_rate:.3f},"
              f" tp_rate {row.tp_rate:.3f} + fp_rate {row.fp_rate:.3f} = {row.tp_rate + row.fp_rate:.3f}")
if any(abs(gap) > 1e-9 for (prevalence, _), gap in gaps.items() if prevalence is None):
    raise SystemExit("Changed: without a prevalence the row does not add up either.")
if any(gap < 0.1 for (prevalence, _), gap in gaps.items() if prevalence is not None):
    raise SystemExit("Changed: with a prevalence the row adds up.")
PYTHON
