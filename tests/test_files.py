"""Tables that lesionlab writes for itself, and reads back."""

from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.files import read_csv, write_csv


def test_an_image_may_be_called_na(tmp_path: Path) -> None:
    table = pd.DataFrame({"image_id": ["NA", "null", "nan", "007"], "MEL": [0.1, np.nan, 1 / 3, 1e-300], "dx": "nv"})
    write_csv(table, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv", ["MEL"]), table)
