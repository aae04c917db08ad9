"""A model small enough to be built in a test: mean colour of a grid of places, weighed into seven probabilities."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lesionlab.inference.facts import make_facts
from lesionlab.taxonomy import read_taxonomy

HEIGHT, WIDTH = 24, 32


def facts(**changes: Any) -> dict[str, Any]:
    made = make_facts(
        name="tiny",
        taxonomy=read_taxonomy("ham10000"),
        height=HEIGHT,
        width=WIDTH,
        crop="centre",
        decision={"rule": "argmax", "exponent": 0.0, "log_shift": [0.0] * 7},
        training_data="none",
        licence="none",
    )
    return made.to_json() | changes


def model(
    values: dict[str, Any] | None = None, *, maps: bool = True, scale: float = 8.0, has_ood_score: bool = False
) -> onnx.ModelProto:
    """Build the model; `scale` makes its answers differ more between images, the score is how bright they are."""
    weights = np.random.default_rng(5).normal(size=(3, 7)).astype(np.float32) * scale
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "by"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["channels_first"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Transpose", ["pooled"], ["grid"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["grid"], ["features"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 7])]
    if maps:
        nodes.append(helper.make_node("MatMul", ["grid", "weights"], ["activation_maps"]))
        shape = ["n", HEIGHT // 8, WIDTH // 8, 7]
        outputs.append(helper.make_tensor_value_info("activation_maps", TensorProto.FLOAT, shape))
    if has_ood_score:
        nodes.append(helper.make_node("ReduceMean", ["features"], ["ood_score"], axes=[1], keepdims=0))
        outputs.append(helper.make_tensor_value_info("ood_score", TensorProto.FLOAT, ["n"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", HEIGHT, WIDTH, 3])],
        outputs,
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.float32(1 / 255), "by")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    values = facts() if values is None else values
    helper.set_model_props(made, {key: json.dumps(value) for key, value in values.items()})
    return made


def write(path: Path, values: dict[str, Any] | None = None, **options: Any) -> Path:
    path.write_bytes(model(values, **options).SerializeToString())
    return path
