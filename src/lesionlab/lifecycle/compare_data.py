"""`lesionlab compare-data A B`: whether the pictures of B come from where those of A come.

In: two folders of images, labelled or not, and a model. Out: a `DataComparison`. Lesions are known where a folder has a table
that names them; else each image counts as one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab.cluster.threads import in_order
from lesionlab.data.image_formats import without_suffix
from lesionlab.data.images import ImageError, read_drafted
from lesionlab.data.layouts.reading import NoDiagnoses
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.data.layouts.tables import read_start
from lesionlab.errors import UsageError
from lesionlab.evaluation.drift import LEAST_LESIONS, LEVEL, FeatureShift, FigureShift, changes, feature_shift
from lesionlab.folders import short_names
from lesionlab.inference.features import Embedded, Embedder, Embeddings, collected, load_embedder
from lesionlab.inference.image_sources import Source, find_images
from lesionlab.inference.lesion_table import names_lesions, read_lesions
from lesionlab.inference.predictions import Unreadable
from lesionlab.progress import track
from lesionlab.taxonomy import Taxonomy

_LOOK_PX = 128
QUALITY = {
    "brightness": "mean of the pixels, 0 to 255",
    "sharpness": f"spread of the edges at {_LOOK_PX} px: lower is blurred",
    "red cast": "mean of red less green",
    "blue cast": "mean of blue less green",
    "shorter side, px": "of the file",
}


@dataclass(frozen=True)
class Side:
    """One folder.

    Attributes:
        name: shortened, so that both differ.
        made: what the model makes of its images.
        lesions: ids (n,).
        quality: how the images look, by `QUALITY`.
        notes: tables that could not be read, in words.

    """

    name: str
    made: Embeddings
    lesions: np.ndarray
    quality: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataComparison:
    """Two folders, how far their features are apart, and what changed: shares of predictions, and the look of pictures.

    `diagnoses` are the names of what the model predicts, by code; empty of an encoder.
    """

    first: Side
    second: Side
    shift: FeatureShift
    mix: list[FigureShift]
    quality: list[FigureShift]
    diagnoses: Mapping[str, str]

    @property
    def is_shifted(self) -> bool:
        """Whether the test of the features finds a difference."""
        return self.shift.p <= LEVEL

    @property
    def notes(self) -> tuple[str, ...]:
        """What was wrong with the tables of either folder, in words."""
        return (*self.first.notes, *self.second.notes)

    def verdict(self) -> str:
        """Say in words what was found."""
        a, b = self.first.name, self.second.name
        counts = f"{self.shift.lesions[0]:,} lesions of {a} and {self.shift.lesions[1]:,} of {b}"
        looks = [
            f"{change.name} {change.first:.1f} to {change.second:.1f}" for change in self.quality if change.is_clear
        ]
        mixes = [f"{change.name} {change.first:.0%} to {change.second:.0%}" for change in self.mix if change.is_clear]
        if not self.is_shifted and (looks or mixes):
            start = (
                f"The features show no difference between {a} and {b} that {counts} can show (p = {self.shift.p:.3f}), but the "
                "pictures are not alike in all:"
            )
        elif not self.is_shifted:
            start = (
                f"No difference between {a} and {b} was found that {counts} can show (p = {self.shift.p:.3f}). That is no proof "
                "that there is none."
            )
        else:
            start = (
                f"The pictures of {b} do not come from where those of {a} come: their features differ more than chance allows "
                f"({counts}, p = {self.shift.p:.3f}, energy coefficient {self.shift.coefficient:.3f} of 1). Figures of a model "
                f"that were measured on {a} may not hold on {b}: evaluate it on labelled images of {b}."
            )
        found = [f"What looks different: {', '.join(looks)}."] if looks else []
        found += [f"What is predicted in another share: {', '.join(mixes)}."] if mixes else []
        return " ".join([start, *found])


def compare_data(first: Path, second: Path, model: str | Path | None = None, *, seed: int = 0) -> DataComparison:
    """Compare two folders of images by what a model makes of them.

    Raises:
        UsageError: no images in a folder, fewer than ten lesions, or as of `lesionlab.inference.features.load_embedder`.

    """
    embedder = load_embedder(model)
    names = short_names((first, second))
    sides = [_side(folder, name, embedder) for folder, name in zip((first, second), names, strict=True)]
    a, b = sides
    lesions = (a.lesions, b.lesions)
    shift = feature_shift(a.made.features, b.made.features, lesions, seed=seed)
    taxonomy = getattr(embedder.network.facts, "taxonomy", None)
    mix = changes(_shares(a.made, taxonomy), _shares(b.made, taxonomy), lesions, seed=seed)
    quality = changes(a.quality, b.quality, lesions, seed=seed)
    return DataComparison(a, b, shift, mix, quality, taxonomy.name_of if taxonomy else {})


def _side(folder: Path, name: str, embedder: Embedder) -> Side:
    sources, lesion_of, notes = _images(folder)
    results = list(track(embedder.stream(sources), f"{name}: embedding", total=len(sources)))
    made = collected(embedder, results)
    paths = [source.given for source, result in zip(sources, results, strict=True) if isinstance(result, Embedded)]
    lesions = np.array([lesion_of.get(str(path), str(path)) for path in paths])
    if (number := len(np.unique(lesions))) < LEAST_LESIONS:
        raise UsageError(
            f"{folder} shows {number} lesions: a comparison needs {LEAST_LESIONS} or more on each side, and tells "
            "little with fewer than 50. Give more images."
        )
    looks = track(in_order(_look, paths), f"{name}: looking", total=len(paths))
    values = np.array(list(looks)).T  # (5, n)
    return Side(name, made, lesions, dict(zip(QUALITY, values, strict=True)), (*notes, *_unreadable(folder, results)))


def _unreadable(folder: Path, results: Sequence[object]) -> list[str]:
    found = [item for item in results if isinstance(item, Unreadable)]
    if not found:
        return []
    return [f"{len(found):,} images of {folder} cannot be read and are left out: {found[0].source}: {found[0].reason}."]


def _images(folder: Path) -> tuple[list[Source], dict[str, str], tuple[str, ...]]:
    """Give a folder's images, the lesion of each path where a table says so, and what is wrong with its tables."""
    try:
        collection = read_collection(folder)
    except UsageError as error:  # without diagnoses, a table of lesions will do
        paths = list(find_images([folder]))
        lesion_of, notes = _lesions_of(folder, paths)
        if not isinstance(error, NoDiagnoses):
            notes = (_without_diagnoses(folder, len(paths), len(lesion_of), error), *notes)
        return list(map(Source.of_file, paths)), lesion_of, notes
    table = collection.table[collection.table["path"] != ""]
    lesion_of = dict(zip(map(str, table["path"]), table["lesion_id"].astype(str), strict=True))
    others = sum(found.count for found in collection.findings if found.kind == "image-unlisted") + len(
        collection.set_aside
    )
    notes = (
        f"{others:,} images of {folder} are left out: its table of diagnoses lacks them, or they are not dermoscopic. To "
        "compare them as well, give a folder without that table.",
    )
    return [Source.of_file(path) for path in table["path"]], lesion_of, notes if others else ()


