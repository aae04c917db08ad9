"""Same picture, same prediction: files that Python and a browser could read differently, in Python, the service and the page."""

import re

import httpx
import numpy as np
import pytest

from lesionlab.data.images import ImageError, read_image
from lesionlab.inference.model import load_model
from pictures import SIZE, cases
from test_serve import serving

CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_each_file_is_read_as_it_is_meant_or_refused(name: str) -> None:
    case = CASES[name]
    width, height = SIZE
    if isinstance(case.right, str):
        with pytest.raises(ImageError, match=re.escape(case.right)):
            read_image(case.data, height, width, "stretch")
        return
    found = read_image(case.data, height, width, "stretch").astype(int)
    difference = np.abs(found - np.asarray(case.right))
    assert difference.max() <= case.tolerance, (found[20, 10], found[20, 50], difference.mean())
    assert difference.mean() <= min(2, case.tolerance)


def test_the_service_gives_the_prediction_of_python_or_its_refusal() -> None:
    model = load_model()
    with serving("--max-files", len(CASES)) as (url, _):
        form = [("image", (name, case.data)) for name, case in CASES.items()]
        results = httpx.post(f"{url}/v1/predict", files=form, timeout=120).json()["results"]
    for case, result in zip(CASES.values(), results, strict=True):
        if isinstance(case.right, str):
            assert case.right in result["error"]["reason"]
        else:
            assert result["probabilities"] == pytest.approx(model.predict(case.data)[0].probabilities, abs=1e-6)
