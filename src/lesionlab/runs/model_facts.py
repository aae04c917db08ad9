"""What a run's model file says of itself: made of the run's recipe, data, decision and card."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from lesionlab.data.isic_ids import written_ids
from lesionlab.data.split import PARTS
from lesionlab.inference.facts import ON_ALL, Facts, make_facts
from lesionlab.recipe import Recipe
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.manifest import DataFacts
from lesionlab.taxonomy import Taxonomy


def model_facts(
    recipe: Recipe,
    data: DataFacts,
    decision: dict[str, Any],
    card: str,
    split: pd.DataFrame,
    *,
    trained: Sequence[str] = ("train",),
) -> Facts:
    """Facts for a run's model file.

    Args:
        recipe: of the run.
        data: of its manifest.
        decision: of its `metrics.json`: rule, calibration, thresholds, sets and operating points.
        card: the model card, in Markdown.
        split: table of the run's images: `image_id`, `dx`, `part`.
        trained: parts that the network was trained on.

    """
    is_trained = split["part"].isin(trained)
    is_known = is_trained | (split["part"] == "validation")
    training_data, licence = describe_training_data(data)
    return make_facts(
        name=recipe.name,
        taxonomy=data.diagnoses,
        height=recipe.image.height,
        width=recipe.image.width,
        crop=recipe.image.crop,
        decision={name: value for name, value in decision.items() if name != "patient"},
        temperature=decision["temperature"],
        thresholds=decision["thresholds"],
        conformal=decision["conformal"],
        training_data=training_data,
        licence=licence,
        card=card,
        diagnosis_counts=_counts(split.loc[is_trained, "dx"], data.diagnoses),
        training_ids=written_ids(split.loc[is_known, "image_id"]),
        patient=decision.get("patient"),
    )


def facts_of_run(run: RunDirectory) -> Facts:
    """Facts for the model file of a finished run."""
    return model_facts(run.recipe, run.manifest.data, run.decision(), run.card(), run.splits())


def facts_of_refit(run: RunDirectory) -> Facts:
    """Facts of the network that is trained on all lesions of a finished run; its card says whose figures it has."""
    facts = model_facts(run.recipe, run.manifest.data, run.decision(), run.card(), run.splits(), trained=PARTS)
    about = (
        f"> These weights were trained by the recipe `{facts.name}` on all lesions named below. The figures are those of the "
        "same recipe trained on the training part alone, measured on lesions kept apart.\n\n"
    )
    return dataclasses.replace(facts, training_data=facts.training_data + ON_ALL, card=about + facts.card)


def _counts(dx: pd.Series, taxonomy: Taxonomy) -> list[int]:
    """Images of each diagnosis; empty where a damaged table has none of them."""
    found = dx.value_counts()
    return [int(found.get(one, 0)) for one in taxonomy.dx] if len(found) else []


def describe_training_data(data: DataFacts) -> tuple[str, str]:
    """Say what a run's data were, and under what licence. The folder's name is left out."""
    counts = f"{data.images:,} images of {data.lesions:,} lesions, fingerprint {data.fingerprint[:16]}"
    if data.is_generated:
        return f"generated lesions, of no patient: {counts}", "none: nothing of it is anybody's"
    return f"{counts}, read as {data.layout}", "that of the data; of HAM10000: CC BY-NC 4.0, non-commercial use only"
