#!/usr/bin/env bash
# imea 0.3.5: the circles around and within a lesion, from its centroid, grow with its distance from the picture's upper left corner.
#
# Seen: shape_measurements_2d of a disc of 50 px radius in a mask of 300 x 400. diameter_circumscribing_circle and
# diameter_inscribing_circle are 113 and 85 px near the upper left corner, 463 and 263 in the middle, and 810 and 610 at the lower
# right, where the picture's diagonal is 500. Of the same disc cut out they are 100 and 98, as they ought to be everywhere. Its
# description promises measurements that do not change with the place, and those compared here do not (area, Feret diameters, smallest enclosing
# circle). The centroid is that of the whole picture, the outline that of the lesion cut out of it.
# Expected before it was run, in a mask with the disc in the middle: all diameters within 2 px of 101.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  opencv-python-headless==5.0.0.93 numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0 pandas==2.3.3
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps imea==0.3.5

"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from imea.extract import shape_measurements_2d

rows, columns = np.mgrid[:300, :400]
SEEN = {
    "upper left": (52, 55, 113, 85),
    "middle": (150, 200, 463, 263),
    "lower right": (245, 345, 810, 610),
    "cut out": (150, 200, 100, 98),
}
for name, (row, column, outer, inner) in SEEN.items():
    lesion = (rows - row) ** 2 + (columns - column) ** 2 < 50**2
    if name == "cut out":
        lesion = lesion[row - 49 : row + 50, column - 49 : column + 50]
    measured = shape_measurements_2d(lesion).iloc[0]
    around, within = measured["diameter_circumscribing_circle"], measured["diameter_inscribing_circle"]
    others = {key: round(float(measured[key]), 1) for key in ("diameter_min_enclosing_circle", "feret_max", "feret_min", "area_projection")}
    print(f"imea 0.3.5, {name}: circumscribing circle {around:.1f} px, inscribing circle {within:.1f} px; {others}")
    if list(others.values()) != [100.0, 101.0, 99.0, 7825.0]:
        raise SystemExit("Changed: other measurements than those above.")
    if abs(around - outer) > 0.6 or abs(within - inner) > 0.6:
        raise SystemExit("Changed: other circles than those above.")
PYTHON
