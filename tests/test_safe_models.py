"""Hostile model files: no code of theirs runs, and no file beside them is read."""

import base64
import io
import json
import marshal
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest

import tiny_onnx
from lesionlab.errors import UsageError
from lesionlab.inference import bundle
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.onnx_scan import scan
from lesionlab.model.safe_load import check_network_file, check_weights_file, load_network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good `.keras` file."""
    from lesionlab.model.architectures import build_network
    from lesionlab.recipe import read_recipe

    recipe = read_recipe("quick").with_changes("image", height=24, width=24)
    path = tmp_path_factory.mktemp("keras") / "good.keras"
    build_network(recipe, np.full(3, 128.0), np.full(3, 50.0), n_diagnoses=7).save(path)
    return path


@pytest.mark.parametrize("log_shift", [(0.0,) * 7, (0.1, 0.0, 0.4, 0.5, 0.2, 0.9, 0.8)])
def test_a_network_with_vector_scaling_is_read_again(network: Path, tmp_path: Path, log_shift) -> None:
    from lesionlab.model.architectures import with_decision
    from lesionlab.model.decision_rule import Decision

    decision = Decision("prior-corrected", 0.5, log_shift, scale=(1.1,) * 7, offset=(0.1, 0.0, 0.2, 0.0, 0.3, 0.0, 0.1))
    decided = with_decision(load_network(network), decision)
    decided.save(tmp_path / "vector.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 24, 24, 3)).astype(np.float32)
    found = load_network(tmp_path / "vector.keras").predict(pixels, verbose=0)
    assert found == pytest.approx(decided.predict(pixels, verbose=0), abs=1e-6)


def changed(network: Path, path: Path, *, config=None, weights: bytes | None = None, compress: int = 0, **more) -> Path:
    """Copy a `.keras` file with another configuration, other weights, or more members."""
    with zipfile.ZipFile(network) as source, zipfile.ZipFile(path, "w", compress) as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json" and config is not None:
                new = config(json.loads(content))
                content = (new if isinstance(new, str) else json.dumps(new)).encode()
            if name == "model.weights.h5" and weights is not None:
                content = weights
            target.writestr(name, content)
        for name, content in more.items():
            target.writestr(name.replace("__", "/"), content)
    return path


def with_layer(layer: dict):
    """Put a layer in the place of the last but one."""

    def change(config: dict) -> dict:
        layers = config["config"]["layers"]
        layers[-2] = layers[-2] | layer
        return config

    return change


def a_lambda(marker: Path) -> dict:
    code = compile(f"open({str(marker)!r}, 'w')", "x", "eval")
    encoded = base64.b64encode(marshal.dumps(code)).decode()
    value = {"class_name": "__lambda__", "config": {"code": encoded, "defaults": None, "closure": None}}
    return {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "x", "function": value},
        "registered_name": None,
    }


HOSTILE = {
    "os.system": {"module": "os", "class_name": "system", "config": {"command": "touch MARKER"}},
    "builtins.exec": {"module": "builtins", "class_name": "exec", "config": {}},
    "keras.src.utils.file_utils": {"module": "keras.utils", "class_name": "get_file", "config": {}},
    "TFSMLayer": {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "MARKER"}},
    "TorchModuleWrapper": {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}},
    "StringLookup": {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    "custom": {"module": "keras.layers", "class_name": "Dropout", "registered_name": "mine>Dropout", "config": {}},
    "no module": {"module": None, "class_name": "Lambda", "config": {}},
    "a list": {"module": "keras.layers", "class_name": ["Dropout"], "config": {}},
}


def test_a_good_file_loads(network: Path) -> None:
    loaded = load_network(network)
    assert loaded.input_shape == (None, 24, 24, 3) and loaded.output_shape == (None, 7)


def test_a_lambda_does_not_run(network: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = changed(network, tmp_path / "bad.keras", config=with_layer(a_lambda(marker)))
    with pytest.raises(
        UsageError, match="it needs the class keras.layers.Lambda. Only Keras's own plain layers are read"
    ):
        load_network(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_other_classes_are_refused(name: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = changed(network, tmp_path / "bad.keras", config=with_layer(HOSTILE[name]))
    with pytest.raises(UsageError, match="is refused: it needs the class"):
        load_network(path)
    assert not (tmp_path / "MARKER").exists()


def test_a_class_hidden_in_a_layers_own_configuration(network: Path, tmp_path: Path) -> None:
    hidden = {"config": {"name": "x", "rate": HOSTILE["os.system"]}}
    with pytest.raises(UsageError, match="needs the class os.system"):
        load_network(changed(network, tmp_path / "bad.keras", config=with_layer(hidden)))


def test_nothing_is_built_before_the_check(network: Path, tmp_path: Path) -> None:
    path = changed(network, tmp_path / "bad.keras", config=with_layer(HOSTILE["os.system"]))
    code = (
        "import sys; from pathlib import Path; from lesionlab.errors import UsageError\n"
        "from lesionlab.model.safe_load import load_network\n"
        f"try: load_network(Path({str(path)!r}))\nexcept UsageError: print('keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def hdf5(fill) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        fill(file)
    return content.getvalue()


def external_link(file: h5py.File) -> None:
    file.create_group("layers")["dense"] = h5py.ExternalLink("/etc/secret.h5", "/x")


def external_data(file: h5py.File) -> None:
    file.create_dataset("x", (100,), "u1", external=[("/etc/passwd", 0, 100)])


def virtual_data(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/secret.h5", "x", (4,))
    file.create_virtual_dataset("x", layout)


def bomb(file: h5py.File) -> None:
    file.create_dataset("x", (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip")


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (external_link, "points to data in other files"),
        (external_data, "points to data in other files"),
        (virtual_data, "points to data in other files"),
        (bomb, "its data sets declare 4,000,000,000,000 bytes, the file has"),
    ],
)
def test_weights_that_reach_out_or_grow(fill, message: str, network: Path, tmp_path: Path) -> None:
    content = hdf5(fill)
    with pytest.raises(UsageError, match=message):
        load_network(changed(network, tmp_path / "bad.keras", weights=content))
    alone = tmp_path / "bad.weights.h5"
    alone.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        check_weights_file(alone)


def test_a_group_inside_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "loop.weights.h5"
    path.write_bytes(hdf5(lambda file: file.__setitem__("again", file["/"])))
    check_weights_file(path)


def test_archives_that_keras_does_not_write(network: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.keras"
    with pytest.raises(UsageError, match="metadata.json is compressed, which Keras does not do"):
        load_network(changed(network, path, compress=zipfile.ZIP_DEFLATED))
    with pytest.raises(UsageError, match="is refused: it holds .*assets/x"):
        load_network(changed(network, path, assets__x=b"1"))
    with pytest.raises(UsageError, match="config.json describes no model"):
        load_network(changed(network, path, config=lambda _: []))
    with pytest.raises(UsageError, match="is no .keras file, or is damaged"):
        load_network(changed(network, path, config=lambda _: "[" * 100_000))
    with pytest.raises(UsageError, match="is not a readable HDF5 file"):
        load_network(changed(network, path, weights=b"nothing"))
    path.write_bytes(network.read_bytes()[:-500])
    with pytest.raises(UsageError, match="is no .keras file, or is damaged"):
        load_network(path)


def test_another_tasks_network(network: Path, tmp_path: Path) -> None:
    from lesionlab.model.backend import keras

    inputs = keras.Input((8,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(UsageError, match="is no classifier of RGB images into diagnoses"):
        load_network(tmp_path / "other.keras")


def test_weights_of_another_network_are_one_sentence(network: Path, tmp_path: Path) -> None:
    empty = hdf5(lambda file: file.create_group("layers"))
    with pytest.raises(UsageError, match="cannot be loaded by Keras"):
        load_network(changed(network, tmp_path / "bad.keras", weights=empty))


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model.pkl", "model.pt"])
def test_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(
        UsageError, match="only .keras files are, because models in .h5 and other formats can carry code"
    ):
        check_network_file(tmp_path / name)
    with pytest.raises(UsageError, match="There is no model file"):
        check_network_file(tmp_path / "nowhere.keras")
    what = "not a readable HDF5 file" if name == "model.h5" else "only Keras 3 weights files"
    with pytest.raises(UsageError, match=what):
        check_weights_file(tmp_path / name)


def test_weights_as_keras_publishes_them_are_read_and_whole_models_are_not(network: Path, tmp_path: Path) -> None:
    published, whole, other = (tmp_path / name for name in ("x_no_top.h5", "whole.h5", "other.h5"))
    with h5py.File(published, "w") as file:
        file.attrs["layer_names"] = [b"conv"]
    check_weights_file(published)
    load_network(network).save(whole)
    with pytest.raises(UsageError, match="it is a whole model in .h5, which can carry code"):
        check_weights_file(whole)
    with h5py.File(whole, "r+") as file:  # its configuration taken off, it still is one
        del file.attrs["model_config"]
    with pytest.raises(UsageError, match="it is a whole model in .h5"):
        check_weights_file(whole)
    with h5py.File(other, "w") as file:
        file["data"] = [1.0]
    with pytest.raises(UsageError, match="no file of weights that Keras knows"):
        check_weights_file(other)
    with h5py.File(published, "r+") as file:
        file["conv"] = h5py.ExternalLink("elsewhere.h5", "/x")
    with pytest.raises(UsageError, match="points to data in other files"):
        check_weights_file(published)


def outside(tensor: onnx.TensorProto, file: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", "0"), ("length", str(3 * 7 * 4))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd", "beside.bin"])
def test_onnx_with_data_elsewhere_reads_nothing(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.bin").write_bytes(b"secret" * 100)
    made = tiny_onnx.model()
    outside(made.graph.initializer[0], target)
    (tmp_path / "bad.onnx").write_bytes(made.SerializeToString())
    monkeypatch.setattr(bundle, "_open_session", lambda *_: pytest.fail("ONNX Runtime was asked"))
    with pytest.raises(UsageError, match="bad.onnx is refused: it points to data in other files"):
        open_bundle(tmp_path / "bad.onnx")


def test_onnx_with_data_elsewhere_in_a_constant() -> None:
    made = tiny_onnx.model()
    tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32))
    outside(tensor, "/etc/passwd")
    made.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=tensor))
    assert scan(made.SerializeToString())[1] == "points to data in other files"


def test_onnx_with_code_of_others_or_hidden_graphs() -> None:
    foreign = tiny_onnx.model()
    foreign.graph.node[0].domain = "com.evil"
    assert scan(foreign.SerializeToString())[1] == "needs operators of 'com.evil'"
    branch = tiny_onnx.model()
    inner = onnx.helper.make_graph([], "inner", [], [])
    branch.graph.node.append(onnx.helper.make_node("Loop", [], ["l"], body=inner))
    assert scan(branch.SerializeToString())[1] == "holds loops, branches or sparse tensors"
    functions = tiny_onnx.model()
    functions.functions.add().name = "f"
    assert scan(functions.SerializeToString())[1] == "holds functions or training steps of its own"
    sparse = tiny_onnx.model()
    sparse.graph.sparse_initializer.add()
    assert scan(sparse.SerializeToString())[1] == "holds sparse tensors"


def field(number: int, value: int | bytes) -> bytes:
    """A protobuf field: a number, or bytes with their length."""

    def varint(rest: int) -> bytes:
        return bytes([rest]) if rest < 128 else bytes([rest & 127 | 128]) + varint(rest >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


@pytest.mark.parametrize("size", [2**31, 2**40])
@pytest.mark.parametrize("where", ["domain", "key", "value"])
def test_a_number_in_place_of_a_text_takes_no_memory(size: int, where: str, tmp_path: Path) -> None:
    hostile = {
        "domain": field(7, field(1, field(7, size))),
        "key": field(14, field(1, size) + field(2, b"1")),
        "value": field(14, field(1, b"format") + field(2, size)),
    }
    path = tmp_path / "bad.onnx"
    path.write_bytes(tiny_onnx.model().SerializeToString() + hostile[where])
    tracemalloc.start()
    with pytest.raises(
        UsageError, match=r"is not an ONNX model, or is damaged \(a number stands where a text should\)"
    ):
        open_bundle(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_field_numbers_that_other_readers_would_cut() -> None:
    smuggled = b"\xba\x80\x80\x80\x10\x00"  # field 7 and bit 32, which protobuf in C++ drops
    with pytest.raises(ValueError, match="a field number too large"):
        scan(smuggled)
    with pytest.raises(ValueError, match="too many parts"):
        scan(b"\x08\x01" * 1_000_001)
