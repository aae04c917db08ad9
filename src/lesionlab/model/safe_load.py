"""Keras files of others, opened without trust: nothing in them runs and no other file is read.

A `.keras` file is a ZIP archive with a `config.json` that names classes to build, and HDF5 weights. Keras's own safe mode
has been passed by several times (CVE-2025-1550, -8747, -9905, -9906), so the configuration is read here first, and only the
classes that lesionlab's own networks are made of are let through; HDF5 files may hold no pointer to another file.
"""

import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lesionlab.errors import UsageError

if TYPE_CHECKING:
    import keras

MAX_CONFIG_BYTES = 32 * 2**20
MAX_WEIGHTS_BYTES = 2 * 2**30

_MEMBERS = {"metadata.json": MAX_CONFIG_BYTES, "config.json": MAX_CONFIG_BYTES, "model.weights.h5": MAX_WEIGHTS_BYTES}
_LAYERS = (
    "Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Cropping2D Dense DepthwiseConv2D Dropout "
    "Flatten GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization InputLayer LayerNormalization MaxPooling2D Multiply "
    "Normalization ReLU Rescaling Reshape SeparableConv2D ZeroPadding2D"
)
_INITIALIZERS = (
    "Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal Ones RandomNormal RandomUniform TruncatedNormal "
    "VarianceScaling Zeros"
)
_CLASSES = {
    "keras": {"DTypePolicy", "Sequential"},
    "keras.layers": set(_LAYERS.split()),
    "keras.initializers": set(_INITIALIZERS.split()),
    "keras.regularizers": {"L1", "L2", "L1L2"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.applications.convnext": {"LayerScale"},
    "keras.src.applications.inception_resnet_v2": {"CustomScaleLayer"},
    "keras.src.ops.core": {"Cast"},
    "keras.src.ops.numpy": set("Add Divide Flip GreaterEqual Max Multiply Subtract Sum TrueDivide".split()),
}


def load_network(path: Path) -> "keras.Model":
    """Load a classifier from a `.keras` file.

    Returns:
        A model from float32 (n, height, width, 3), RGB 0 to 255, to float32 (n, k), probabilities of k diagnoses, two or more.

    Raises:
        UsageError: no such file, another format (whole models in `.h5` can carry code), damaged, a class that is not
            among Keras's plain layers, weights that point to other files, or another task's network.

    """
    check_network_file(path)
    from lesionlab.model.backend import keras

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns of layers that it leaves random
            network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, AttributeError, RuntimeError, UserWarning) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UsageError(f"{path} cannot be loaded by Keras {keras.__version__}: {first}") from error
    shapes = getattr(network, "input_shape", None), getattr(network, "output_shape", None)
    if not (isinstance(shapes[0], tuple) and len(shapes[0]) == 4 and shapes[0][3] == 3 and _is_distribution(shapes[1])):
        raise UsageError(f"{path} is no classifier of RGB images into diagnoses: its shapes are {shapes}.")
    return network


def _is_distribution(shape: object) -> bool:
    """Whether an output's shape is (n, k), of two diagnoses or more."""
    return isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[1], int) and shape[1] >= 2


def check_network_file(path: Path) -> None:
    """Look through a `.keras` file without building anything from it; see `load_network` for what is refused."""
    if not path.is_file():
        raise UsageError(f"There is no model file {path}.")
    if path.suffix != ".keras":
        raise UsageError(
            f"{path} is not read: only .keras files are, because models in .h5 and other formats can carry code. "
            "Save yours with model.save('name.keras')."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            config = json.loads(archive.read("config.json"))
            for name in _foreign_classes(config):
                raise UsageError(
                    f"{path} is refused: it needs {name}. Only Keras's own plain layers are read, because any other class "
                    "can carry code."
                )
            with archive.open("model.weights.h5") as weights:
                check_hdf5(BytesIO(weights.read()), str(path))
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, ValueError, RecursionError, NotImplementedError) as error:
        raise UsageError(f"{path} is no .keras file, or is damaged ({error}). Copy it again.") from error


