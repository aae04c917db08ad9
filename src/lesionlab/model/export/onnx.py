"""From a trained network to files for other runtimes, each proved equal to its source on real images.

In: a Keras network from float32 (n, height, width, 3) 0 to 255 to (n, k) probabilities. Out: a file that is whole or absent.
The `.onnx` file takes uint8 pixels and holds its facts (`lesionlab.inference.bundle`). Opset 15 and plain operators:
ONNX Runtime runs it on CPU, GPU and in the browser.
"""

import importlib.util
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.errors import LesionlabError, UsageError, why_missing
from lesionlab.files import replacing, replacing_folder, write_json
from lesionlab.model.backend import keras, without_start_up_lines
from lesionlab.model.export import by_tensorflow
from lesionlab.model.export.compact_weights import store_compactly
from lesionlab.model.export.onnx_graph import make_plain
from lesionlab.model.export.proof import keras_probabilities, onnx_probabilities, proved
from lesionlab.model.safe_load import load_network

OPSET = 15


def why_no_onnx() -> str:
    """Say why this installation cannot write ONNX, or nothing if it can."""
    return _why_missing("ONNX", ("tensorflow", "onnx", "tf2onnx"))


def why_no_tensorflow(what: str) -> str:
    """Say why this installation cannot write what TensorFlow itself writes, or nothing if it can."""
    if reason := _why_missing(what, ("tensorflow",)):
        return reason
    if keras.backend.backend() != "tensorflow":
        return f"{what} is written from the TensorFlow backend, this one is {keras.backend.backend()}: KERAS_BACKEND=tensorflow"
    return ""


def export_onnx(
    network: keras.Model, path: Path, facts: Mapping[str, object], sample: np.ndarray, *, compact: bool = True
) -> float:
    """Write the network as ONNX and return the largest difference in probability on the sample.

    Outputs: `probabilities` (n, k); for networks that end in a global average also `activation_maps` (n, grid height,
    grid width, k), class activation maps (Zhou et al., CVPR 2016), and `features` (n, channels).

    Args:
        network: float32 (n, h, w, 3) 0 to 255 to (n, k) probabilities.
        path: of the `.onnx` file; whole or not at all.
        facts: of `lesionlab.inference.facts.Facts.to_json`; written into the file's metadata, each value as JSON.
        sample: uint8 (k, h, w, 3), real images to compare on.
        compact: store weights in 8 or 16 bits where that loses nothing, see `lesionlab.model.export.compact_weights`.

    Raises:
        LesionlabError: the export differs by more than 1e-4, or the network has an operation that ONNX lacks.

    """
    if keras.backend.backend() != "tensorflow":
        return by_tensorflow.export_by_tensorflow(network, path, facts, sample, compact=compact)
    import onnx

    takes_bytes = with_explanation(_without_groups(network))
    with replacing(path) as temporary:
        takes_bytes(np.zeros((1, *network.input_shape[1:]), np.uint8))  # Keras exports only what has been called
        with warnings.catch_warnings(), quiet("tf2onnx", logging.CRITICAL):  # what it cannot do the check below says
            warnings.simplefilter("ignore", FutureWarning)  # of NumPy, inside Keras's use of tf2onnx
            takes_bytes.export(temporary, format="onnx", verbose=False, opset_version=OPSET)
        model = onnx.load(temporary)
        make_plain(model.graph)
        if compact:
            store_compactly(model)
        onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
        try:
            onnx.checker.check_model(model, full_check=True)
        except onnx.checker.ValidationError as error:
            first = str(error).strip().splitlines()[0]
            raise LesionlabError(f"The network {network.name} cannot be written as ONNX: {first}") from error
        onnx.save(model, temporary)
        return proved("ONNX", network, onnx_probabilities(temporary), sample)


