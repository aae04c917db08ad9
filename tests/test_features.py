"""Features of images: of models that give them, of those that do not, and of encoders of others."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lesionlab
import tiny_onnx
from lesionlab.errors import UsageError
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.feature_output import with_features
from lesionlab.inference.features import load_embedder

ENCODER = "height = 24\nwidth = 32\nmean = [0.5, 0.4, 0.3]\nstd = [0.2, 0.25, 0.5]\n"


def without_average(path: Path) -> Path:
    """The tiny model with a hidden dense layer in place of the average, and a decision rule behind the softmax."""
    model = tiny_onnx.model(maps=False)
    graph = model.graph
    random = np.random.default_rng(1)
    flat, softmax = 4 * 3 * 3, graph.node[-1]
    kept = [node for node in graph.node if node.op_type not in ("ReduceMean", "MatMul", "Softmax")]
    del graph.node[:]
    graph.node.extend(
        [
            *kept,
            helper.make_node("Flatten", ["grid"], ["flat"]),
            helper.make_node("Gemm", ["flat", "hidden/weights"], ["hidden/sum"]),
            helper.make_node("Relu", ["hidden/sum"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["shares"], axis=-1),
            helper.make_node("Mul", ["shares", "shift"], ["shifted"]),
            helper.make_node("ReduceSum", ["shifted", "axis"], ["sum"]),
            helper.make_node("Div", ["shifted", "sum"], list(softmax.output)),
        ]
    )
    graph.initializer.extend(
        [
            numpy_helper.from_array(random.normal(size=(flat, 3)).astype(np.float32), "hidden/weights"),
            numpy_helper.from_array(random.uniform(1, 2, 7).astype(np.float32), "shift"),
            numpy_helper.from_array(np.array([1]), "axis"),
        ]
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def write_encoder(folder: Path, settings: str = ENCODER, *, tokens: bool = False, layout: str = "NCHW") -> Path:
    """An encoder that gives the mean of each channel, or of each row of the image as tokens; and its TOML file."""
    shape = ["n", 3, 24, 32] if layout == "NCHW" else ["n", 24, 32, 3]
    nodes = [helper.make_node("Transpose", ["pixels"], ["image"], perm=[0, 3, 1, 2])] if layout == "NHWC" else []
    first = "image" if nodes else "pixels"
    nodes.append(helper.make_node("ReduceMean", [first], ["columns"], axes=[3], keepdims=0))  # (n, 3, 24)
    if tokens:
        nodes.append(helper.make_node("Transpose", ["columns"], ["made"], perm=[0, 2, 1]))  # (n, 24, 3)
    else:
        nodes.append(helper.make_node("ReduceMean", ["columns"], ["made"], axes=[2], keepdims=0))
    size = ["n", 24, 3] if tokens else ["n", 3]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("made", TensorProto.FLOAT, size)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    (folder / "encoder.onnx").write_bytes(model.SerializeToString())
    path = folder / "encoder.toml"
    path.write_text(settings, encoding="utf-8")
    return path


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 24, 32, 3), np.uint8)


def test_features_are_what_the_last_dense_layer_takes(tiny: Path, pixels: np.ndarray) -> None:
    made = lesionlab.embed(pixels, tiny)
    np.testing.assert_allclose(made.features, pixels.reshape(5, -1, 3).mean(axis=1) / 255, rtol=1e-5)
    assert made.features.dtype == np.float32 and len(made) == 5
    np.testing.assert_array_equal(made.probabilities, lesionlab.load_model(tiny).predict(pixels).probabilities)
    assert made.model == "tiny" and made.model_sha256 == open_bundle(tiny).sha256


def test_the_last_dense_layer_is_found_behind_others_and_before_a_decision_rule(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    path = without_average(tmp_path / "model.onnx")
    bundle = open_bundle(path)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    found = bundle.with_features().run(["features", "probabilities"], pixels)
    logits = found["features"].astype(np.float64) @ weights["weights"]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True)) * weights["shift"]
    np.testing.assert_allclose(found["probabilities"], shares / shares.sum(axis=1, keepdims=True), atol=1e-5)
    assert bundle.with_features().sha256 == bundle.sha256
    onnx.checker.check_model(onnx.load_from_string(with_features(bundle.data) or b""))


def test_a_network_of_two_heads_has_no_features(tmp_path: Path) -> None:
    model = tiny_onnx.model(maps=False)
    model.graph.node.insert(6, helper.make_node("MatMul", ["features", "weights"], ["other"]))
    model.graph.node.insert(8, helper.make_node("Add", ["logits", "other"], ["both"]))
    model.graph.node[-1].input[:] = ["both"]
    (tmp_path / "two.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match="'tiny' has no features: it does not end in one dense layer. Give a model"):
        load_embedder(tmp_path / "two.onnx")


def test_packaged_models_give_the_features_of_their_file(pixels: np.ndarray) -> None:
    for name in (None, "bundled-int8"):
        made = lesionlab.embed(pixels[:2], name)
        assert made.features.ndim == 2 and np.isfinite(made.features).all()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_encoder_takes_pixels_as_its_file_says(tmp_path: Path, pixels: np.ndarray, layout: str) -> None:
    path = write_encoder(tmp_path, f'{ENCODER}layout = "{layout}"\n', layout=layout)
    made = lesionlab.embed(pixels, path)
    expected = (pixels.reshape(5, -1, 3).mean(axis=1) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.5]
    np.testing.assert_allclose(made.features, expected, rtol=1e-4, atol=1e-5)
    assert made.probabilities is None and made.model == "encoder"


def test_tokens_become_a_row_of_numbers(tmp_path: Path, pixels: np.ndarray) -> None:
    plain = "height = 24\nwidth = 32\n"
    rows = pixels.astype(float).mean(axis=2) / 255  # (5, 24, 3)
    with pytest.raises(UsageError, match=r"'made' has 3 axes \(n, 24, 3\).*Add pool = \"first\""):
        lesionlab.embed(pixels, write_encoder(tmp_path, plain, tokens=True))
    for pool, expected in (("first", rows[:, 0]), ("mean", rows.mean(axis=1))):
        path = write_encoder(tmp_path, f'{plain}pool = "{pool}"\n', tokens=True)
        np.testing.assert_allclose(lesionlab.embed(pixels, path).features, expected, rtol=1e-4)


def test_an_encoder_is_known_again_by_its_file_and_by_what_decides_its_pixels(tmp_path: Path) -> None:
    first = load_embedder(write_encoder(tmp_path))
    assert pickle.loads(pickle.dumps(first)).sha256 == first.sha256
    assert load_embedder(write_encoder(tmp_path, f'name = "other"\n{ENCODER}')).sha256 == first.sha256
    assert load_embedder(write_encoder(tmp_path, f"{ENCODER}scale = 1.0\n")).sha256 != first.sha256


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("width = 32\n", r"missing required field `height`.*Keys of an encoder: height, width"),
        (ENCODER + "hight = 3\n", r"unknown field `hight`.*did you mean 'height'"),
        (ENCODER + 'output = "mad"\n', r"no output 'mad' \(did you mean 'made'\?\); it has made"),
        (ENCODER + 'layout = "NHWC"\n', r"Correct height, width and layout"),
        (ENCODER.replace("height = 24", "height = 25"), r"\(n, 3, 25, 32\), NCHW; the file takes pixels"),
        (ENCODER.replace("0.2,", "0.0,"), r"std"),
        (ENCODER + 'pool = "mean"\n', r"has 2 axes \(n, 3\).*Leave out pool"),
        (ENCODER + 'file = "none.onnx"\n', r"none.onnx cannot be read"),
        ("height = \n", r"is not valid TOML"),
    ],
)
def test_an_encoder_s_file_that_does_not_fit_is_refused(tmp_path: Path, settings: str, message: str) -> None:
    path = write_encoder(tmp_path, settings)
    with pytest.raises(UsageError, match=message):
        load_embedder(path)


def test_damaged_and_missing_encoders_are_refused(tmp_path: Path) -> None:
    path = write_encoder(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"\x08")
    with pytest.raises(UsageError, match="is damaged, or is none"):
        load_embedder(path)
    with pytest.raises(UsageError, match="There is no encoder file"):
        load_embedder(tmp_path / "none.toml")


def test_no_readable_image_is_said(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    with pytest.raises(UsageError, match=r"None of 1 images could be read: .*a\.png"):
        lesionlab.embed(tmp_path, tiny)
