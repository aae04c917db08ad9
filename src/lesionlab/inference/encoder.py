"""An image encoder of others, as ONNX, with what its pixels must be in a small TOML file beside it.

    file = "dinov2-small.onnx"      # beside this file; the default is its name with .onnx
    height = 224
    width = 224
    mean = [0.485, 0.456, 0.406]    # of pixels from 0 to 1, red, green, blue
    std = [0.229, 0.224, 0.225]
    layout = "NCHW"                 # or NHWC
    output = "last_hidden_state"    # the default is its only output
    pool = "first"                  # of an output (n, tokens, d): its first token, or the "mean" of all

In: uint8 RGB pixels (b, height, width, 3). Out: features float32 (b, d).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from lesionlab.errors import LesionlabError, UsageError, nearest
from lesionlab.files import read_toml
from lesionlab.inference.bundle import make_session, read_model_file
from lesionlab.inference.facts import Side
from lesionlab.inference.onnx_scan import scan

Triple = tuple[float, float, float]
Spread = Annotated[float, msgspec.Meta(gt=0)]


class EncoderFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a TOML file says of an encoder.

    Attributes:
        height: of the input, in px; likewise `width`.
        file: the `.onnx` file, beside the TOML file.
        name: of the encoder.
        crop: `centre` or `stretch`, see `lesionlab.data.images.read_image`.
        scale: what the pixels, 0 to 255, are divided by before `mean` and `std`.
        mean: taken from each channel, red, green, blue.
        std: that each channel is divided by then.
        layout: `NCHW` or `NHWC`, the order of the input's axes.
        output: its name; the only one by default.
        pool: how features come from an output of three axes (n, tokens, d): its `first` token, or the `mean` of all.

    """

    height: Side
    width: Side
    file: str = ""
    name: str = ""
    crop: Literal["centre", "stretch"] = "centre"
    scale: Spread = 255.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: tuple[Spread, Spread, Spread] = (1.0, 1.0, 1.0)
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    output: str = ""
    pool: Literal["", "first", "mean"] = ""


@dataclass(frozen=True)
class Encoder:
    """An open encoder: an `onnxruntime.InferenceSession` on the CPU, its facts, and the bytes of its file."""

    session: Any
    facts: EncoderFacts
    data: bytes = field(repr=False)
    where: str = ""

    @property
    def sha256(self) -> str:
        """SHA-256 of the file and of what decides its pixels: features of other ones are other features."""
        decides = msgspec.structs.replace(self.facts, file="", name="")
        return hashlib.sha256(self.data + msgspec.json.encode(decides)).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as the bytes of the file: a session cannot."""
        return _open, (self.data, self.facts, self.where)

    def run(self, outputs: Sequence[str], pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the encoder; gives `features`, float32 (b, d), the one output that it has.

        Args:
            outputs: `features`.
            pixels: uint8 (b, height, width, 3).

        Raises:
            LesionlabError: ONNX Runtime fails, or what comes out is no row of numbers an image.

        """
        facts, (given,) = self.facts, self.session.get_inputs()
        mean, std = np.asarray(facts.mean, np.float32), np.asarray(facts.std, np.float32)
        image = (pixels.astype(np.float32) / np.float32(facts.scale) - mean) / std
        image = np.ascontiguousarray(image.transpose(0, 3, 1, 2)) if facts.layout == "NCHW" else image
        image = image.astype(np.float16) if given.type == "tensor(float16)" else image
        is_single = given.shape[0] == 1  # a file that was exported for one image takes no more
        try:
            parts = [image[i : i + 1] for i in range(len(image))] if is_single else [image]
            made = [self.session.run([facts.output], {given.name: part})[0] for part in parts]
        except Exception as error:  # ONNX Runtime's exceptions share no base class of its own
            first = " ".join(str(error).split())[:200]
            raise LesionlabError(f"ONNX Runtime fails on the encoder {facts.name!r}: {first}") from error
        return {"features": self._pooled(np.concatenate(made).astype(np.float32))}

    def _pooled(self, made: np.ndarray) -> np.ndarray:
        if made.ndim == 3 and self.facts.pool:
            made = made[:, 0] if self.facts.pool == "first" else made.mean(axis=1)
        if made.ndim != 2:
            raise UsageError(_wrong_axes(self.where, self.facts, list(made.shape), self.session))
        if not np.isfinite(made).all():
            raise LesionlabError(
                f"The encoder {self.facts.name!r} gives features that are no numbers: check scale, mean and std in "
                f"{self.where}."
            )
        return made


