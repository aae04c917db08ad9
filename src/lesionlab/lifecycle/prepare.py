"""Steps 1 to 4 and 6 to 10 of a run, one function for those that belong together; each calls a room that can be used alone.

What a step finds goes onto the terminal; what the next step and the manifest need is returned.
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab._version import __version__
from lesionlab.data import local_features
from lesionlab.data.clean import Cleaned, clean
from lesionlab.data.duplicates import MIN_SIDE_PX, near_duplicates
from lesionlab.data.groups import take_lesions
from lesionlab.data.known_matches import kept_matches, known_matches
from lesionlab.data.layouts.image_types import kinds_of_recipe
from lesionlab.data.layouts.joined import count_images, read_data
from lesionlab.data.layouts.metadata import PATIENT
from lesionlab.data.layouts.recognise import Collection
from lesionlab.data.phantom import write
from lesionlab.data.pixels import PixelCache, decode_images
from lesionlab.data.split import SPLIT_COLUMNS, check_source, describe_parts, split
from lesionlab.data.split_proof import count_patients, prove, unseen
from lesionlab.data.split_proof import in_words as proof_in_words
from lesionlab.data.statistics import channel_statistics, encode_labels
from lesionlab.environment import default_cache_dir, record_environment
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.files import write_csv
from lesionlab.folders import as_written, each, named
from lesionlab.lifecycle.values import CleanData, Run, SplitData
from lesionlab.recipe import ImageChoice
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.manifest import DataFacts, Environment, PartCounts, Patients, PixelFacts, SplitFacts
from lesionlab.runs.stages import Step, say
from lesionlab.taxonomy import Taxonomy

DEMO_LESIONS = 700
DEMO_SIZE_PX = (225, 300)
LOOK_PX = 128  # near-duplicates were measured at this size


def record_libraries(run: Run) -> Environment:
    """Step 1. Keras is imported here and not before: it takes seconds. Devices that are not there are said here."""
    with run.stages.step(Step.LIBRARIES):
        from lesionlab.model import backend, devices

        recipe = run.request.recipe
        backend.seed_everything(run.request.seed)
        devices.join_hosts()
        with devices.spread(run.request.devices, recipe.optimizer.batch_size):
            pass
        name, device = backend.keras.backend.backend(), backend.device_name()
        say(f"lesionlab {__version__}, Keras {backend.keras.__version__} on {name}, {device}")
        return Environment(**record_environment(), backend=name, device=device)


def prepare(run: Run) -> CleanData:
    """Steps 2 to 4: find the images, read the metadata, decode and look at every image, clean."""
    request, image = run.request, run.request.recipe.image
    with run.stages.step(Step.IMAGES):
        folder = request.data or _generated_folder(request.seed)
        say(f"{count_images(folder):,} images in {named(folder)}")
    with run.stages.step(Step.METADATA):
        collection = read_data(folder, request.taxonomy, request.image_types)
        say("diagnoses: " + ", ".join(f"{d.dx} {d.name}" for d in collection.taxonomy.diagnoses))
        say(f"{len(collection.table):,} rows, layout {collection.layout!r}")
        if request.recipe.split.name == "source":
            check_source(collection.table, request.recipe.split)  # before every image is decoded
    with run.stages.step(Step.CLEANING):
        look = look_at(collection)
        cleaned = inspect(collection, look)
        pixels = decode(collection, image.height, image.width, image.crop).pixels
        n_findings = len(collection.findings) + len(cleaned.findings)
        found = "1 finding" if n_findings == 1 else f"{n_findings} findings"
        say(f"{len(cleaned.table):,} images kept, {len(cleaned.set_aside):,} set aside; {found}")
        n_kept = len(cleaned.table)
        if request.limit:
            taken = take_lesions(cleaned.table, request.limit, collection.taxonomy, seed=request.seed)
            cleaned = dataclasses.replace(cleaned, table=taken)
            say(f"--limit: {len(cleaned.table):,} images taken, whole lesions")
        present = sorted(set(cleaned.table["dx"]))
        if len(present) < 2:
            raise UsageError(
                f"{named(folder)}: all {len(cleaned.table):,} images kept are of one diagnosis ({', '.join(present)}). "
                "Training needs two or more: add images of others."
            )
    return CleanData(collection, cleaned, pixels, look.pixels, describe_data(collection, cleaned.table, n_kept))


def decode(collection: Collection, height: int, width: int, crop: str) -> PixelCache:
    """Decode every image of a collection once; see `lesionlab.data.pixels`."""
    images = list(zip(collection.table["image_id"], collection.table["path"], strict=True))
    return decode_images(images, height=height, width=width, crop=crop, cache_dir=default_cache_dir())


def collection_of(run: RunDirectory, advice: str) -> Collection:
    """Read the images of a run again, as it did.

    Raises:
        LesionlabError: a folder of theirs is gone; `advice` says what to do.
    """
    absent = [str(one) for one in each(run.data_folder) if not one.exists()]
    if absent:
        raise LesionlabError(
            f"The images of the run in {run.folder} are gone: {' and '.join(absent)} does not exist. {advice}"
        )
    return read_data(run.data_folder, run.taxonomy, kinds_of_recipe(run.recipe.image_types))


def look_at(collection: Collection) -> PixelCache:
    """Decode every image at `LOOK_PX`, whatever size a recipe trains at: what images are checked by."""
    return decode(collection, LOOK_PX, LOOK_PX, "centre")


def inspect(collection: Collection, look: PixelCache | None = None, *, by_points: bool = True) -> Cleaned:
    """Judge a collection, by a `look` at it: faults in the table, in the files, and images of one lesion.

    These are found point by point where OpenCV is installed, else by texture at `LOOK_PX`; whatever size a recipe trains at,
    so that every recipe splits the same groups. Without `by_points`, texture does, which takes a tenth of the time, unless an
    earlier command, such as `lesionlab check`, has looked for points in the same files.
    """
    look = look or look_at(collection)
    # Of a very small file too little is left to tell one lesion from another, also when scaled up.
    skipped = (look.facts["error"] != "") | (look.facts[["width", "height"]].min(axis=1) < MIN_SIDE_PX)
    image_ids = list(collection.table["image_id"])
    given = list(collection.table["path"].where(~skipped.to_numpy(), "")), image_ids, list(look.facts["sha256"])
    matches = None
    if not by_points:
        matches = kept_matches(*given, default_cache_dir())
    elif local_features.is_available():
        matches = known_matches(*given, default_cache_dir())
    if matches is not None:
        return dataclasses.replace(clean(collection, look.facts, matches), is_by_points=True)
    return clean(collection, look.facts, near_duplicates(look.pixels, image_ids, skipped.to_numpy()))


def load(run: Run, data: CleanData) -> None:
    """Step 6: the pixels, decoded in step 4 or by an earlier run, are mapped into memory, not read."""
    with run.stages.step(Step.LOADING):
        _, height, width, _ = data.pixels.shape
        kept, mebibytes = len(data.cleaned.table), data.pixels.nbytes / 2**20
        say(f"{kept:,} images of {height} x {width} px, in a memory-mapped file of {mebibytes:,.0f} MiB")


def divide(run: Run, data: CleanData) -> SplitData:
    """Steps 7 to 10: who is tested on, statistics of the training part, labels, who is validated on."""
    recipe = run.request.recipe
    with run.stages.step(Step.TEST_SPLIT):
        table, facts = _split(run, data)
    with run.stages.step(Step.NORMALISATION):
        mean, std = channel_statistics(data.pixels, table.loc[table["part"] == "train", "row"].to_numpy())
        say(f"training part only: mean RGB {_triple(mean)}, standard deviation {_triple(std)}")
        say(f"rule {recipe.image.normalisation!r}, inside the network")
    with run.stages.step(Step.LABELS):
        labels = encode_labels(table["dx"], data.taxonomy)
        say("one-hot, in the order " + " ".join(data.taxonomy.dx))
    with run.stages.step(Step.VALIDATION_SPLIT):
        for part, counts in facts.parts.items():
            say(f"{part:10} {counts.images:7,} images of {counts.lesions:7,} lesions")
    pixels = _describe_pixels(recipe.image, mean, std)
    return SplitData(data.taxonomy, table, labels, mean, std, facts, pixels)


def _describe_pixels(image: ImageChoice, mean: np.ndarray, std: np.ndarray) -> PixelFacts:
    return PixelFacts(
        height=image.height,
        width=image.width,
        crop=image.crop,
        normalisation=image.normalisation,
        channels_mean=tuple(mean.tolist()),
        channels_std=tuple(std.tolist()),
    )


def _split(run: Run, data: CleanData) -> tuple[pd.DataFrame, SplitFacts]:
    """Choose the parts, prove them, write `splits.csv`; return the table with the column `part`."""
    choice, table = run.request.recipe.split, data.cleaned.table
    of_rows = None if run.request.limit else len(data.collection.table)
    parts = split(table, choice, data.taxonomy, seed=run.request.seed, of_rows=of_rows)
    proof = prove(table, parts)
    counts = {part: PartCounts(**found) for part, found in describe_parts(table, parts).items()}
    table = table.assign(part=parts)
    untrained = _untrained(table, data.taxonomy)
    write_csv(table[list(SPLIT_COLUMNS)], run.request.out / "splits.csv")
    say(f"split {choice.name!r}: {counts['test'].images:,} test images")
    said = unseen(by_points=data.cleaned.is_by_points)
    for line in (*proof_in_words(proof), said):
        say(line)
    if untrained:
        say(f"NOT TRAINED ON, but tested: {', '.join(untrained)}. All of their images will be predicted wrongly")
    return table, SplitFacts(name=choice.name, parts=counts, proof=proof, untrained=tuple(untrained), unseen=said)


def _untrained(table: pd.DataFrame, taxonomy: Taxonomy) -> list[str]:
    """Diagnoses that are tested, and that no training image has, in the taxonomy's order.

    Raises:
        UsageError: one diagnosis alone is trained on.

    """
    trained, tested = (set(table.loc[table["part"] == part, "dx"]) for part in ("train", "test"))
    if len(trained) < 2:
        raise UsageError(
            f"The split leaves one diagnosis alone to train on ({', '.join(sorted(trained))}). Training needs two or more: "
            "take another split."
        )
    return [dx for dx in taxonomy.dx if dx in tested - trained]


def describe_data(collection: Collection, table: pd.DataFrame, kept: int | None = None) -> DataFacts:
    """Say where the data lie, how much there is, and a fingerprint of contents, lesions and labels.

    Args:
        collection: as it was read.
        table: of the images that are used.
        kept: how many could be used.

    """
    return DataFacts(
        folder=as_written(collection.data),
        layout=collection.layout,
        rows=len(collection.table),
        images=len(table),
        lesions=int(table["lesion_id"].nunique()),
        fingerprint=fingerprint(table),
        is_generated=write.is_generated(collection.table["image_id"]),
        taxonomy=collection.taxonomy,
        patients=Patients(**count_patients(table)) if PATIENT in table else None,
        kept=kept,
    )


def fingerprint(table: pd.DataFrame) -> str:
    """By what data are known again: SHA-256 of ids, lesions, diagnoses and contents of the images that a run takes."""
    return _digest(table, ["image_id", "lesion_id", "dx", "sha256"])


def data_key(table: pd.DataFrame) -> str:
    """What a checkpoint is of: SHA-256 of contents, labels and parts of the images that are trained and validated on."""
    return _digest(table, ["image_id", "sha256", "dx", "part"])


def _digest(table: pd.DataFrame, columns: list[str]) -> str:
    """SHA-256 of some columns, whatever the order of the images."""
    lines = "\n".join(",".join(values) for values in table.sort_values("image_id")[columns].itertuples(index=False))
    return hashlib.sha256(lines.encode()).hexdigest()


def _generated_folder(seed: int) -> Path:
    folder = default_cache_dir() / f"phantom-{write.DRAWING}-{DEMO_LESIONS}-{DEMO_SIZE_PX[0]}x{DEMO_SIZE_PX[1]}-{seed}"
    if not folder.exists():
        say(f"no --data: {DEMO_LESIONS} generated lesions are written into {folder}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            write.write_phantoms(folder, lesions=DEMO_LESIONS, seed=seed, size_px=DEMO_SIZE_PX)
        except (OSError, UsageError):
            if not folder.exists():  # another run that began with this one was faster: the same lesions
                raise
    return folder


def _triple(values: np.ndarray) -> str:
    return " ".join(f"{value:.1f}" for value in values)
