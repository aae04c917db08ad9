#!/usr/bin/env bash
# miseval 1.3.0: the Hausdorff distance of a lesion's mask and the same mask lower down is 0.
#
# Seen: a disc of 25 px in a mask of 120 x 160, as in lesion segmentation, and the same disc elsewhere. "HD" is 0.0 for a shift down by 20
# or 40 px, 3.2 for 5 px to the side, 6.3 for 20 and 7.0 for 50. SciPy gives the shift itself: 20, 40, 5, 20, 50. These numbers are
# what comes of the rows of the mask taken for points: a row is compared with the most similar row, wherever it lies. "AHD", the average
# Hausdorff distance, gives SciPy's largest distance to the digit, in pixels.
# Expected before it was run: the shift. When the first value was seen, and before the shifts were tried: 0 downwards and the root of
# twice the shift to the side.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  miseval==1.3.0 hausdorff==0.2.6 dictances==1.5.3 numba==0.68.1 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 scikit-image==0.26.0

"$work/venv/bin/python" - <<'PYTHON'
import numpy as np
from miseval import evaluate
from scipy.spatial.distance import directed_hausdorff

rows, columns = np.mgrid[:120, :160]
truth = ((rows - 50) ** 2 + (columns - 60) ** 2 < 25**2).astype(int)
SEEN = {(20, 0): 0.0, (40, 0): 0.0, (0, 5): 3.16, (0, 20): 6.32, (0, 50): 7.0}
for (down, aside), seen in SEEN.items():
    predicted = np.roll(truth, (down, aside), axis=(0, 1))
    points = np.argwhere(truth), np.argwhere(predicted)
    right = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
    given, average = (float(evaluate(truth, predicted, metric=name)) for name in ("HD", "AHD"))
    print(f"miseval 1.3.0, {down} px down, {aside} px aside: HD {given:.2f}, AHD {average:.2f}; SciPy {right:.2f}")
    if abs(right - down - aside) > 1e-9:
        raise SystemExit("Changed: SciPy does not give the shift.")
    if abs(given - seen) > 0.01 or abs(average - right) > 1e-9:
        raise SystemExit("Changed: another distance.")
PYTHON
