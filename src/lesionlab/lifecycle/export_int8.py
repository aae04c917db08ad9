"""`lesionlab export MODEL --format onnx-int8 --data DIR`: a model file in 8-bit integers, where its run is not at hand.

In: a `.onnx` file of lesionlab's, or the name of one that comes with it, and a folder of images with their diagnoses. Out: the
same model as int8, calibrated on some of the images and held against the float32 file on others.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.data.images import ImageError, read_image
from lesionlab.data.layouts.joined import read_data
from lesionlab.data.statistics import encode_labels
from lesionlab.errors import UsageError
from lesionlab.folders import Data, as_data, named
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.facts import Facts
from lesionlab.lifecycle.export import (
    CALIBRATION,
    Exported,
    refuse_other_files,
    write_int8,
)
from lesionlab.model.export.head import refuse_without_onnx
from lesionlab.model.export.int8 import ALLOWED_LOSS
from lesionlab.model.export.ood_score import MOST_REFERENCE, MOST_TRAINING, add_ood_score, in_words, without_score
from lesionlab.progress import track

_LEAST = 2 * CALIBRATION
_MOST = CALIBRATION + MOST_TRAINING + MOST_REFERENCE


def export_file(
    source: Path, data: Path | Sequence[Path], out: Path | None = None, *, allowed_loss: float = ALLOWED_LOSS
) -> Exported:
    """Write a float32 model file as int8.

    Args:
        source: a `.onnx` file, a run directory or a packaged model's name, as `open_bundle` takes it.
        data: a folder of images with diagnoses, or several; 2,756 at most are chosen, the same each time: 256 to
            calibrate, the others to test.
        out: the file; by default the model's name and `-int8.onnx`, in the current folder.
        allowed_loss: of balanced accuracy, 0 to 1.

    Raises:
        UsageError: no such model, one of 8-bit integers, fewer than 512 images that can be read, or an `out` that is no `.onnx`
            file; or the package `onnx` is not installed.
        LesionlabError: int8 loses more than allowed; nothing is written then.

    """
    refuse_without_onnx("The format onnx-int8")
    bundle = open_bundle(source)
    usual = Path(f"{bundle.facts.name}-int8.onnx")
    path = out or usual
    refuse_other_files(path, usual, "onnx-int8")
    if path.resolve() == source.resolve():
        raise UsageError(f"{path} is the model itself. Choose another file with --out.")
    model, facts = _float32(bundle, source)
    pixels, labels = _choose_images(as_data(data), bundle)
    others = pixels[CALIBRATION:]
    cut = len(others) * MOST_TRAINING // (MOST_TRAINING + MOST_REFERENCE)

    def add_score(written: Path) -> str:
        rows = np.arange(len(others))
        return in_words(add_ood_score(written, others, rows[:cut], rows[cut:])) if bundle.has_ood_score else ""

    return write_int8(
        path,
        lambda plain: plain.write_bytes(model.SerializeToString()),
        facts,
        pixels[:CALIBRATION],
        (others, labels[CALIBRATION:]),
        add_score,
        evaluated_on="images that the model may have been trained on",
        allowed_loss=allowed_loss,
    )


def _float32(bundle: Bundle, source: Path) -> tuple[Any, Facts]:
    """The model without its out-of-distribution score, which is fitted anew, and its facts without it."""
    import onnx

    model = onnx.load_model_from_string(bundle.data)
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise UsageError(f"{source} is a model of 8-bit integers already. Give the float32 file that it was made of.")
    return without_score(model), dataclasses.replace(bundle.facts, ood=None)


def _choose_images(data: Data, bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 (n, height, width, 3), and labels (n,) of images chosen at random; what cannot be read is passed over."""
    collection = read_data(data, bundle.facts.taxonomy)
    table = collection.table
    there = table[table["path"] != ""]
    chosen = there.sample(min(len(there), _MOST), random_state=0)
    facts, images, diagnoses = bundle.facts, [], []
    for path, dx in track(list(zip(chosen["path"], chosen["dx"], strict=True)), "reading images"):
        try:
            images.append(read_image(Path(path), facts.height, facts.width, facts.crop))
            diagnoses.append(dx)
        except ImageError:
            continue
    if len(images) < _LEAST:
        raise UsageError(
            f"{named(data)} has {len(images):,} images that can be read; int8 needs at least {_LEAST}: to calibrate "
            "on, and to test on. Give a folder of more, or use the float32 file as it is."
        )
    return np.stack(images), encode_labels(pd.Series(diagnoses), bundle.facts.taxonomy)
