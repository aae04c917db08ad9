"""What the page needs, served or static: its files, and what it must know of the model."""

from pathlib import Path
from typing import Any

from lesionlab.inference.model import Model
from lesionlab.taxonomy import DX, MALIGNANT, NAME_OF

PAGE = Path(__file__).with_name("page")


def describe_model(model: Model) -> dict[str, Any]:
    """Give what a page must know of a model: the body of `/v1/model`, and `facts.json` of a static page."""
    facts = model.facts
    return {
        "name": facts.name,
        "version": facts.lesionlab,
        "classes": list(DX),
        "class_names": [NAME_OF[dx] for dx in DX],
        "malignant": list(MALIGNANT),
        "height": facts.height,
        "width": facts.width,
        "crop": facts.crop,
        "thresholds": dict(facts.thresholds),
        "conformal": dict(facts.conformal),
        "ood": dict(facts.ood),
        "notice": facts.notice,
        "training_data": facts.training_data,
        "licence": facts.licence,
        "card": facts.card,
        "has_activation_maps": model.bundle.has_activation_maps,
        "has_ood": model.bundle.has_ood_score,
    }
