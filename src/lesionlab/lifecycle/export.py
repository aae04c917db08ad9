"""`lesionlab export`: a run directory in, one file out in the format asked for, proved on the run's own images."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.data.images import ImageError, read_image
from lesionlab.data.layouts.joined import folder_of_row
from lesionlab.data.statistics import encode_labels
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.files import replacing
from lesionlab.inference.facts import Facts
from lesionlab.lifecycle.prepare import collection_of
from lesionlab.model.export import EXPORT_FORMATS, onnx, ood_score
from lesionlab.model.export.int8 import ALLOWED_LOSS, Quantised, quantise
from lesionlab.model.safe_load import load_network
from lesionlab.recipe import ImageChoice
from lesionlab.runs import directory
from lesionlab.runs.directory import RunDirectory, damaged
from lesionlab.runs.model_facts import facts_of_refit, facts_of_run

SAMPLE = 64
CALIBRATION = 256
_FILES = dict(
    zip(
        EXPORT_FORMATS,
        ("model.onnx", "model-int8.onnx", "model.tflite", "savedmodel", "exported.keras"),
        strict=True,
    )
)
_FINAL_FILES = dict(
    zip(
        EXPORT_FORMATS,
        ("final.onnx", "final-int8.onnx", "final.tflite", "final-savedmodel", "final-exported.keras"),
        strict=True,
    )
)
_GONE = "An export is proved on them; put them back, or use the run's own model.onnx and model.keras."
_OF_THE_RUN = ("model.onnx", "model.keras", "final.onnx", directory.FINAL)
_WRITERS = {
    "litert": onnx.export_litert,
    "savedmodel": onnx.export_savedmodel,
    "keras": onnx.export_keras,
}


@dataclass(frozen=True)
class Exported:
    """What was written, and the proof: the largest difference in probability, or for int8 the comparison; the score in words."""

    path: Path
    images: int
    largest_difference: float | None = None
    quantised: Quantised | None = None
    ood_score: str = ""

    def in_words(self) -> str:
        """Say what was written, and the proof, a line each."""
        lines = [f"{self.path} written."]
        if self.ood_score:
            lines.append(f"{self.ood_score[0].upper()}{self.ood_score[1:]}.")
        if self.quantised is None:
            how = f"{self.largest_difference:.0e} in probability on {self.images} test images."
            return "\n".join([*lines, f"Largest difference from Keras: {how}"])
        result = self.quantised
        lines.append(
            f"Balanced accuracy on {result.images:,} {result.evaluated_on}: {result.balanced_accuracy:.4f}, float32 "
            f"{result.balanced_accuracy_float32:.4f}; {result.same_answers:.1%} same diagnosis; {result.size / 1e6:.1f} MB, "
            f"float32 {result.size_float32 / 1e6:.1f} MB."
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class _Source:
    """A run's folder, network, facts, image choice, and its images: `image_id`, `dx`, `part`, `path`, `origin`."""

    folder: Path
    network: Any
    facts: Facts
    image: ImageChoice
    table: pd.DataFrame

    def pixels(self, part: str, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Pixels uint8 (n, height, width, 3) and labels (n,) of a part, or of `most` images chosen from it."""
        chosen = self.choose(part, most)
        return self.read(chosen), encode_labels(chosen["dx"], self.facts.taxonomy)

    def choose(self, part: str, most: int | None = None) -> pd.DataFrame:
        """Rows of a part, or `most` of them, drawn at random."""
        chosen = self.table[self.table["part"] == part]
        if chosen.empty:
            raise damaged(self.folder, f"its splits.csv has no image of the part {part!r}")
        return chosen.sample(most, random_state=0) if most is not None and len(chosen) > most else chosen

    def read(self, rows: pd.DataFrame) -> np.ndarray:
        """Pixels uint8 (n, height, width, 3) of rows of the table."""
        image = self.image
        try:
            return np.stack([read_image(Path(path), image.height, image.width, image.crop) for path in rows["path"]])
        except ImageError as error:
            raise LesionlabError(f"An image of the run cannot be read any more: {error}") from error


def export_run(
    folder: Path, format: str, out: Path | None = None, *, is_final: bool = False, allowed_loss: float = ALLOWED_LOSS
) -> Exported:
    """Write a run's model in another format.

    Args:
        folder: of a finished run.
        format: one of `EXPORT_FORMATS`.
        out: the file (for `savedmodel` the folder); in the run directory by default.
        is_final: the network that `lesionlab train` has made in place of the run's own.
        allowed_loss: of balanced accuracy, 0 to 1, by int8.

    Raises:
        UsageError: no finished run, no final network, a format that this installation cannot write, or an `out` that is no file
            of the format's or one of a run's own files.
        LesionlabError: the run's images are gone, or the export is not equal to its source; nothing is written then.

    """
    _refuse_what_is_not_installed(format)
    run = directory.open_run(folder)
    if is_final and not (folder / directory.FINAL).is_file():
        raise UsageError(f"{folder} holds no {directory.FINAL}: make it first, by lesionlab train {folder}.")
    usual = folder / (_FINAL_FILES if is_final else _FILES)[format]
    path = out or usual
    refuse_other_files(path, usual, format)
    source = _read_source(run, is_final=is_final)
    sample, _ = source.pixels("test", SAMPLE)
    if format == "onnx":
        with replacing(path) as temporary:
            difference = onnx.export_onnx(source.network, temporary, source.facts.to_json(), sample)
            score = _with_ood_score(source, temporary)
        return Exported(path, len(sample), difference, ood_score=score)
    if format != "onnx-int8":
        return Exported(path, len(sample), _WRITERS[format](source.network, path, source.facts.to_json(), sample))
    calibration, _ = source.pixels("train", CALIBRATION)
    return write_int8(
        path,
        lambda plain: onnx.export_onnx(source.network, plain, source.facts.to_json(), sample, compact=False),
        source.facts,
        calibration,
        source.pixels("validation"),
        lambda written: _with_ood_score(source, written),
        evaluated_on="validation images" + (", trained on as well" if is_final else ""),
        allowed_loss=allowed_loss,
    )


def write_int8(
    path: Path,
    write_float32: Callable[[Path], object],
    facts: Facts,
    calibration: np.ndarray,
    labelled: tuple[np.ndarray, np.ndarray],
    add_score: Callable[[Path], str],
    *,
    evaluated_on: str,
    allowed_loss: float,
) -> Exported:
    """Write a model as int8, with a score of what is no lesion; whole or not at all.

    Args:
        path: of the int8 file.
        write_float32: writes the float32 file that it is made of to a path.
        facts: of the float32 model.
        calibration: pixels, uint8 (k, height, width, 3).
        labelled: pixels, likewise (n, ...), and their labels (n,).
        add_score: gives the file at a path its score, and says so in words.
        evaluated_on: what `labelled` is, in words.
        allowed_loss: of balanced accuracy, 0 to 1.

    Raises:
        LesionlabError: int8 loses more than allowed.

    """
    named = dataclasses.replace(facts, name=f"{facts.name}-int8").to_json()
    with replacing(path) as temporary:
        source = temporary.with_name(f"{temporary.stem}-float32.onnx")
        try:
            write_float32(source)
            result = quantise(
                source, temporary, named, calibration, *labelled, evaluated_on=evaluated_on, allowed_loss=allowed_loss
            )
        finally:
            source.unlink(missing_ok=True)
        score = add_score(temporary)
    return Exported(path, result.images, quantised=result, ood_score=score)


def _with_ood_score(source: _Source, path: Path) -> str:
    training = source.choose("train", ood_score.MOST_TRAINING)
    table = pd.concat([training, source.choose("validation", ood_score.MOST_REFERENCE)])
    rows, cut, origin = np.arange(len(table)), len(training), table["origin"].to_numpy()
    score = ood_score.add_ood_score(path, source.read(table), rows[:cut], rows[cut:], origin)
    return ood_score.in_words(score)


def _read_source(run: RunDirectory, *, is_final: bool = False) -> _Source:
    folder = run.folder
    collection = collection_of(run, _GONE)
    there = collection.table[["image_id", "path"]].assign(origin=folder_of_row(collection))
    table = run.splits().merge(there, on="image_id", how="left")
    gone = table.loc[table["path"].fillna("") == "", "image_id"]
    if len(gone):
        raise LesionlabError(f"{len(gone):,} images of the run are gone ({', '.join(gone[:5])}). Put them back.")
    image = run.recipe.image
    facts = facts_of_refit(run) if is_final else facts_of_run(run)
    file = folder / (directory.FINAL if is_final else "model.keras")
    network = load_network(file)
    if tuple(network.input_shape[1:3]) != (image.height, image.width):
        raise LesionlabError(
            f"{file} takes other images than {directory.RECIPE} has it: one of the two is another run's. Repeat the run with "
            "--again."
        )
    if network.output_shape[1] != len(facts.taxonomy):
        raise LesionlabError(
            f"{file} gives {network.output_shape[1]} probabilities, and {directory.MANIFEST} names {len(facts.taxonomy)} "
            "diagnoses: one of the two is another run's. Repeat the run with --again."
        )
    return _Source(folder, network, facts, image, table)


def _refuse_what_is_not_installed(format: str) -> None:
    reason = ""
    if format in ("onnx", "onnx-int8"):
        reason = onnx.why_no_onnx()
    elif format in ("litert", "savedmodel"):
        reason = onnx.why_no_tensorflow({"litert": "LiteRT", "savedmodel": "SavedModel"}[format])
    if reason:
        raise UsageError(f"The format {format} cannot be written here: {reason}.")


def refuse_other_files(path: Path, usual: Path, format: str) -> None:
    """Refuse a folder that is not there, a name that is not the format's, a folder for a file, and a run's own models."""
    if not path.parent.is_dir():
        raise UsageError(f"The folder {path.parent} does not exist. Choose another file with --out.")
    suffix = usual.suffix
    if suffix and path.suffix.lower() != suffix:
        raise UsageError(f"{path} does not end in {suffix}, as a file of the format {format} does. Change --out.")
    if suffix and path.is_dir():
        raise UsageError(f"{path} is a folder. Choose a file with --out.")
    is_default = path.resolve() == usual.resolve()
    if path.name in _OF_THE_RUN and (path.parent / directory.MANIFEST).exists() and not is_default:
        raise UsageError(f"{path} is a run's own model. Choose another file with --out.")
