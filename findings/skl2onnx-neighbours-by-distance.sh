#!/usr/bin/env bash
# skl2onnx 1.20.0 drops the weights of nearest neighbours: by distance or not, the ONNX model counts each neighbour alike.
#
# Seen: KNeighborsClassifier(5, weights="distance") on features of 1,000 images of three diagnoses, as in a search for similar lesions.
# Exported and run by onnxruntime 1.32.0, its probabilities are up to 0.23 away from scikit-learn's for 500 new images, 8.6 % of
# which get another diagnosis; for images of the collection itself, where the neighbour at distance 0 decides, up to 0.8 and 27.7 %.
# All are those of weights="uniform", which is exported right. No error, no warning. The cause is
# known (onnx/sklearn-onnx issue 1214): distances are negated, then raised to at least 0.000001, and so all alike.
# Expected before it was run: equal within 0.0001 for new images.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==1.26.4 scikit-learn==1.5.2 scipy==1.13.1

"$work/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.neighbors import KNeighborsClassifier

random = np.random.default_rng(0)
collection, new = random.normal(size=(2, 1000, 5)).astype(np.float32)
new = new[:500]
diagnosis = np.argmax(collection[:, :3] + random.normal(size=(1000, 3)), axis=1)
exported = {}
for weights in ("uniform", "distance"):
    model = KNeighborsClassifier(5, weights=weights).fit(collection, diagnosis)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        proto = to_onnx(model, collection[:1], options={"zipmap": False})
    if told:
        raise SystemExit(f"Changed: it warns, {told[0].message}")
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    for name, images in (("new", new), ("collection", collection)):
        labels, given = session.run(None, {session.get_inputs()[0].name: images})
        exported[weights, name] = given
        apart = np.abs(given - model.predict_proba(images)).max()
        differ = np.mean(labels != model.predict(images))
        print(f"skl2onnx 1.20.0, weights {weights}, images {name}: up to {apart:.4f} apart, {differ:.1%} get another diagnosis")
        if weights == "uniform" and (apart > 1e-4 or differ > 0):
            raise SystemExit("Changed: equal weights are exported wrong.")
        if weights == "distance" and not (apart > 0.15 and differ > 0.05):
            raise SystemExit("Changed: weights by distance are exported in another way.")
for name in ("new", "collection"):
    if not np.allclose(exported["uniform", name], exported["distance", name]):
        raise SystemExit("Changed: the weights make a difference in the exported model.")
PYTHON
