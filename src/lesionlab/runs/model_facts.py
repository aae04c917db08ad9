"""What a run's model file says of itself: made of the run's recipe, data, decision and card."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from lesionlab.inference.facts import ON_ALL, Facts, make_facts
from lesionlab.recipe import Recipe
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.manifest import DataFacts


def model_facts(
    recipe: Recipe, data: DataFacts, decision: dict[str, Any], card: str, diagnosis_counts: Sequence[int]
) -> Facts:
    """Facts for a run's model file.

    Args:
        recipe: of the run.
        data: of its manifest.
        decision: of its `metrics.json`: rule, calibration, thresholds, sets and operating points.
        card: the model card, in Markdown.
        diagnosis_counts: training images of each diagnosis, in the order of the data's.

    """
    training_data, licence = describe_training_data(data)
    return make_facts(
        name=recipe.name,
        taxonomy=data.diagnoses,
        height=recipe.image.height,
        width=recipe.image.width,
        crop=recipe.image.crop,
        decision=decision,
        temperature=decision["temperature"],
        thresholds=decision["thresholds"],
        conformal=decision["conformal"],
        training_data=training_data,
        licence=licence,
        card=card,
        diagnosis_counts=diagnosis_counts,
    )


def facts_of_run(run: RunDirectory) -> Facts:
    """Facts for the model file of a finished run."""
    return model_facts(run.recipe, run.manifest.data, run.decision(), run.card(), _counts(run, ["train"]))


def facts_of_refit(run: RunDirectory) -> Facts:
    """Facts of the network that is trained on all lesions of a finished run; its card says whose figures it has."""
    facts = facts_of_run(run)
    about = (
        f"> These weights were trained by the recipe `{facts.name}` on all lesions named below. The figures are those of the "
        "same recipe trained on the training part alone, measured on lesions kept apart.\n\n"
    )
    counts = tuple(map(float, _counts(run, ["train", "validation", "test"])))
    told = facts.training_data + ON_ALL
    return dataclasses.replace(facts, training_data=told, card=about + facts.card, diagnosis_counts=counts)


def _counts(run: RunDirectory, parts: Sequence[str]) -> list[int]:
    """Images of each diagnosis in some parts; empty where a damaged table has none of them."""
    table = run.splits()
    found = table.loc[table["part"].isin(parts), "dx"].value_counts()
    return [int(found.get(dx, 0)) for dx in run.taxonomy.dx] if len(found) else []


def describe_training_data(data: DataFacts) -> tuple[str, str]:
    """Say what a run's data were, and under what licence. The folder's name is left out."""
    counts = f"{data.images:,} images of {data.lesions:,} lesions, fingerprint {data.fingerprint[:16]}"
    if data.is_generated:
        return f"generated lesions, of no patient: {counts}", "none: nothing of it is anybody's"
    return f"{counts}, read as {data.layout}", "that of the data; of HAM10000: CC BY-NC 4.0, non-commercial use only"
