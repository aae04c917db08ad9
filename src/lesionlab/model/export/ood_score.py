"""The out-of-distribution score, fitted to a run's images and written into its `.onnx` file as the output `ood_score`.

In: a `.onnx` file of `lesionlab.model.export.onnx` (float32 or int8, of one network or several), and images of the training and
validation part. Out: the same file with some 20 plain operators and 80 to 300 KB more, and the fact `ood`. What the network
answers is not touched.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.evaluation.ood import (
    DISTANCE_FLOOR,
    LEAST_IMAGES,
    TEXTURE_FLOOR,
    Descriptor,
    OodScore,
    cell_size,
    fit_ood_score,
    ood_scores,
    see_image,
)
from lesionlab.files import replacing
from lesionlab.model.export.proof import open_session
from lesionlab.progress import track

MOST_TRAINING, MOST_REFERENCE = 1500, 1000
OUTPUT = "ood_score"
_PREFIX = "ood/"  # of the names of what the score adds to a graph
TOLERANCE = 0.02  # of a score of 1 to 4
_BATCH = 16


def add_ood_score(
    path: Path, pixels: np.ndarray, training: np.ndarray, reference: np.ndarray, origin: np.ndarray | None = None
) -> OodScore | None:
    """Give a model file an out-of-distribution score; None, and the file as it was, where the images are too few.

    Args:
        path: of a `.onnx` file without a score.
        pixels: uint8 (n, height, width, 3), dermatoscopic images as the network takes them.
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
    chosen = pixels[np.concatenate([training, reference])]
    seen = _see(path, chosen)
    fitted = {name: values[: len(training)] for name, values in seen.items()}
    held = {name: values[len(training) :] for name, values in seen.items()}
    score = fit_ood_score(fitted, held, None if origin is None else origin[reference])
    model = onnx.load(path)
    _append(model.graph, score, pixels.shape[1:3])
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


def _see(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Look at images (n, h, w, 3): what `see_image` gives, and the network's features where it has such."""
    session = open_session(path)
    seen = see_image(pixels)
    if not any(output.name == "features" for output in session.get_outputs()):
        return seen
    starts = track(range(0, len(pixels), _BATCH), "fitting what is no lesion")
    parts = [session.run(["features"], {"image": pixels[at : at + _BATCH]})[0] for at in starts]
    return {"features": np.concatenate(parts)} | seen


def _prove(path: Path, pixels: np.ndarray, expected: np.ndarray) -> None:
    (found,) = open_session(path).run([OUTPUT], {"image": pixels})
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


def _append(graph: Any, score: OodScore, size: tuple[int, ...]) -> None:
    from onnx import TensorProto, helper

    to = _Graph(graph)
    seen = {"features": "features"} | _add_image_looks(to, size)
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
