"""Without an extra, whatever wants it says so in one form, with the one line to type, and begins nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lesionlab
from builders import write
from conftest import lesionlab_here
from pictures import dicom, heic

BARE = "import sys; sys.modules[sys.argv.pop(1)] = None; from lesionlab.cli import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("extra", "library", "arguments"),
    [
        ("serve", "uvicorn", "serve"),
        ("serve", "uvicorn", "demo"),
        ("scale", "ray", "predict {photo} --shards {out} --engine ray --shard-format csv"),
        ("scale", "ray", "tune quick --space {space} --data {data} --out {out}"),
        ("adapt", "onnx", "adapt {model} --data {data} --out {out}.onnx"),
        ("adapt", "onnx", "probe --data {data} --out {out}"),
        ("stored", "pyarrow", "predict {photo} --shards {out}"),
        ("stored", "pyarrow", "predict {list}"),
        ("stored", "pyarrow", "embed {photo} --out {out}.parquet"),
        ("stored", "pyarrow", "check {parquet}"),
        ("stored", "h5py", "check {hdf5}"),
        ("track", "mlflow", "track {run} --to mlflow"),
        ("track", "tensorboardX", "track {run} --to tensorboard"),
        ("dicom", "pydicom", "predict {dicom}"),
        ("heif", "pillow_heif", "predict {heic}"),
    ],
)
def test_a_library_that_is_not_there_is_named_with_the_line_to_type(
    extra: str, library: str, arguments: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {
        "photo": tmp_path / "data" / "mel" / "a.png",
        "data": tmp_path / "data",
        "model": tiny,
        "out": tmp_path / "out",
        "space": write(tmp_path / "space.toml", "[optimizer]\nlearning_rate = [0.1, 0.2]\n"),
        "list": write(tmp_path / "list.parquet", "PAR1"),
        "parquet": write(tmp_path / "parquet" / "train-0.parquet", "PAR1").parent,
        "hdf5": write(tmp_path / "hdf5" / "train-image.hdf5", "").parent,
        "dicom": tmp_path / "a.dcm",
        "heic": tmp_path / "a.heic",
        "run": Path(__file__).parent / "data" / "run-8c5b32e",
    }
    write(tmp_path / "hdf5" / "train-metadata.csv", "isic_id,target,tbp_tile_type\nISIC_1,0,3D: XP\n")
    places["photo"].parent.mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(places["photo"])
    places["dicom"].write_bytes(dicom(np.zeros((64, 64, 3), np.uint8)))
    places["heic"].write_bytes(heic(Image.new("RGB", (64, 64))))
    monkeypatch.setitem(sys.modules, library, None)
    done = lesionlab_here(*(word.format(**places) for word in arguments.split()))
    assert done.returncode == (1 if extra in ("dicom", "heif") else 2)
    assert f", which is not installed: pip install 'lesionlab[{extra}]'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_training_without_keras(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    given = [sys.executable, "-c", BARE, "keras", "run"]
    done = subprocess.run(given, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and not any(tmp_path.iterdir())
    assert "This needs Keras with a backend, which is not installed: pip install 'lesionlab[cpu]'" in done.stderr


def test_the_line_to_type_is_worded_in_one_place() -> None:
    package = Path(lesionlab.__file__).parent
    wording = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "pip install 'lesionlab[" in path.read_text(encoding="utf-8")
    }
    suggested = {"cli/next_steps.py", "data/split_proof.py"}  # what could be better, where nothing has failed
    assert wording == {"errors.py", *suggested}
