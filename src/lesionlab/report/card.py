"""The model card of a run: what the model is, what it was trained on, how well it does, what it is not for."""

from pathlib import Path
from typing import Any

from jinja2 import Template

from lesionlab._version import NOT_A_DEVICE
from lesionlab.evaluation.metrics_file import Metrics
from lesionlab.evaluation.set_values import SetFigures
from lesionlab.files import write_text
from lesionlab.report.templating import environment
from lesionlab.runs.manifest import DataFacts, ModelFacts, PixelFacts, SplitFacts
from lesionlab.taxonomy import Taxonomy


def write_card(
    folder: Path,
    metrics: Metrics,
    evaluated: str,
    data: DataFacts,
    split: SplitFacts,
    pixels: PixelFacts,
    model: ModelFacts,
) -> str:
    """Write `card.md` into a folder; return its text.

    Args:
        folder: of the run.
        metrics: of the run.
        evaluated: when they were taken.
        data: likewise `split`, `pixels` and `model`: what the manifest says of them.
        split: see `data`.
        pixels: see `data`.
        model: see `data`.

    """
    facts: dict[str, object] = {"evaluated": evaluated, "data": data, "split": split, "pixels": pixels, "model": model}
    taxonomy = data.diagnoses
    facts |= {"metrics": metrics, "diagnoses": taxonomy.diagnoses, "name_of": taxonomy.name_of, "notice": NOT_A_DEVICE}
    facts["sets_section"] = _sets_section(metrics.conformal, taxonomy) if metrics.conformal else ""
    text = _template("card.md.j2").render(facts) + "\n"
    write_text(folder / "card.md", text)
    return text


def _sets_section(sets: SetFigures, taxonomy: Taxonomy) -> str:
    """Write the section on sets of diagnoses, in Markdown, of sets that were measured on the test part."""
    few = [dx for dx, row in sets.per_class.items() if not row.is_promised]
    return _template("card_sets.md.j2").render(sets=sets, diagnoses=taxonomy.diagnoses, few=few)


def _template(name: str) -> Template:
    made = environment(is_html=False)
    made.filters["figure"] = _figure
    made.filters["interval"] = _interval
    return made.get_template(name)


def _figure(value: float | None) -> str:
    return "not available" if value is None else f"{value:.3f}"


def _interval(bounds: list[Any] | None) -> str:
    return "" if bounds is None or bounds[0] is None else f"({bounds[0]:.3f} to {bounds[1]:.3f})"
