"""The report: one HTML file, made from what a run directory holds, so that it can be made again without training.

Every number of metrics.json is written by one macro, as `<data value="..." data-key="test.balanced_accuracy">`, so that
each can be traced, and a test does.
"""

import base64
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup

from lesionlab._version import NOT_A_DEVICE
from lesionlab.data.explore import Explored
from lesionlab.evaluation.answers import TIE
from lesionlab.evaluation.metrics import title
from lesionlab.evaluation.metrics_file import Metrics
from lesionlab.files import write_text
from lesionlab.folders import as_read, named
from lesionlab.recipe import Recipe
from lesionlab.report.checklists import checklists
from lesionlab.report.templating import environment
from lesionlab.runs.manifest import EvaluationManifest, Manifest
from lesionlab.runs.stages import Step
from lesionlab.taxonomy import Taxonomy

_DATA = Markup('<data value="{}" data-key="{}">{}</data>')  # escapes what is put in
_SMALLEST_P = 0.001


def write_report(
    folder: Path,
    manifest: Manifest,
    metrics: Metrics,
    explored: Explored,
    history: pd.DataFrame,
    recipe: Recipe,
) -> Path:
    """Write `report.html` into a run directory and return its path.

    Args:
        folder: of the run; its `figures/` are put into the page.
        manifest: of the run.
        metrics: of the run.
        explored: as exploration.json holds it.
        history: a row an epoch; of an ensemble with the column `run`.
        recipe: of the run.

    """
    page = _environment(folder, metrics).get_template("report.html.j2")
    text = page.render(
        manifest=manifest,
        metrics=metrics,
        exploration=explored,
        **_common(manifest.data.diagnoses, metrics.is_generated),
        n_epochs=len(history),
        is_ensemble="run" in history,
        is_probe="l2" in history,
        **_galleries(folder),
        checklists=checklists("run", has_patients=manifest.data.patients is not None),
        recipe_text=recipe.to_toml(),
        steps=list(Step),
    )
    write_text(folder / "report.html", text)
    return folder / "report.html"


def write_evaluation_html(folder: Path, manifest: EvaluationManifest, metrics: Metrics) -> Path:
    """Write `report.html` of an evaluation; arguments as in `write_report`; return its path."""
    page = _environment(folder, metrics).get_template("evaluation.html.j2")
    text = page.render(
        manifest=manifest,
        metrics=metrics,
        **_common(manifest.data.diagnoses, metrics.is_generated),
        **_galleries(folder),
        checklists=checklists(
            "evaluation",
            has_split=manifest.split is not None,
            has_patients=manifest.data.patients is not None,
            uses_metadata=manifest.model.uses_metadata,
        ),
    )
    write_text(folder / "report.html", text)
    return folder / "report.html"


def write_exploration_html(folder: Path, explored: Explored, taxonomy: Taxonomy, is_generated: bool) -> Path:
    """Write `explore.html` from what exploration.json holds, and figures/; return its path."""
    page = _environment(folder, None).get_template("explore.html.j2")
    write_text(folder / "explore.html", page.render(exploration=explored, **_common(taxonomy, is_generated)))
    return folder / "explore.html"


def _galleries(folder: Path) -> dict[str, Any]:
    """Read what the pictures in `figures/` show."""
    names = ("mistakes", "understanding")
    return {name: json.loads((folder / "figures" / f"{name}.json").read_text(encoding="utf-8")) for name in names}


def _common(taxonomy: Taxonomy, is_generated: bool) -> dict[str, Any]:
    return {
        "diagnoses": taxonomy.diagnoses,
        "dx_order": taxonomy.dx,
        "name_of": taxonomy.name_of | {TIE: "nothing: a tie"},
        "title": lambda name: title(name, len(taxonomy)),
        "notice": NOT_A_DEVICE,
        "is_generated": is_generated,
    }


def _environment(folder: Path, metrics: Metrics | None) -> Environment:
    made = environment()
    made.globals["figure"] = lambda name, alt: _figure(folder / "figures" / name, alt)
    made.globals["number"] = lambda key, style=".3f": _number(metrics, key, style)
    made.globals["interval"] = lambda key, style=".3f": _interval(metrics, key, style)
    made.globals["p_value"] = lambda key: _p_value(metrics, key)
    made.filters["folders"] = lambda written: named(as_read(written))
    made.filters["shell"] = shlex.quote
    made.filters["thousands"] = lambda value: f"{value:,}"
    made.filters["percent"] = lambda value: f"{100 * value:.1f}\u00a0%"
    return made


def _number(metrics: Metrics | None, key: str, style: str) -> Markup:
    """Write the number that stands at a dotted key of metrics.json, traceable to it."""
    value = _value(metrics, key)
    if value is None:
        return Markup('<span class="absent">not available</span>')
    text = format(value, style).replace("%", "\u00a0%")
    return _DATA.format(repr(value), key, text)


def _p_value(metrics: Metrics | None, key: str) -> Markup:
    value = _value(metrics, key)
    if value is None or value >= _SMALLEST_P:
        return _number(metrics, key, ".3f")
    return _DATA.format(repr(value), key, "< 0.001")


def _value(metrics: Metrics | None, key: str) -> Any:
    """Follow a dotted key; codes and names of diagnoses, the keys of mappings, may hold dots themselves."""
    value: Any = metrics
    while key:
        if isinstance(value, Mapping):
            name = max((name for name in value if key == name or key.startswith(f"{name}.")), key=len)
            value = value[name]
        else:
            name = key.partition(".")[0]
            value = value[int(name)] if isinstance(value, Sequence) else getattr(value, name)
        key = key[len(name) + 1 :]
    return value


def _interval(metrics: Metrics | None, key: str, style: str) -> Markup:
    value = _value(metrics, key)
    if value is None or value[0] is None:
        return Markup('<span class="absent">no interval: too few lesions, or one prediction for all</span>')
    low, high = _number(metrics, f"{key}.0", style), _number(metrics, f"{key}.1", style)
    return Markup(f'<span class="interval">{low} to {high}</span>')


def _figure(path: Path, alt: str) -> Markup:
    """Put a figure into the page itself: SVG as text, a picture as base64."""
    label = Markup.escape(alt)
    if path.suffix == ".svg":
        return Markup(f'<div class="figure" role="img" aria-label="{label}">{inline_svg(path)}</div>')
    data = base64.b64encode(path.read_bytes()).decode()
    return Markup(f'<img alt="{label}" src="data:image/jpeg;base64,{data}">')


def inline_svg(path: Path) -> str:
    """Take the `<svg>` element, with ids of its own: several figures stand in one page."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    prefix = re.sub(r"\W", "-", path.stem)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
    return re.sub(r'<svg ([^>]*?)height="[^"]*"([^>]*?)width="[^"]*"', r"<svg \1\2", text, count=1)
