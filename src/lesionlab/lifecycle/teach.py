"""Distillation: labels of the training images that hold, beside the truth, what another model makes of each image.

In: a model file, the teacher; the images and labels of a split. Out: soft labels. A student learns from them which
diagnoses an image might also have, and less of labels that are hard to see (Hinton et al., "Distilling the knowledge in a neural
network", 2015, arXiv:1503.02531). The teacher's answer is its mean over turned and mirrored copies of an image, taken once.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import softmax

from lesionlab.data.layouts.recognise import Collection
from lesionlab.errors import UsageError
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.outputs import ModelOutputs, see
from lesionlab.lifecycle.overlap import show_known
from lesionlab.lifecycle.prepare import decode
from lesionlab.model.decision_rule import read_decision, unfold_calibration
from lesionlab.model.export.head import read_head
from lesionlab.recipe import Recipe
from lesionlab.runs.stages import say
from lesionlab.taxonomy import Taxonomy


def open_teacher(recipe: Recipe, taxonomy: Taxonomy | None) -> Bundle | None:
    """Open the recipe's teacher; None where it names none.

    Args:
        recipe: the student's.
        taxonomy: the diagnoses that the data are read in; None where they are not known yet.

    Raises:
        UsageError: no model file, or one of other diagnoses.

    """
    if not recipe.loss.teacher:
        return None
    bundle = open_bundle(recipe.loss.teacher)
    answered = [d.dx for d in bundle.facts.taxonomy.diagnoses]
    read = [d.dx for d in taxonomy.diagnoses] if taxonomy else answered
    if answered != read:
        raise UsageError(
            f"Recipe {recipe.name}: the teacher {recipe.loss.teacher} answers in {', '.join(answered)}, and the data are read in "
            f"{', '.join(read)}. Give a teacher of these, or set taxonomy in the recipe to the teacher's."
        )
    return bundle


def taught_labels(
    teacher: Bundle, share: float, collection: Collection, rows: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Mix the labels of images with what a teacher makes of each.

    Args:
        teacher: as of `open_teacher`.
        share: of each label that the teacher gives, 0 to 1.
        collection: the images, and the diagnoses.
        rows: integers (n,), places of the images in the collection.
        labels: integers (n,), their diagnoses.

    Returns:
        float32 (n, k), rows sum to 1.

    """
    facts = teacher.facts
    pixels = decode(collection, facts.height, facts.width, facts.crop).pixels
    views = views_of(facts.height, facts.width)
    say(f"teacher: {facts.name}, {len(views)} views of {len(rows):,} images")
    answers = np.mean([as_trained(teacher, _seen(teacher, pixels, rows, view)) for view in views], axis=0)
    return ((1 - share) * np.eye(len(collection.taxonomy))[labels] + share * answers).astype(np.float32)


def views_of(height: int, width: int) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Give the ways to turn and mirror an image (height, width, 3) that keep its shape: eight of a square, else four."""
    turns = (0, 1, 2, 3) if height == width else (0, 2)
    return [partial(_turned, turn=turn, step=step) for turn in turns for step in (1, -1)]


def _turned(image: np.ndarray, turn: int, step: int) -> np.ndarray:
    return np.rot90(image, turn)[:, ::step]


def _seen(
    bundle: Bundle, pixels: np.ndarray, rows: np.ndarray, view: Callable[[np.ndarray], np.ndarray]
) -> ModelOutputs:
    return see(bundle, len(rows), lambda number: view(pixels[rows[number]]), has_maps=False)


def as_trained(bundle: Bundle, seen: ModelOutputs) -> np.ndarray:
    """Give the probabilities (n, k) that a network was trained to, before calibration and decision rule, by its features.

    Of a network that does not end in features and a head, they are those that it gives.
    """
    if seen.features is None:
        return seen.probabilities
    decision = read_decision(bundle.facts.decision)
    head = read_head(bundle.data, np.zeros(len(bundle.facts.taxonomy)), bundle.facts.name)
    kernel, bias = unfold_calibration(head.kernel, head.bias, decision)
    return softmax(seen.features.astype(np.float64) @ kernel + bias, axis=1)


def in_words(bundle: Bundle, share: float) -> str:
    """Say of labels who gave which share of them."""
    facts = bundle.facts
    return (
        f"{share:.0%} of each is what {facts.name} makes of the image (SHA-256 {bundle.sha256[:16]}, trained on "
        f"{facts.training_data}), the rest is the truth"
    )


def say_known(bundle: Bundle, table: pd.DataFrame) -> None:
    """Say of how many test images the teacher was trained on the lesion: a student learns of them what it must not know.

    Args:
        bundle: the teacher.
        table: of the split: `image_id`, `lesion_id`, `group` and `part`.

    """
    ids, is_test = bundle.facts.training_ids, (table["part"] == "test").to_numpy()
    if not ids:
        say(
            f"The teacher {bundle.facts.name} does not say which images it was trained on. Those of the test part must not be"
        )
        say("among them: give the student the teacher's own split, --split RUN/splits.csv")
        return
    known = int((show_known(table, ids) & is_test).sum())
    if known:
        say(
            f"Warning: the teacher was trained on the lesions of {known:,} of the {is_test.sum():,} test images: figures are too"
        )
        say("good by as much. Give the student the teacher's own split: --split RUN/splits.csv")
