#!/usr/bin/env bash
# MLstatkit 0.1.91: DeLong's test of a model against itself gives p = 0, and so does a model against its calibrated form.
#
# Seen: scores of 200 images against the same scores, and against them after temperature scaling (T = 2), which keeps their
# order: both AUCs are equal, z = 0 and p = 0.0, "method: bootstrap". Read as every p-value is, two equal models differ beyond all
# doubt. Where the variance of the difference is zero the test falls back to resampling, in which every difference is zero.
# Expected before it was run: an error, p = 1 or no number.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check MLstatkit==0.1.91

"$work/venv/bin/python" - <<'PYTHON'
import numpy as np
from MLstatkit import Delong_test

rng = np.random.default_rng(0)
truth = rng.integers(0, 2, 200)
logits = truth + rng.normal(size=200)
other = truth + rng.normal(size=200)
probability = {"itself": logits, "temperature 2": logits / 2, "another model": other}
found = {}
for name, values in probability.items():
    z, p, *_, info = Delong_test(truth, 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-values)))
    found[name] = (float(z), float(p), info["method"])
    print(f"MLstatkit 0.1.91, a model against {name}: z = {z:.3f}, p = {p:.3f}, {info['method']}")
if not (found["another model"][2] == "delong" and 0.01 < found["another model"][1] < 1):
    raise SystemExit("Changed: two models that differ get another answer.")
for name in ("itself", "temperature 2"):
    if found[name] != (0.0, 0.0, "bootstrap"):
        raise SystemExit(f"Changed: against {name} it is {found[name]} now.")
PYTHON
