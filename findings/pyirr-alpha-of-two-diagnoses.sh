#!/usr/bin/env bash
# pyirr 0.84.1.2: Krippendorff's alpha of two or three diagnoses is below 0 for dermatologists who agree in everything.
#
# Seen: readings of 100 lesions by four dermatologists, one reading missing, kripp_alpha(..., method="nominal"). Melanoma or not: all
# four agree in every lesion and alpha is -0.78 (it ought to be 1); each knows 9 of 10 and guesses the rest, -0.58, where krippendorff
# 0.9.0 gives 0.76; all guess, 0.16. So the more they agree, the lower it is. Three diagnoses: -0.81, -0.64 and -0.11. Four or five
# diagnoses: 1, and equal to krippendorff within 1e-9. The half of the table of coincidences that counts is taken by a rule which holds
# for four and five categories only: for two the agreements are taken for disagreements. No error, no warning.
# Expected before it was run: of four diagnoses, which was tried first, equal within 1e-6, as they are with a reading missing. Without,
# they were 0.001 apart; the code was read then, and two and three categories were expected wrong.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  pyirr==0.84.1.2 krippendorff==0.9.0 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3 statsmodels==0.15.0 setuptools==75.8.0

"$work/venv/bin/python" -W ignore - <<'PYTHON'
import krippendorff
import numpy as np
import pyirr

random = np.random.default_rng(0)
SEEN = {2: (0.16, -0.18, -0.58, -0.78), 3: (-0.11, -0.23, -0.64, -0.81), 4: None, 5: None}
for count, seen in SEEN.items():
    truth = random.integers(0, count, 100)
    for number, known in enumerate((0, 0.5, 0.9, 1)):
        guesses = random.integers(0, count, (100, 4))
        readings = np.where(random.random((100, 4)) < known, truth[:, None], guesses).astype(float)
        readings[0, 0] = np.nan
        given = float(pyirr.kripp_alpha(readings, method="nominal").value)
        right = float(krippendorff.alpha(readings.T, level_of_measurement="nominal"))
        print(f"{count} diagnoses, {known:.0%} known: pyirr {given:.2f}, krippendorff {right:.2f}")
        if known == 1 and abs(right - 1) > 1e-9:
            raise SystemExit("Changed: krippendorff gives less than 1 for full agreement.")
        if seen is None and abs(given - right) > 1e-9:
            raise SystemExit("Changed: of four or five diagnoses it is wrong too.")
        if seen is not None and abs(given - seen[number]) > 0.006:
            raise SystemExit("Changed: of two or three diagnoses it gives another alpha.")
PYTHON
