"""A model file as a user holds it: what is read from it, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import tiny_onnx
from lesionlab._version import NOT_A_DEVICE
from lesionlab.errors import UsageError
from lesionlab.inference import bundle
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.facts import Thresholds


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_onnx.write(
        tmp_path_factory.mktemp("model") / "tiny.onnx", tiny_onnx.facts(thresholds={"malignant": 0.3})
    )


def test_facts_and_session(tiny: Path) -> None:
    opened = open_bundle(tiny)
    assert (opened.facts.name, opened.facts.height, opened.facts.width, opened.facts.crop) == ("tiny", 24, 32, "centre")
    assert opened.facts.thresholds == Thresholds(malignant=0.3)
    assert opened.facts.notice == NOT_A_DEVICE
    assert opened.has_activation_maps
    probabilities, maps = opened.session.run(None, {"image": np.zeros((2, 24, 32, 3), np.uint8)})
    assert probabilities.shape == (2, 7) and maps.shape == (2, 3, 4, 7)


def test_without_activation_maps(tmp_path: Path) -> None:
    assert not open_bundle(tiny_onnx.write(tmp_path / "m.onnx", maps=False)).has_activation_maps


def test_the_packaged_model_is_the_default(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MODELS", tmp_path)
    with pytest.raises(UsageError, match="holds no model. Give one with --model FILE.onnx"):
        open_bundle()
    (tmp_path / "a-int8.onnx").write_bytes(tiny_onnx.model(tiny_onnx.facts(name="small")).SerializeToString())
    assert open_bundle().facts.name == "small"
    (tmp_path / "b.onnx").write_bytes(tiny.read_bytes())
    assert open_bundle().facts.name == "tiny"
    assert open_bundle("a-int8").facts.name == "small"
    with pytest.raises(UsageError, match="no model file nothing. Models that come with lesionlab: b, a-int8"):
        open_bundle("nothing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": "lesionlab-2", "lesionlab": "9.0"},
            "'lesionlab-2', this lesionlab .* written by lesionlab 9.0: pip",
        ),
        ({"task": "CIFAR-10"}, "another task: 'CIFAR-10'"),
        ({"classes": ["nv", "mel"]}, r"another task: .* with the classes \['nv', 'mel'\]"),
        ({"crop": "zoom"}, "fact 'crop' has no valid value: 'zoom'"),
        ({"height": "24"}, "fact 'height' has no valid value"),
        ({"height": True}, "fact 'height' has no valid value"),
        ({"width": 10**9}, "fact 'width' has no valid value"),
        ({"thresholds": {"malignant": 7}}, "fact 'thresholds'"),
        ({"thresholds": {"other": 0.5}}, "fact 'thresholds'"),
        ({"temperature": None}, "fact 'temperature'"),
        ({"decision": []}, "fact 'decision'"),
        ({"card": 3}, "fact 'card'"),
        ({"name": "../x"}, "fact 'name' has no valid value"),
        ({"name": "..\\x"}, "fact 'name' has no valid value"),
        ({"width": 64}, "does not take and give what its facts say"),
    ],
)
def test_facts_that_do_not_fit(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        open_bundle(tiny_onnx.write(tmp_path / "m.onnx", tiny_onnx.facts(**changes)))


def test_facts_that_are_missing(tmp_path: Path) -> None:
    some = tiny_onnx.facts()
    del some["licence"], some["card"]
    with pytest.raises(UsageError, match="lacks the facts licence, card. Export it again"):
        open_bundle(tiny_onnx.write(tmp_path / "m.onnx", some))
    with pytest.raises(UsageError, match="without lesionlab's facts: class order and preprocessing are not known"):
        open_bundle(tiny_onnx.write(tmp_path / "m.onnx", {}))
    foreign = tiny_onnx.model()
    foreign.metadata_props[0].value = "not json"
    (tmp_path / "m.onnx").write_bytes(foreign.SerializeToString())
    with pytest.raises(UsageError, match="its fact 'format' is not JSON"):
        open_bundle(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"", b"\x00", b"hello", b"PK\x03\x04" * 99, b"\x89HDF\r\n", b"\xff" * 1000])
def test_what_is_no_onnx(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is not an ONNX model, or is damaged"):
        open_bundle(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_truncated(tiny: Path, share: float, tmp_path: Path) -> None:
    data = tiny.read_bytes()
    (tmp_path / "m.onnx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UsageError, match="m.onnx"):
        open_bundle(tmp_path / "m.onnx")


@settings(max_examples=150)
@given(at=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_a_mutated_file_opens_or_is_refused(tiny: Path, tmp_path_factory, at: float, byte: int, cut: bool) -> None:
    data = bytearray(tiny.read_bytes())
    data[int(at * len(data))] = byte
    path = tmp_path_factory.getbasetemp() / "mutated.onnx"
    path.write_bytes(data[: int(at * len(data))] if cut else data)
    try:
        open_bundle(path)
    except UsageError as error:
        assert "mutated.onnx" in str(error)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path, tiny: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny.read_bytes().replace(b"probabilities", b"\x80robabilities"))
    with pytest.raises(UsageError, match="m.onnx"):
        open_bundle(path)


def test_the_directory_of_a_run_is_its_model(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(tiny.read_bytes())
    assert open_bundle(str(tmp_path)).sha256 == open_bundle(tiny).sha256


def test_files_that_are_no_model(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="There is no model file .*nowhere.onnx"):
        open_bundle(tmp_path / "nowhere.onnx")
    with pytest.raises(UsageError, match="is a folder without model.onnx"):
        open_bundle(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"x")
    with pytest.raises(UsageError, match="is no model for prediction: give a .onnx file"):
        open_bundle(tmp_path / "model.keras")
    monkeypatch.setattr(bundle, "MAX_BYTES", 100)
    with pytest.raises(UsageError, match="models of at most"):
        open_bundle(tiny)


def test_operators_that_do_not_exist(tmp_path: Path) -> None:
    made = tiny_onnx.model()
    made.graph.node[1].op_type = "Mulch"
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(UsageError, match="cannot be opened by ONNX Runtime"):
        open_bundle(tmp_path / "m.onnx")


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    made = tiny_onnx.model()
    made.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(UsageError, match="does not take and give what its facts say"):
        open_bundle(tmp_path / "m.onnx")


def test_a_name_that_is_a_run_as_well_is_refused(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = open_bundle("bundled").sha256
    (tmp_path / "bundled").mkdir()
    assert open_bundle("bundled").sha256 == own  # no model in it
    (tmp_path / "bundled" / "model.onnx").write_bytes(tiny.read_bytes())
    with pytest.raises(UsageError, match=r"a run here: give \./bundled for the run"):
        open_bundle("bundled")
    assert open_bundle("./bundled").sha256 == open_bundle(tiny).sha256 and open_bundle(None).sha256 == own
