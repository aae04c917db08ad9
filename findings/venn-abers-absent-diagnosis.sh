#!/usr/bin/env bash
# venn-abers 1.5.4 gives probabilities below 0 and above 1 where one of three diagnoses is absent from the calibration images.
#
# Seen: calibrated predictions of three diagnoses, 1,500 images to calibrate by and 500 others, of two of the three. The first
# absent: the two columns' "probabilities" are -0.52 and 1.52. The second absent: from -0.25 to 1.25, on average 0 and 1, where each of
# the two diagnoses is about half of the images. The third absent: within 0 and 1, and right on average. No error, no warning: the two
# that remain are taken for classes numbered 0 and 1. With all three it is right, and so it was, in a trial not
# repeated here, with one of seven absent.
# Expected before it was run: two columns for the two that occur, each about as frequent as its diagnosis, or an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  venn-abers==1.5.4 numpy==1.26.4 scikit-learn==1.5.2 scipy==1.13.1 pandas==2.3.3

"$work/venv/bin/python" - <<'PYTHON'
import numpy as np
from venn_abers import VennAbersCalibrator

random = np.random.default_rng(0)


def images(count: int, absent: int | None) -> tuple[np.ndarray, np.ndarray]:
    probability = random.dirichlet(np.ones(3), 2 * count)
    diagnosis = np.array([random.choice(3, p=row) for row in probability])
    kept = np.flatnonzero(diagnosis != absent)[:count]
    return probability[kept], diagnosis[kept]


means = {}
for absent in (None, 0, 1, 2):
    probability, diagnosis = images(1500, absent)
    others, truth = images(500, absent)
    given = VennAbersCalibrator().predict_proba(p_cal=probability, y_cal=diagnosis, p_test=others)
    shares = np.bincount(truth, minlength=3) / len(truth)
    means[absent] = given.mean(axis=0)
    print(f"venn-abers 1.5.4, absent {absent}: mean probabilities {means[absent].round(2).tolist()}, from {given.min():.2f} to"
          f" {given.max():.2f}; the diagnoses' shares {shares.round(2).tolist()}")
if not (means[None].shape == (3,) and abs(means[None] - 1 / 3).max() < 0.06):
    raise SystemExit("Changed: with all three diagnoses it is wrong too.")
if not (means[0].shape == (2,) and means[0].min() < -0.3 and means[0].max() > 1.3):
    raise SystemExit("Changed: without the first diagnosis it gives other probabilities.")
if not (means[1].shape == (2,) and means[1].min() < 0.1 and means[1].max() > 0.9):
    raise SystemExit("Changed: without the second diagnosis it gives other probabilities.")
PYTHON
