"""The model card of a run: what the model is, what it was trained on, how well it does, what it is not for."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lesionlab._version import NOT_A_DEVICE
from lesionlab.files import write_text
from lesionlab.taxonomy import DIAGNOSES


def write_card(run_dir: Path) -> Path:
    """Write `card.md` from metrics.json and manifest.json of a run directory; return its path."""
    metrics, manifest = (
        json.loads((run_dir / f"{name}.json").read_text(encoding="utf-8")) for name in ("metrics", "manifest")
    )
    environment = Environment(
        loader=PackageLoader("lesionlab.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["figure"] = _figure
    environment.filters["interval"] = _interval
    page = environment.get_template("card.md.j2")
    text = page.render(metrics=metrics, manifest=manifest, diagnoses=DIAGNOSES, notice=NOT_A_DEVICE)
    write_text(run_dir / "card.md", text + "\n")
    return run_dir / "card.md"


def _figure(value: float | None) -> str:
    return "not available" if value is None else f"{value:.3f}"


def _interval(bounds: list[Any] | None) -> str:
    return "" if bounds is None or bounds[0] is None else f"({bounds[0]:.3f} to {bounds[1]:.3f})"
