"""An ONNX model in 8-bit integers: calibrated on training images, kept only if it is as good on validation images.

Quantise-dequantise pairs (QDQ), weights int8 with a scale per output channel, activations uint8. The head (global average,
dense, softmax, activation maps) stays float32: it is a thousandth of the work and gives the probabilities. So do the first
seven convolutions: of the packaged MobileNetV2, 97.6 % of the predictions on 1,021 validation images are then those of float32,
with thirteen as many, with three 88.8 %. (MobileNet at 128 px: three 93 %, two 91 %, none 83 %.) Other ways of calibration,
or 16-bit activations, changed nothing.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.evaluation.metrics import headline
from lesionlab.files import replacing
from lesionlab.inference.bundle import are_probabilities
from lesionlab.model.export.head import HEAD_NAME
from lesionlab.model.export.onnx import quiet
from lesionlab.model.export.proof import onnx_probabilities

ALLOWED_LOSS = 0.01
_BATCH = 16
_FLOAT_CONVOLUTIONS = 7
_HEAD = re.compile(rf"probabilities|activation_maps|^{HEAD_NAME}\d*/")


@dataclass(frozen=True)
class Quantised:
    """An int8 model against its float32 source: balanced accuracy 0 to 1, size in bytes; `evaluated_on` says on what images."""

    images: int
    evaluated_on: str
    balanced_accuracy: float
    balanced_accuracy_float32: float
    same_answers: float
    size: int
    size_float32: int


def quantise(
    source: Path,
    path: Path,
    facts: Mapping[str, object],
    calibration: np.ndarray,
    validation: np.ndarray,
    labels: np.ndarray,
    *,
    evaluated_on: str = "validation images",
    allowed_loss: float = ALLOWED_LOSS,
) -> Quantised:
    """Write `source` (a float32 `.onnx` of `export_onnx`) as int8 to `path`; whole or not at all.

    Args:
        source: the float32 model.
        path: of the int8 model.
        facts: of `lesionlab.inference.facts.Facts.to_json`.
        calibration: uint8 (k, h, w, 3), training images; 100 to 500 are enough.
        validation: uint8 (n, h, w, 3), images of the validation part.
        labels: integers (n,), places in the taxonomy.
        evaluated_on: what `validation` is, in words, for terminal and card.
        allowed_loss: of balanced accuracy; 0.01 is one point.

    Raises:
        LesionlabError: balanced accuracy on the validation part falls by more than allowed, or the file gives no probabilities.

    """
    import onnx

    with replacing(path) as temporary:
        with quiet(None, logging.ERROR):  # the quantiser's advice goes to the root logger
            _quantise_file(source, temporary, calibration)
        before, after = onnx_probabilities(source)(validation), onnx_probabilities(temporary)(validation)
        _refuse_no_probabilities(after)
        result = Quantised(
            images=len(labels),
            evaluated_on=evaluated_on,
            balanced_accuracy=headline(labels, after).balanced_accuracy,
            balanced_accuracy_float32=headline(labels, before).balanced_accuracy,
            same_answers=float((before.argmax(axis=1) == after.argmax(axis=1)).mean()),
            size=temporary.stat().st_size,
            size_float32=source.stat().st_size,
        )
        loss = result.balanced_accuracy_float32 - result.balanced_accuracy
        if loss > allowed_loss:
            raise LesionlabError(
                f"The int8 export loses {100 * loss:.1f} points of balanced accuracy on {len(labels):,} {evaluated_on} "
                f"(allowed: {100 * allowed_loss:.1f}); nothing was written. Use the float32 file, --format onnx, or accept the "
                "loss with --allowed-loss POINTS."
            )
        model = onnx.load(temporary)
        facts = {**facts, "card": f"{_about(result)}{facts['card']}"}
        onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
        onnx.save(model, temporary)
    return result


def _refuse_no_probabilities(found: np.ndarray) -> None:
    """Refuse what `lesionlab predict` would call damaged."""
    if not are_probabilities(found):
        raise LesionlabError(
            "The int8 export gives no probabilities: those of an image do not sum to 1. Nothing was written. Use the float32 "
            "file, --format onnx."
        )


def _about(result: Quantised) -> str:
    """Say above the card whose figures it has, and how far this file is from that one."""
    return (
        "> This file computes in 8-bit integers; the figures below are those of its float32 form. On "
        f"{result.images:,} {result.evaluated_on}, {result.same_answers:.1%} of the predicted diagnoses are the same, "
        f"and balanced accuracy is {result.balanced_accuracy:.3f}, of float32 {result.balanced_accuracy_float32:.3f}.\n\n"
    )


def _quantise_file(source: Path, path: Path, calibration: np.ndarray) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        """Gives the calibration images batch by batch, then None."""

        def __init__(self) -> None:
            self._batches = iter(range(0, len(calibration), _BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            at = next(self._batches, None)
            return None if at is None else {"image": calibration[at : at + _BATCH]}

    quant_pre_process(source, path, skip_symbolic_shape=True)
    quantize_static(
        path,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,  # weights of 7 bits: sums of 8-bit products saturate on processors without VNNI
        op_types_to_quantize=["Conv", "Add", "Mul", "MaxPool", "AveragePool", "Concat", "Clip", "Relu"],
        nodes_to_exclude=_kept_float(path),
    )


def _kept_float(path: Path) -> list[str]:
    """Name the nodes that stay float32: the first convolutions, the head, and whatever follows it.

    The head is known by the Keras layers that it comes from, or, where `lesionlab.model.export.head` put it in, by the names
    there; the decision rule follows it, and probabilities in 8 bits would sum to 1 no more.
    """
    import onnx

    nodes = onnx.load(path).graph.node  # in the order in which they are computed
    first = [node.name for node in nodes if node.op_type == "Conv"][:_FLOAT_CONVOLUTIONS]
    head: list[str] = []
    given: set[str] = set()  # by the head, and by what follows it
    for node in nodes:
        if _HEAD.search(node.name) or given.intersection(node.input):
            head.append(node.name)
            given.update(node.output)
    return first + head