def _without_diagnoses(folder: Path, images: int, of_lesions: int, error: UsageError) -> str:
    return (
        f"{folder} is compared without its table of diagnoses, which cannot be read. Its .csv files name the lesions of "
        f"{of_lesions:,} of {images:,} images; every other image counts as a lesion of its own. The fault: {error}"
    )


def _lesions_of(folder: Path, paths: Sequence[Path]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Give the lesion of each path that the tables of a folder name one for, and the faults of those that cannot be read."""
    lesion_of, notes = dict[str, str](), []
    for table in sorted(folder.glob("*.csv")):
        if not names_lesions(read_start(table)[0]):
            continue
        try:
            lesion_of |= read_lesions(table)
        except UsageError as error:
            notes.append(f"Lesions are not taken from {table.name}. The fault: {error}")
    known = ((str(path), lesion_of.get(without_suffix(path.name))) for path in paths)
    return {path: lesion for path, lesion in known if lesion}, tuple(notes)


def _look(path: Path) -> tuple[float, ...]:
    """Measure how a picture looks, in the order of `QUALITY`; NaN where it cannot be read again."""
    try:
        pixels, facts = read_drafted(Path(path), _LOOK_PX, _LOOK_PX, "centre")
    except ImageError:
        return (float("nan"),) * len(QUALITY)
    red, green, blue = pixels.reshape(-1, 3).astype(np.float64).mean(axis=0)
    grey = pixels.astype(np.float64).mean(axis=2)
    edges = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return grey.mean(), edges.std(), red - green, blue - green, float(min(facts.width, facts.height))


def _shares(made: Embeddings, taxonomy: Taxonomy | None) -> dict[str, np.ndarray]:
    """Say of each image which diagnosis is predicted, as zeros and ones by diagnosis; nothing of an encoder."""
    if made.probabilities is None or taxonomy is None:
        return {}
    predicted = made.probabilities.argmax(axis=1)
    return {dx: (predicted == place).astype(np.float64) for place, dx in enumerate(taxonomy.dx)}
