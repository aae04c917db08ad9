"""The out-of-distribution score, fitted to a run's images and written into its `.onnx` file as the output `ood_score`.

In: a `.onnx` file of `lesionlab.model.export.onnx` (float32 or int8, of one network or several), and images of the training and
validation part. Out: the same file with some 40 plain operators and 80 to 350 KB more, and the fact `ood`. What the network
answers is not touched.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.evaluation.ood import (
    DISTANCE_FLOOR,
    LEAST_IMAGES,
    SPREAD_FLOOR,
    TEXTURE_FLOOR,
    Descriptor,
    OodScore,
    cell_size,
    fit_ood_score,
    ood_scores,
    see_image,
)
from lesionlab.files import replacing
from lesionlab.model.degrade import some_degraded
from lesionlab.model.export.proof import open_session
from lesionlab.progress import track

MOST_TRAINING, MOST_REFERENCE = 1500, 1000
OUTPUT = "ood_score"
MIDDLE = 8  # what share of the image's sides, one in so many, the layer has that is looked at beside the last
_PREFIX = "ood/"  # of the names of what the score adds to a graph
DEGRADED = 0.25  # of these images, made worse as pictures: a slightly blurred lesion is one still
TOLERANCE = 0.02  # of a score of 1 to 4
_BATCH = 16


def add_ood_score(
    path: Path, pixels: np.ndarray, training: np.ndarray, reference: np.ndarray, origin: np.ndarray | None = None
) -> OodScore | None:
    """Give a model file an out-of-distribution score; None, and the file as it was, where the images are too few.

    Args:
        path: of a `.onnx` file without a score.
        pixels: uint8 (n, height, width, 3), dermatoscopic images as the network takes them; a quarter of those drawn are made
            worse (`lesionlab.model.degrade`).
        training: which of them to fit to, integers: the training part; 1,500 are drawn of more.
        reference: which of them to choose the threshold on: the validation part; 1,000 are drawn of more.
        origin: integers (n,), which data set each is from; see `fit_ood_score`.

    Raises:
        LesionlabError: the file's score differs from the one fitted; the file is then left as it was.

    """
    import onnx

    if min(len(training), len(reference)) < LEAST_IMAGES:
        return None
    rng = np.random.default_rng(0)
    training, reference = _drawn(training, MOST_TRAINING, rng), _drawn(reference, MOST_REFERENCE, rng)
    chosen = some_degraded(pixels[np.concatenate([training, reference])], DEGRADED, rng)
    seen = see_by_network(path, chosen) | see_image(chosen)
    fitted = {name: values[: len(training)] for name, values in seen.items()}
    held = {name: values[len(training) :] for name, values in seen.items()}
    score = fit_ood_score(fitted, held, None if origin is None else origin[reference])
    model = onnx.load(path)
    _append(model, score, pixels.shape[1:3])
    facts = {prop.key: prop.value for prop in model.metadata_props} | {"ood": json.dumps(describe(score))}
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as temporary:
        onnx.save(model, temporary)
        _prove(temporary, chosen[-32:], ood_scores(score, {name: values[-32:] for name, values in held.items()}))
    return score


def without_score(model: Any) -> Any:
    """Take out of an ONNX model, in place, what `add_ood_score` has put in; the model itself is given back."""
    graph = model.graph
    for items in (graph.node, graph.initializer):
        kept = [item for item in items if not item.name.startswith(_PREFIX)]
        del items[:]
        items.extend(kept)
    outputs = [output for output in graph.output if output.name != OUTPUT]
    del graph.output[:]
    graph.output.extend(outputs)
    return model


def in_words(score: OodScore | None) -> str:
    """Say what came of it, for the terminal."""
    if score is None:
        return f"no out-of-distribution score: it needs {LEAST_IMAGES} training images and as many validation images"
    return f"rejects images that are not dermatoscopic (rejected {score.refused_share:.1%} of {score.images} validation images)"


def describe(score: OodScore) -> dict[str, object]:
    """Put into words what the fact `ood` holds."""
    return {
        "score": "Mahalanobis distances of " + ", ".join(score.looks),
        "threshold": score.threshold,
        "refused_share": score.refused_share,
        "images": score.images,
    }


def _drawn(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rows)[np.sort(rng.permutation(len(rows))[:most])]


def see_by_network(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Look at images (n, h, w, 3) through a `.onnx` file: float (n, d) of `features` and `middle`, where it has such."""
    import onnx

    model = without_score(onnx.load(path))
    middle = _add_middle_look(_Graph(model.graph), model, pixels.shape[1:3])
    names = {"features": "features"} if any(output.name == "features" for output in model.graph.output) else {}
    if middle:
        names["middle"] = middle
        model.graph.output.append(onnx.helper.make_tensor_value_info(middle, onnx.TensorProto.FLOAT, None))
    if not names:
        return {}
    session = open_session(model.SerializeToString())
    starts = track(range(0, len(pixels), _BATCH), "fitting what is no lesion")
    parts = [session.run(list(names.values()), {"image": pixels[at : at + _BATCH]}) for at in starts]
    return {name: np.concatenate(values) for name, values in zip(names, zip(*parts, strict=True), strict=True)}


