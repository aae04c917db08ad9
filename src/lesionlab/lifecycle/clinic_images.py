"""The images of a clinic, as `lesionlab adapt` takes them: read, cleaned, and put through the network once."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.data.clean import Cleaned
from lesionlab.data.images import ImageError, read_image
from lesionlab.data.layouts.joined import read_data
from lesionlab.data.layouts.metadata import PATIENT
from lesionlab.data.layouts.recognise import Collection
from lesionlab.data.statistics import encode_labels
from lesionlab.errors import UsageError
from lesionlab.folders import Data, named
from lesionlab.inference.bundle import Bundle
from lesionlab.inference.features import Embedded, Embedder
from lesionlab.inference.outputs import ModelOutputs, see
from lesionlab.inference.predictions import Unreadable
from lesionlab.lifecycle.prepare import inspect
from lesionlab.progress import track
from lesionlab.taxonomy import Taxonomy

FEWEST_LESIONS = 10  # below, nothing can be learnt and nothing promised
FEWEST_UNLABELLED = 50  # below, the mix of diagnoses is a guess


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Images without labels: names (n,), files (n,), and what the network makes of them; and those that cannot be read."""

    images: tuple[str, ...]
    files: tuple[str, ...]
    seen: ModelOutputs
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled images: as they were read and cleaned, a table of those that the network saw, and what it makes of each."""

    collection: Collection
    cleaned: Cleaned
    table: pd.DataFrame
    seen: ModelOutputs

    @property
    def taxonomy(self) -> Taxonomy:
        """The clinic's diagnoses."""
        return self.collection.taxonomy

    @property
    def labels(self) -> np.ndarray:
        """Diagnoses, integers (n,)."""
        return encode_labels(self.table["dx"], self.taxonomy)

    @property
    def lesions(self) -> np.ndarray:
        """Lesion ids (n,)."""
        return self.table["lesion_id"].to_numpy()


def read_labelled(
    data: Data, bundle: Bundle, taxonomy: Taxonomy | None, image_types: tuple[str, ...] | None
) -> Labelled:
    """Read, clean and embed the labelled images of a clinic.

    Args:
        data: a folder, or several, in any layout that `lesionlab run` reads.
        bundle: the model, with features.
        taxonomy: to read the data in; None for their own, or, where these are not known, the model's.
        image_types: kinds of image, as `read_collection` takes them.

    Raises:
        UsageError: as `read_collection`; one diagnosis alone, or fewer than ten lesions.

    """
    collection = _read(data, bundle.facts.taxonomy, taxonomy, image_types)
    _refuse_few(collection.table, data)
    cleaned = inspect(collection, by_points=False)
    _refuse_few(cleaned.table, data)
    _refuse_one_group(cleaned.table, data)
    seen = see(bundle, len(cleaned.table), reader(bundle, list(cleaned.table["path"])), has_maps=False)
    is_seen = ~np.isnan(seen.probabilities[:, 0])
    table = cleaned.table[is_seen].reset_index(drop=True)
    _refuse_few(table, data)
    return Labelled(collection, cleaned, table, seen.take(is_seen))


def _read(data: Data, model: Taxonomy, asked: Taxonomy | None, image_types: tuple[str, ...] | None) -> Collection:
    try:
        return read_data(data, asked, image_types)
    except UsageError:
        if asked is not None:
            raise
        with suppress(UsageError):
            return read_data(data, model, image_types)
        raise  # what is wrong with the data in their own words


def reader(bundle: Bundle, paths: Sequence[str]) -> Callable[[int], np.ndarray | None]:
    """Give a function that reads the image at a place of `paths` as the network takes it; None where it cannot be read."""
    files, facts = [Path(path) for path in paths], bundle.facts

    def read(number: int) -> np.ndarray | None:
        try:
            return read_image(files[number], facts.height, facts.width, facts.crop)
        except ImageError:
            return None

    return read


def see_unlabelled(bundle: Bundle, images: Sequence[str | Path]) -> Unlabelled:
    """Put images without labels, files and folders, through the network once.

    Raises:
        UsageError: none of them could be read.

    """
    results = list(track(Embedder(bundle).stream(list(images)), "embedding unlabelled images"))
    made = [item for item in results if isinstance(item, Embedded)]
    unreadable = tuple(item for item in results if isinstance(item, Unreadable))
    if not made:
        raise UsageError(f"None of the {len(results):,} images could be read. 'lesionlab check' says why.")
    given = [item.ood_score for item in made if item.ood_score is not None]
    scores, ood = np.array(given) if len(given) == len(made) else None, bundle.facts.ood
    seen = ModelOutputs(
        np.stack([item.probabilities for item in made if item.probabilities is not None]),
        np.stack([item.features for item in made]),
        is_rejected=scores > ood.threshold if ood and scores is not None else None,
        ood_scores=scores,
    )
    return Unlabelled(
        tuple(item.image for item in made), tuple(str(item.file or item.source) for item in made), seen, unreadable
    )


def _refuse_one_group(table: pd.DataFrame, data: Data) -> None:
    if table["group"].nunique() < 2:
        why = "of one patient" if PATIENT in table and table[PATIENT].nunique() == 1 else "joined by near-duplicates"
        raise UsageError(
            f"{named(data)}: all {table['lesion_id'].nunique()} labelled lesions are {why}, so that none can be held back to "
            "measure by. Add lesions of others."
        )


def _refuse_few(table: pd.DataFrame, data: Data) -> None:
    present, lesions = sorted(set(table["dx"])), table["lesion_id"].nunique()
    if len(present) < 2:
        raise UsageError(
            f"{named(data)}: all {len(table):,} labelled images are of one diagnosis ({', '.join(present)}), from which no head "
            "can learn. Add images of others, or give the images to --unlabelled to correct for the mix of diagnoses alone."
        )
    if lesions < FEWEST_LESIONS:
        raise UsageError(
            f"{named(data)} has {lesions} labelled lesions, and nothing can be promised from fewer than {FEWEST_LESIONS}. Label "
            f"more, or give {FEWEST_UNLABELLED} images or more to --unlabelled: then the mix of diagnoses is corrected for "
            "instead."
        )
