"""Tables that lesionlab writes for itself, and reads back."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionlab.files import read_csv, write_csv


def test_an_image_may_be_called_na(tmp_path: Path) -> None:
    table = pd.DataFrame({"image_id": ["NA", "null", "nan", "007"], "MEL": [0.1, np.nan, 1 / 3, 1e-300], "dx": "nv"})
    write_csv(table, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv", ["MEL"]), table)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "file", "folder"), [(0o077, 0o600, 0o700), (0o002, 0o664, 0o775)])
def test_what_is_written_may_be_read_by_those_whom_the_umask_lets(
    umask: int, file: int, folder: int, tmp_path: Path
) -> None:
    write = (
        "import zipfile\n"
        "from pathlib import Path\n"
        "from lesionlab.data.phantom.write import write_phantoms\n"
        "from lesionlab.data.unpack import unpack\n"
        "from lesionlab.files import replacing_folder, write_text\n"
        "write_text(Path('t.txt'), 'a')\n"
        "with replacing_folder(Path('one')): pass\n"
        "zipfile.ZipFile('a.zip', 'w').close()\n"
        "unpack(Path('a.zip'), Path('two'), 'sum')\n"
        "write_phantoms('three', lesions=1, size_px=(16, 16))\n"
    )
    subprocess.run([sys.executable, "-c", write], cwd=tmp_path, umask=umask, check=True)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("t.txt", "one", "two", "three")}
    assert modes == {"t.txt": file, "one": folder, "two": folder, "three": folder}