def _prove(path: Path, pixels: np.ndarray, expected: np.ndarray) -> None:
    (found,) = open_session(path.read_bytes()).run([OUTPUT], {"image": pixels})
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise LesionlabError(
            f"The out-of-distribution score differs by {difference:.1e} from the fitted one (allowed: {TOLERANCE}) in the "
            "ONNX file; the file was left as it was."
        )


class _Graph:
    """Appends operators to an ONNX graph; each gives back the name of its result."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.count = graph, 0

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper

        self.count += 1
        name = f"{_PREFIX}constant_{self.count}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        self.count += 1
        output = output or f"{_PREFIX}{operator}_{self.count}"
        self.graph.node.append(
            helper.make_node(operator, inputs, [output], name=f"{_PREFIX}{self.count}", **attributes)
        )
        return output


def _append(model: Any, score: OodScore, size: tuple[int, ...]) -> None:
    from onnx import TensorProto, helper

    graph, to = model.graph, _Graph(model.graph)
    seen = {"features": "features"} | _add_image_looks(to, size)
    if "middle" in score.looks:
        seen["middle"] = _add_middle_look(to, model, size)
    axis = to.constant(np.array([1], np.int64))
    above = [_add_distance(to, seen[name], look, axis) for name, look in score.looks.items()]  # (n, 1) each
    together = to.add("Concat", *above, axis=1)
    squares = to.add("ReduceSum", to.add("Mul", together, together), axis, keepdims=0)
    to.add("Sqrt", squares, output=OUTPUT)
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n"]))


def _add_image_looks(to: _Graph, size: tuple[int, ...]) -> dict[str, str]:
    """What `lesionlab.evaluation.ood.see_image` does, in operators: thumbnail (n, d) and texture (n, 3)."""
    from onnx import TensorProto

    cells: dict[str, Any] = {"kernel_shape": cell_size(*size), "strides": cell_size(*size)}
    image = to.add("Mul", to.add("Cast", "image", to=TensorProto.FLOAT), to.constant(np.float32(1 / 255)))
    channels_first = to.add("Transpose", image, perm=[0, 3, 1, 2])
    means = to.add("AveragePool", channels_first, **cells)  # (n, 3, rows, columns)
    squares = to.add("AveragePool", to.add("Mul", channels_first, channels_first), **cells)
    variances = to.add("Relu", to.add("Sub", squares, to.add("Mul", means, means)))
    spread = to.add("ReduceMean", to.add("Sqrt", variances), axes=[1, 2, 3], keepdims=0)
    grey = to.add("ReduceMean", image, axes=[3], keepdims=0)  # (n, height, width)
    steps = [to.add("ReduceMean", _add_difference(to, grey, axis), axes=[1, 2], keepdims=0) for axis in (1, 2)]
    new_axis = to.constant(np.array([1], np.int64))
    texture = to.add("Concat", *(to.add("Unsqueeze", one, new_axis) for one in (*steps, spread)), axis=1)
    texture = to.add("Log", to.add("Add", texture, to.constant(np.float32(TEXTURE_FLOOR))))
    thumbnail = to.add("Flatten", to.add("Transpose", means, perm=[0, 2, 3, 1]), axis=1)
    return {"thumbnail": thumbnail, "texture": texture}


def _add_middle_look(to: _Graph, model: Any, size: tuple[int, ...]) -> str:
    """Mean and logarithm of the standard deviation of each channel of a middle layer: (n, 2 * channels); "" without one."""
    layer = _middle_layer(model, size)
    if not layer:
        return ""
    mean = to.add("GlobalAveragePool", layer)  # (n, channels, 1, 1)
    away = to.add("Sub", layer, mean)
    spread = to.add("Sqrt", to.add("GlobalAveragePool", to.add("Mul", away, away)))
    spread = to.add("Log", to.add("Add", spread, to.constant(np.float32(SPREAD_FLOOR))))
    return to.add("Flatten", to.add("Concat", mean, spread, axis=1), axis=1)


def _middle_layer(model: Any, size: tuple[int, ...]) -> str:
    """Name of the last result (n, channels, height, width) in the graph with one pixel for `MIDDLE` of the image, each way."""
    from onnx import shape_inference

    wanted = [(side // MIDDLE, math.ceil(side / MIDDLE)) for side in size]
    sized = set()
    for value in shape_inference.infer_shapes(model).graph.value_info:
        axes = value.type.tensor_type.shape.dim
        is_of_images = len(axes) == 4 and not axes[0].dim_value
        if is_of_images and axes[2].dim_value in wanted[0] and axes[3].dim_value in wanted[1]:
            sized.add(value.name)
    own = [node for node in model.graph.node if not node.name.startswith(_PREFIX) and node.op_type != "Pad"]
    return next((name for node in reversed(own) for name in node.output if name in sized), "")


def _add_difference(to: _Graph, grey: str, axis: int) -> str:
    """Take the absolute difference of neighbours along an axis."""
    one, end, first, last, along = (
        to.constant(np.array([value], np.int64)) for value in (1, np.iinfo(np.int64).max, 0, -1, axis)
    )
    return to.add(
        "Abs", to.add("Sub", to.add("Slice", grey, one, end, along), to.add("Slice", grey, first, last, along))
    )


def _add_distance(to: _Graph, values: str, look: Descriptor, axis: str) -> str:
    """Standardise the logarithm of the squared distance of values (n, d), softplus: (n, 1)."""
    from onnx import TensorProto

    axes = to.add("Cast", to.constant(look.axes.astype(np.float16)), to=TensorProto.FLOAT)  # (d, k)
    centred = to.add("Sub", values, to.constant(look.mean))
    along = to.add("MatMul", centred, axes)
    rest = to.add("Sub", centred, to.add("MatMul", along, to.add("Transpose", axes, perm=[1, 0])))
    weighted = to.add("Mul", to.add("Mul", along, along), to.constant(look.precision))
    inside = to.add("ReduceSum", weighted, axis, keepdims=1)
    outside = to.add("ReduceSum", to.add("Mul", rest, rest), axis, keepdims=1)
    outside = to.add("Mul", outside, to.constant(np.float32(look.rest_precision)))
    distance = to.add("Add", to.add("Add", inside, outside), to.constant(np.float32(DISTANCE_FLOOR)))
    centred_log = to.add("Sub", to.add("Log", distance), to.constant(np.float32(look.log_mean)))
    return to.add("Softplus", to.add("Div", centred_log, to.constant(np.float32(look.log_std))))
