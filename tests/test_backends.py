"""The main job on the other backends: trained, evaluated and exported, with the same files as on TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from conftest import MakeOnce, lesionlab, undrawn_command
from lesionlab.model.architectures import build_network
from lesionlab.model.export.compact_weights import round_weights
from lesionlab.model.export.onnx import export_onnx
from lesionlab.model.safe_load import load_network
from lesionlab.recipe import read_recipe
from lesionlab.taxonomy import HAM10000
from test_devices import outputs, pair

pytestmark = pytest.mark.slow

EXTRA = {"jax": "gpu", "torch": "torch"}


def needs(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: needs pip install 'lesionlab[{EXTRA[backend]}]'")


@pytest.fixture(scope="module", params=EXTRA)
def ran(request, phantoms: Path, recipe: Path, make_once: MakeOnce) -> tuple[str, Path, str]:
    """A run of two epochs on another backend: its name, the run directory and what the terminal showed."""
    needs(request.param)

    def train(folder: Path) -> None:
        given = ("--data", phantoms, "--recipe", recipe, "--limit", 90, "--epochs", 2, "--out", folder / "run")
        environment = os.environ | {"KERAS_BACKEND": request.param}
        done = subprocess.run(undrawn_command("run", *given), env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        (folder / "shown").write_text(done.stdout, encoding="utf-8")

    made = make_once(request.param, train)
    return request.param, made / "run", (made / "shown").read_text(encoding="utf-8")


def test_the_whole_run_works_on_another_backend(ran: tuple[str, Path, str]) -> None:
    backend, out, shown = ran
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["finished"] and manifest["environment"]["backend"] == backend
    assert manifest["export"]["onnx"] == "model.onnx" and manifest["export"]["largest_difference"] < 1e-4
    assert f"on {backend}" in shown and (out / "report.html").is_file()


@pytest.mark.parametrize("ran", ["jax"], indirect=True)
def test_two_hosts_train_as_one_does(ran: tuple[str, Path, str], phantoms: Path, recipe: Path, tmp_path: Path) -> None:
    """Two processes of two devices each, that find each other by the environment, against one process of one device."""
    given = ("--data", phantoms, "--recipe", recipe, "--limit", 90, "--epochs", 2, "--out", tmp_path / "together")
    hosts = pair(undrawn_command("run", *given), 2)
    shown = outputs(hosts, 400)
    assert [host.returncode for host in hosts] == [0, 0], shown
    histories = [pd.read_csv(out / "history.csv") for out in (tmp_path / "together", ran[1])]
    for column in ("loss", "val_loss"):
        np.testing.assert_allclose(histories[0][column], histories[1][column], rtol=2e-4, err_msg=column)
    manifest = json.loads((tmp_path / "together" / "manifest.json").read_text())
    assert manifest["model"]["devices"] == 4 and manifest["finished"]
    assert "the report will be in" in shown[1][0]


def test_its_onnx_file_and_its_keras_file_give_its_predictions(ran: tuple[str, Path, str]) -> None:
    from lesionlab.data.layouts.recognise import read_collection
    from lesionlab.inference.model import load_model
    from lesionlab.lifecycle.prepare import decode

    _, out, _ = ran
    predictions = pd.read_csv(out / "predictions.csv").set_index("image")
    manifest = json.loads((out / "manifest.json").read_text())
    collection = read_collection(Path(manifest["data"]["folder"]))
    kept = collection.table["image_id"].isin(predictions.index).to_numpy()
    pixels = decode(collection, 24, 24, "centre").pixels[kept]
    expected = predictions.loc[collection.table["image_id"][kept], list(HAM10000.columns)].to_numpy()
    network = load_network(out / "model.keras")  # under TensorFlow
    np.testing.assert_allclose(network.predict_on_batch(pixels.astype(np.float32)), expected, atol=1e-4)
    paths = collection.table["path"][kept][:8]
    by_onnx = load_model(out / "model.onnx").predict(list(map(str, paths)))
    np.testing.assert_allclose([list(p.probabilities.values()) for p in by_onnx], expected[:8], atol=1e-4)


def test_weights_stay_in_32_bits_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `export --format onnx-int8` starts from: other backends have TensorFlow write it, in a process of its own."""
    recipe = read_recipe("quick").with_changes("image", height=24, width=24)
    network = build_network(recipe, np.full(3, 128.0), np.full(3, 50.0), n_diagnoses=7)
    round_weights(network)
    monkeypatch.setattr("keras.backend.backend", lambda: "another")
    kinds = {}
    for name in ("compact", "plain"):
        sample = np.zeros((1, 24, 24, 3), np.uint8)
        export_onnx(network, tmp_path / f"{name}.onnx", {}, sample, compact=name == "compact")
        weights = onnx.load(tmp_path / f"{name}.onnx").graph.initializer
        kinds[name] = {weight.data_type for weight in weights} & {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT16}
    assert kinds["compact"] and not kinds["plain"]


def test_jax_is_taken_where_it_is_installed_for_a_gpu(tmp_path: Path) -> None:
    needs("jax")
    facts = tmp_path / "jax_cuda13_plugin-0.10.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: jax-cuda13-plugin\nVersion: 0.10.0\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"} | {"PYTHONPATH": path}
    code = "from lesionlab.model.backend import keras; print(keras.backend.backend())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "jax"


def test_a_backend_that_is_not_installed_is_named(phantoms: Path, recipe: Path, tmp_path: Path) -> None:
    given = ("--data", phantoms, "--recipe", recipe, "--out", tmp_path / "run")
    done = lesionlab("run", *given, env=os.environ | {"KERAS_BACKEND": "theano"})
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "KERAS_BACKEND=theano, which is not installed" in done.stderr and "tensorflow" in done.stderr