def open_encoder(path: str | Path) -> Encoder:
    """Open an encoder by its TOML file.

    Raises:
        UsageError: no such file, a key or value that is not valid, an ONNX file that is missing, damaged, reaches outside
            itself, or does not take and give what the TOML says.

    """
    path = Path(path)
    values = read_toml(str(path), "encoders")
    if values is None:
        raise UsageError(f"There is no encoder file {path}. Give a .toml file with height, width and output.")
    try:
        facts = msgspec.convert(values, EncoderFacts)
    except msgspec.ValidationError as error:
        hint = next((nearest(key, EncoderFacts.__struct_fields__) for key in values if f"`{key}`" in str(error)), "")
        raise UsageError(
            f"{path}: {error}{hint}. Keys of an encoder: {', '.join(EncoderFacts.__struct_fields__)}."
        ) from error
    file = path.parent / (facts.file or f"{path.stem}.onnx")
    facts = msgspec.structs.replace(facts, name=facts.name or path.stem)
    return _open(read_model_file(file), facts, str(path))


def _open(data: bytes, facts: EncoderFacts, where: str) -> Encoder:
    try:
        _, danger = scan(data)
    except ValueError as error:
        raise UsageError(f"The ONNX file of {where} is damaged, or is none ({error}). Copy it again.") from error
    if danger:
        raise UsageError(f"The ONNX file of {where} is refused: it {danger}. Export it as one file of plain operators.")
    session = make_session(data, Path(where))
    facts = msgspec.structs.replace(facts, output=_output(session, facts, where))
    _check_input(session, facts, where)
    shape = next(item.shape for item in session.get_outputs() if item.name == facts.output)
    if shape and len(shape) != (3 if facts.pool else 2):
        raise UsageError(_wrong_axes(where, facts, shape, session))
    return Encoder(session, facts, data, where)


def _output(session: Any, facts: EncoderFacts, where: str) -> str:
    names = [item.name for item in session.get_outputs()]
    if facts.output in names or (not facts.output and len(names) == 1):
        return facts.output or names[0]
    if not facts.output:
        raise UsageError(
            f"{where}: the encoder has {len(names)} outputs: name one with output = (of {', '.join(names)})."
        )
    raise UsageError(
        f"{where}: the encoder has no output {facts.output!r}{nearest(facts.output, names)}; it has {', '.join(names)}."
    )


def _check_input(session: Any, facts: EncoderFacts, where: str) -> None:
    size = [3, facts.height, facts.width] if facts.layout == "NCHW" else [facts.height, facts.width, 3]
    inputs = session.get_inputs()
    fits = len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].type in ("tensor(float)", "tensor(float16)")
    if fits and all(
        not isinstance(is_, int) or is_ == wanted for is_, wanted in zip(inputs[0].shape[1:], size, strict=True)
    ):
        return
    found = "; ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
    raise UsageError(
        f"{where} says one float input (n, {', '.join(map(str, size))}), {facts.layout}; the file takes {found}. Correct height, "
        "width and layout."
    )


def _wrong_axes(where: str, facts: EncoderFacts, shape: Sequence[object], session: Any) -> str:
    axes = f"({', '.join(map(str, shape))})"
    if len(shape) == 3:
        remedy = (
            'Add pool = "first" for its first token (the class token of a transformer) or pool = "mean" for their mean'
        )
    elif len(shape) == 2:
        remedy = "Leave out pool, which is for tokens"
    else:
        remedy = "Name another output, or export the encoder with a global average at its end"
    others = [item.name for item in session.get_outputs() if item.name != facts.output]
    more = f"; other outputs: {', '.join(others)}" if others else ""
    return (
        f"{where}: the output {facts.output!r} has {len(shape)} axes {axes}; features are a row of numbers for each image, "
        f"(n, d). {remedy}{more}."
    )
