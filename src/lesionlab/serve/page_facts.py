"""What the page needs, served or static: its files, and what it must know of the model."""

from pathlib import Path

from lesionlab.inference.model import Model

PAGE = Path(__file__).with_name("page")


def describe_model(model: Model) -> dict[str, object]:
    """Give what a page must know of a model: the body of `/v1/model`, and `facts.json` of a static page."""
    facts, written = model.facts, model.facts.to_json()
    return {
        "name": facts.name,
        "version": facts.lesionlab,
        "taxonomy": facts.taxonomy.name,
        "classes": list(facts.taxonomy.dx),
        "class_names": [diagnosis.name for diagnosis in facts.taxonomy.diagnoses],
        "columns": list(facts.taxonomy.columns),
        "malignant": list(facts.taxonomy.malignant),
        "height": facts.height,
        "width": facts.width,
        "crop": facts.crop,
        **{name: written[name] for name in ("thresholds", "conformal", "ood", "patient")},
        "notice": facts.notice,
        "training_data": facts.training_data,
        "licence": facts.licence,
        "card": facts.card,
        "has_activation_maps": model.bundle.has_activation_maps,
        "has_ood": model.bundle.has_ood_score,
    }
