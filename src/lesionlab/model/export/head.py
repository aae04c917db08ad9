"""The head of a model file: its last dense layer and the rule behind it, read, and put in anew. Without Keras.

In: the bytes of a `.onnx` file that ends in features, a dense layer, a softmax and perhaps a decision rule. Out: the same network
with another head, for any number of diagnoses. What lies before the features is not touched, so that features, and the score of
what is not dermatoscopic, are the same in both files.
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlab.errors import UsageError, why_missing
from lesionlab.model.decision_rule import MARGIN, Decision, apply_decision
from lesionlab.model.export.onnx_graph import drop_unused, needed_nodes

HEAD_NAME = "head"  # with which the names of what is put in begin
_PASS_ON = {"Transpose", "Identity", "Reshape"}


@dataclass(frozen=True)
class Head:
    """Logits are features (n, d) times `kernel` (d, k) plus `bias` (k,); with `log_shift` (k,) added, the largest decides.

    The arrays are float32. A `log_shift` of zeros decides for the likeliest diagnosis.
    """

    kernel: np.ndarray
    bias: np.ndarray
    log_shift: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits of features (n, d): float64 (n, k)."""
        return features.astype(np.float64) @ self.kernel.astype(np.float64) + self.bias

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probabilities of features (n, d) as the model file gives them: float64 (n, k), rows sum to 1."""
        logits = self.logits(features)
        weighted = np.exp(logits - logits.max(axis=1, keepdims=True))
        plain = weighted / weighted.sum(axis=1, keepdims=True)
        return apply_decision(plain, Decision("prior-corrected", 0.0, tuple(self.log_shift.tolist())))


@dataclass(frozen=True)
class _Place:
    """Where the head of a graph is: the tensor that it takes, and the tensors of its weights; `bias` may be empty."""

    features: str
    kernel: str
    bias: str


def refuse_without_onnx(what: str) -> None:
    """Raise a UsageError where the package `onnx`, which changes model files, is not installed."""
    if importlib.util.find_spec("onnx") is None:
        raise UsageError(f"{why_missing(what, 'onnx', 'adapt')}.")


def read_head(data: bytes, log_shift: np.ndarray, where: str) -> Head:
    """Read the head of a model file.

    Args:
        data: the file's bytes.
        log_shift: (k,) of its decision rule, as its facts have it.
        where: its name, for messages.

    Raises:
        UsageError: the network does not end in a dense layer and a softmax.

    """
    import onnx

    graph = onnx.load_from_string(data).graph
    place = _find(graph, where)
    kernel = _constant(graph, place.kernel)
    bias = _constant(graph, place.bias) if place.bias else np.zeros(kernel.shape[1], np.float32)
    return Head(kernel.astype(np.float32), bias.astype(np.float32), np.asarray(log_shift, np.float32))


def with_head(data: bytes, head: Head, facts: Mapping[str, object], where: str) -> bytes:
    """Give a model file another head and other facts.

    Args:
        data: bytes of the file.
        head: of as many features as the file's own.
        facts: of `lesionlab.inference.facts.Facts.to_json`, for the new file.
        where: name of the old file, for messages.

    Raises:
        UsageError: as `read_head`, or the head takes other features.

    """
    import onnx

    model = onnx.load_from_string(data)
    graph, version = model.graph, next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    place = _find(graph, where)
    given = _constant(graph, place.kernel).shape[0]
    if given != len(head.kernel):
        raise UsageError(
            f"The head takes {len(head.kernel)} features, and {where} gives {given}: they are of another model."
        )
    prefix = _free_prefix(graph)
    _replace_maps(graph, head.kernel, prefix)
    _drop_producer(graph, "probabilities")
    _add_head(graph, place.features, head, prefix, has_axes_attribute=version < 18)
    _name_features(graph, place.features, len(head.kernel))
    _set_outputs(graph, head.kernel.shape[1])
    drop_unused(graph)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _find(graph: Any, where: str) -> _Place:
    """Find the dense layer before the last softmax."""
    made_by = {name: node for node in graph.node for name in node.output}
    waiting, seen = ["probabilities"], set[str]()
    while waiting:
        name = waiting.pop(0)
        node = made_by.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == "Softmax":
            return _dense(made_by, node.input[0], where)
        waiting += node.input
    raise UsageError(_no_head(where))


def _dense(made_by: Mapping[str, Any], name: str, where: str) -> _Place:
    node, bias = made_by.get(name), ""
    if node is not None and node.op_type == "Add":
        products = [one for one in node.input if one in made_by and made_by[one].op_type == "MatMul"]
        if products:
            bias = next(one for one in node.input if one != products[0])
            node = made_by[products[0]]
    is_plain_gemm = (
        node is not None and node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute)
    )
    if is_plain_gemm and node is not None:
        return _Place(node.input[0], node.input[1], node.input[2] if len(node.input) > 2 else "")
    if node is None or node.op_type != "MatMul":
        raise UsageError(_no_head(where))
    return _Place(node.input[0], node.input[1], bias)


def _no_head(where: str) -> str:
    return (
        f"{where} does not end in features, one dense layer and a softmax, so that its head cannot be replaced. Give a model "
        "that 'lesionlab run' has trained, or none for the one that comes with lesionlab."
    )


def _constant(graph: Any, name: str) -> np.ndarray:
    """Give the value of a tensor that depends on no input: stored, or unpacked from 8 or 16 bits by a few operators."""
    import onnx
    import onnxruntime

    stored = {item.name: item for item in graph.initializer}
    if name in stored:
        return onnx.numpy_helper.to_array(stored[name])
    nodes = list(needed_nodes(graph, [name]))
    taken = [stored[one] for node in nodes for one in node.input if one in stored]
    output = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    alone = onnx.helper.make_graph(nodes, "constant", [], [output], list({item.name: item for item in taken}.values()))
    made = onnx.helper.make_model(alone, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([name], {})[0]


def _free_prefix(graph: Any) -> str:
    """Give a beginning for the names of what is put in that nothing has yet: a file can be adapted again."""
    taken = [item.name for item in (*graph.initializer, *graph.node)]
    prefixes = (f"{HEAD_NAME}{number or ''}/" for number in range(len(taken) + 1))
    return next(prefix for prefix in prefixes if not any(name.startswith(prefix) for name in taken))


def _replace_maps(graph: Any, kernel: np.ndarray, prefix: str) -> None:
    """Give the class activation maps, where there are any, the weights of the new head."""
    from onnx import numpy_helper

    made_by = {name: node for node in graph.node for name in node.output}
    node = made_by.get("activation_maps")
    while node is not None and node.op_type in _PASS_ON:
        node = made_by.get(node.input[0])
    if node is None:
        return
    weights = kernel.T[:, :, None, None] if node.op_type == "Conv" else kernel
    name = f"{prefix}maps"
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weights, np.float32), name))
    node.input[1] = name


def _drop_producer(graph: Any, name: str) -> None:
    """Take out what makes a tensor: what was needed for it alone goes with `drop_unused`."""
    kept = [node for node in graph.node if name not in node.output]
    del graph.node[:]
    graph.node.extend(kept)


def _add_head(graph: Any, features: str, head: Head, prefix: str, *, has_axes_attribute: bool) -> None:
    """Append the dense layer, the softmax and the rule of `lesionlab.model.decision_rule.apply_decision`."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: np.ndarray | np.floating) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), prefix + name))
        return prefix + name

    def add(operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        output = name if name == "probabilities" else prefix + name
        graph.node.append(helper.make_node(operator, inputs, [output], name=prefix + name, **attributes))
        return output

    axis = constant("axis", np.array([1], np.int64))

    def largest(of: str, name: str) -> str:
        if has_axes_attribute:
            return add("ReduceMax", of, name=name, axes=[1], keepdims=1)
        return add("ReduceMax", of, axis, name=name, keepdims=1)

    product = add("MatMul", features, constant("kernel", head.kernel.astype(np.float32)), name="product")
    logits = add("Add", product, constant("bias", head.bias.astype(np.float32)), name="logits")
    if not head.log_shift.any():
        add("Softmax", logits, name="probabilities", axis=-1)
        return
    plain = add("Softmax", logits, name="plain", axis=-1)
    shift = np.exp(head.log_shift - head.log_shift.max()).astype(np.float32)
    weighed = add("Mul", plain, constant("shift", shift), name="weighed")
    is_largest = add("GreaterOrEqual", weighed, largest(weighed, "heaviest"), name="is_largest")
    decided = add("Cast", is_largest, name="decided", to=TensorProto.FLOAT)
    own = add("ReduceSum", add("Mul", plain, decided, name="of_decided"), axis, name="own", keepdims=1)
    behind = add("Sub", largest(plain, "likeliest"), own, name="behind")
    gap = add("Add", behind, constant("margin", np.float32(MARGIN)), name="gap")
    share = add("Div", gap, add("Add", gap, constant("one", np.float32(1)), name="whole"), name="share")
    rest = add("Sub", prefix + "one", share, name="rest")
    kept, given = add("Mul", plain, rest, name="kept"), add("Mul", decided, share, name="given")
    add("Add", kept, given, name="probabilities")


def _name_features(graph: Any, features: str, width: int) -> None:
    """Have the features among the outputs, by their name, as later adaptations need them."""
    from onnx import TensorProto, helper

    if any(output.name == "features" for output in graph.output):
        return
    if features != "features":
        node = helper.make_node("Identity", [features], ["features"], name="features")
        graph.node.append(node)
    graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", width]))


def _set_outputs(graph: Any, k: int) -> None:
    """Write the number of diagnoses into the outputs' shapes; shapes between them are inferred anew."""
    del graph.value_info[:]
    for output in graph.output:
        if output.name in ("probabilities", "activation_maps"):
            output.type.tensor_type.shape.dim[-1].ClearField("dim_param")
            output.type.tensor_type.shape.dim[-1].dim_value = k
