#!/usr/bin/env bash
# calzone-tool 0.1.0 takes the calibration slope of any diagnosis from the probabilities of class 1.
#
# Seen: calibrated predictions of three diagnoses, 5,000 images. cox_regression_analysis(class_to_calculate=k) gives a slope near 1 and
# an intercept near 0 for k = 1, and slopes below 0 with intercepts near -1 for 0 and 2: it regresses "is it k" on the probability of 1.
# CalibrationMetrics(class_to_calculate=k) gives the figures of class 1 for all three, equal to the last digit, beside an expected
# calibration error that is that of k. No error, no warning.
# Expected, by what its parameter promises: for each of the three a slope near 1 and an intercept near 0, and no two alike.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  calzone-tool==0.1.0 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3 statsmodels==0.15.0

"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from calzone.metrics import CalibrationMetrics, cox_regression_analysis

random = np.random.default_rng(0)
probability = random.dirichlet(np.full(3, 2.0), 5000)
diagnosis = np.array([random.choice(3, p=row) for row in probability])
direct, whole = {}, {}
for number in range(3):
    slope, intercept, *_ = cox_regression_analysis(diagnosis, probability, class_to_calculate=number)
    direct[number] = (float(slope), float(intercept))
    table = CalibrationMetrics(class_to_calculate=number).calculate_metrics(diagnosis, probability, metrics=["ECE-H", "COX"])
    whole[number] = (float(table["COX coef"]), float(table["COX intercept"]))
    print(f"calzone-tool 0.1.0, class {number}: slope {slope:.2f}, intercept {intercept:.2f}; by CalibrationMetrics slope"
          f" {whole[number][0]:.2f}, intercept {whole[number][1]:.2f}, ECE {float(table['ECE-H']):.3f}")
if not (abs(direct[1][0] - 1) < 0.15 and abs(direct[1][1]) < 0.2):
    raise SystemExit("Changed: class 1 gets another answer.")
if not all(direct[number][0] < 0 and direct[number][1] < -0.7 for number in (0, 2)):
    raise SystemExit("Changed: classes 0 and 2 get other slopes.")
if not whole[0] == whole[1] == whole[2] == direct[1]:
    raise SystemExit("Changed: CalibrationMetrics tells the classes apart.")
PYTHON