@contextmanager
def quiet(logger_name: str | None, level: int) -> Iterator[None]:
    """Keep what a library logs below a level off the terminal; None is the root logger."""
    logger = logging.getLogger(logger_name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def export_savedmodel(network: keras.Model, path: Path, facts: Mapping[str, object], sample: np.ndarray) -> float:
    """Write TensorFlow's SavedModel, a folder, with the facts beside it in `facts.json`; see `export_onnx`."""
    import tensorflow

    if path.exists() and not (path / "saved_model.pb").is_file():
        raise UsageError(f"{path} exists and is no SavedModel. Choose another with --out.")
    with replacing_folder(path) as temporary:
        # Of a network that takes a list of one input, as runs' networks did, TensorFlow would ask for such a list.
        plain = _without_groups(network)
        keras.Model(plain.inputs[0], plain.output).export(temporary, format="tf_saved_model", verbose=False)
        write_json(temporary / "facts.json", facts)
        loaded = tensorflow.saved_model.load(str(temporary))  # holds the weights while `serve` is used
        return proved("SavedModel", network, lambda pixels: loaded.serve(pixels.astype(np.float32)).numpy(), sample)


def export_litert(network: keras.Model, path: Path, facts: Mapping[str, object], sample: np.ndarray) -> float:
    """Write LiteRT's `.tflite`, with the facts beside it in `<file>.json`; see `export_onnx`."""
    import tensorflow

    with tempfile.TemporaryDirectory() as folder, replacing(path) as temporary:
        _without_groups(network).export(folder, format="tf_saved_model", verbose=False)
        try:
            data = tensorflow.lite.TFLiteConverter.from_saved_model(folder).convert()
        except (AttributeError, ImportError, tensorflow.lite.python.convert.ConverterError) as error:
            raise LesionlabError(f"TensorFlow {tensorflow.__version__} cannot write LiteRT here: {error}") from error
        temporary.write_bytes(data)
        difference = proved("LiteRT", network, _litert_probabilities(data), sample)
    write_json(path.with_name(path.name + ".json"), facts)
    return difference


def export_keras(network: keras.Model, path: Path, facts: Mapping[str, object], sample: np.ndarray) -> float:
    """Write a `.keras` file, with the facts beside it in `<file>.json`; see `export_onnx`."""
    with replacing(path) as temporary:
        network.save(temporary)
        loaded = load_network(temporary)
        difference = proved("Keras", network, lambda pixels: keras_probabilities(loaded, pixels), sample)
    write_json(path.with_name(path.name + ".json"), facts)
    return difference


def with_explanation(network: keras.Model) -> keras.Model:
    """Wrap the network: uint8 pixels in; probabilities, and where it can be had, activation maps and features out."""
    pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="image")
    image = keras.ops.cast(pixels, "float32")
    pool = global_average(network)
    if pool is None:
        return keras.Model(pixels, [network(image)])
    inner = keras.Model(network.inputs, [network.output, pool.input, pool.output])
    probabilities, last_map, features = inner(image)  # (n, k), (n, gh, gw, channels), (n, channels)
    kernel = network.get_layer("probabilities").get_weights()[0]  # (channels, k)
    head = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name="activation_maps")
    maps = head(last_map)  # (n, gh, gw, k)
    head.set_weights([kernel[None, None]])
    return keras.Model(pixels, [probabilities, maps, features])


def _without_groups(network: keras.Model) -> keras.Model:
    """Rebuild a network whose convolutions have a group for each channel (ConvNeXt's) with depthwise ones, which are the same.

    On a CPU TensorFlow computes grouped convolutions by XLA alone, which ONNX has no operator for.
    """
    layers = keras.layers

    def is_grouped(layer: keras.Layer) -> bool:
        return isinstance(layer, layers.Conv2D) and 1 < layer.groups == layer.filters == layer.input.shape[-1]

    def rebuilt(layer: keras.Layer) -> keras.Layer:
        choices = layer.get_config()
        if not is_grouped(layer):
            return type(layer).from_config(choices)
        same = ("name", "kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias")
        return layers.DepthwiseConv2D(**{name: choices[name] for name in same})

    if not any(map(is_grouped, network._flatten_layers())):
        return network
    plain = keras.models.clone_model(network, clone_function=rebuilt, recursive=True)
    kernels = zip(network.get_weights(), plain.weights, strict=True)  # (h, w, 1, channels) to (h, w, channels, 1)
    plain.set_weights([w if w.shape == to.shape else w.transpose(0, 1, 3, 2) for w, to in kernels])
    return plain


def _why_missing(what: str, needed: tuple[str, ...]) -> str:
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    return why_missing(what, ", ".join(missing), "cpu") if missing else ""


def global_average(network: keras.Model) -> Any:
    """Find the layer whose output the head weighs, if that is a global average; None otherwise (`notebook-cnn`)."""
    before = network.layers[: network.layers.index(network.get_layer("probabilities"))]
    for layer in reversed(before):
        if isinstance(layer, keras.layers.GlobalAveragePooling2D):
            return layer
        if not isinstance(layer, keras.layers.Dropout):
            return None
    return None


def _litert_probabilities(data: bytes) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow

    with warnings.catch_warnings(), without_start_up_lines():
        warnings.simplefilter("ignore", UserWarning)  # tells of LiteRT's new package; this one does the same
        interpreter = tensorflow.lite.Interpreter(model_content=data)
        interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def predict(pixels: np.ndarray) -> np.ndarray:
        rows = []
        for image in pixels.astype(np.float32):
            interpreter.set_tensor(taken, image[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(given)[0])
        return np.stack(rows)

    return predict


def _main(folder: Path, *options: str) -> None:
    """Write what another backend's process has laid into a folder; see `lesionlab.model.export.by_tensorflow`."""
    network = load_network(folder / by_tensorflow.NETWORK)
    facts = json.loads((folder / by_tensorflow.FACTS).read_text(encoding="utf-8"))
    sample = np.load(folder / by_tensorflow.SAMPLE)
    export_onnx(network, folder / by_tensorflow.ONNX, facts, sample, compact=by_tensorflow.AS_IT_IS not in options)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *sys.argv[2:])