def check_weights_file(path: Path) -> None:
    """Refuse a weights file that is missing, of another format, or that points to other files.

    Raises:
        UsageError: says which, and what is read instead.

    """
    if not path.is_file():
        raise UsageError(f"There is no weights file {path}. Give a .weights.h5 file, 'imagenet' or 'none'.")
    if path.suffix != ".h5":
        raise UsageError(
            f"{path} is not read: only Keras 3 weights files (.weights.h5) and those that Keras publishes (…_no_top.h5) are. "
            "Save yours with model.save_weights('name.weights.h5')."
        )
    with path.open("rb") as file:
        check_hdf5(file, str(path))
        if not path.name.endswith(".weights.h5"):
            _check_published_weights(file, path)


def _check_published_weights(file: IO[bytes], path: Path) -> None:
    """Let through what Keras publishes as ImageNet weights (`…_no_top.h5`): arrays by layer, and no model."""
    import h5py

    file.seek(0)
    with h5py.File(file, "r") as group:
        is_model = "model_config" in group.attrs or "model_weights" in group
        has_layers = "layer_names" in group.attrs
    if is_model or not has_layers:
        what = "a whole model in .h5, which can carry code" if is_model else "no file of weights that Keras knows"
        raise UsageError(
            f"{path} is not read: it is {what}. Read are .weights.h5 files and the weights that Keras publishes (…_no_top.h5). "
            "Save yours with model.save_weights('name.weights.h5')."
        )


def check_hdf5(file: IO[bytes], where: str) -> None:
    """Refuse an HDF5 file that points to other files, or that would grow when it is read.

    An HDF5 file can hold links and data sets that lie in other files, and a data set of any size in a few bytes.

    Raises:
        UsageError: it does, or is no HDF5 file.

    """
    import h5py

    size = file.seek(0, 2)
    file.seek(0)
    try:
        with h5py.File(file, "r") as group:
            declared = sum(_sizes(group, where, set()))
    except OSError as error:
        raise UsageError(f"{where} is not a readable HDF5 file ({error}). Is it truncated? Copy it again.") from error
    if declared > size:
        raise UsageError(f"{where} is refused: its data sets declare {declared:,} bytes, the file has {size:,}.")


def _sizes(group: Any, where: str, seen: set[Any]) -> Iterator[int]:
    """Yield the size of each data set, in bytes; a group that is linked from inside itself is entered once."""
    import h5py

    if group.id in seen:
        return
    seen.add(group.id)
    for key in group:
        link = group.get(key, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise UsageError(f"{where} is refused: it points to data in other files.")
        if not isinstance(link, h5py.HardLink):
            continue
        item = group.get(key)
        if isinstance(item, h5py.Group):
            yield from _sizes(item, where, seen)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise UsageError(f"{where} is refused: it points to data in other files.")
            yield item.nbytes


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse members that lesionlab never writes, and compressed ones: Keras stores them as they are."""
    names = archive.namelist()
    if sorted(names) != sorted(_MEMBERS):
        raise UsageError(
            f"{path} is refused: it holds {', '.join(names[:5]) or 'nothing'}; expected {', '.join(_MEMBERS)}."
        )
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise UsageError(f"{path} is refused: {member.filename} is compressed, which Keras does not do.")
        if member.file_size > _MEMBERS[member.filename]:
            raise UsageError(f"{path} is refused: {member.filename} has {member.file_size / 2**20:,.0f} MiB.")


def _foreign_classes(config: Any) -> Iterator[str]:
    """Yield the classes in a model's configuration that are not let through.

    How the model was compiled is left out at the top, as it is on loading.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError("config.json describes no model")
    yield from _foreign_in({key: value for key, value in config.items() if key != "compile_config"})


def _foreign_in(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _foreign_in(item)
    if not isinstance(value, dict):
        return
    if "class_name" in value and not _is_plain(value):
        yield f"the class {value.get('module') or '?'}.{value['class_name']}"[:200]
    for item in value.values():
        yield from _foreign_in(item)


def _is_plain(value: Mapping[str, object]) -> bool:
    module, name, registered = value.get("module"), value["class_name"], value.get("registered_name")
    if not isinstance(name, str) or (module is not None and not isinstance(module, str)):
        return False
    if name == "__keras_tensor__":
        return module is None and registered is None
    return name in _CLASSES.get(module or "", ()) and registered in (None, name)
