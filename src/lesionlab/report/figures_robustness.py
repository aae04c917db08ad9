"""Pictures of how a model bears changed images: figures by corruption and severity, and a sheet of what was done."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lesionlab.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from lesionlab.evaluation.metrics_file import Metrics, Robustness
from lesionlab.report.style import BLUE, GREY, INK, RED, STYLE, new_figure, save_figure, save_jpeg

_PX = 96
_LABEL_PX = 104
_GAP_PX = 4


def write_robustness(folder: Path, metrics: Metrics, pixels: np.ndarray) -> None:
    """Write `robustness.svg`, `covered.svg` and `corruptions.jpg` into `folder`.

    Args:
        folder: `figures/` of an evaluation.
        metrics: its metrics, with `robustness`.
        pixels: an image to show the corruptions on, uint8 (height, width, 3).

    """
    found = metrics.robustness
    if found is None:
        raise ValueError("these metrics have no robustness")
    with matplotlib.rc_context(STYLE):
        drawn = {"robustness.svg": _by_severity(found), "covered.svg": _covered(found, len(metrics.diagnoses))}
    for name, figure in drawn.items():
        save_figure(figure, folder / name, metrics.is_generated)
    save_jpeg(sheet(pixels), folder / "corruptions.jpg")


def sheet(pixels: np.ndarray) -> np.ndarray:
    """Put an image, under each corruption in each severity, on a sheet: a row a corruption, the image itself first."""
    step = _PX + _GAP_PX
    page = Image.new("RGB", (_LABEL_PX + (SEVERITIES + 1) * step, 20 + len(CORRUPTIONS) * step), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for column, title in enumerate(("as it is", *map(str, range(1, SEVERITIES + 1)))):
        pen.text((_LABEL_PX + column * step + _PX // 2, 3), title, INK, font, anchor="ma")
    look = Image.fromarray(pixels).resize((2 * _PX, 2 * _PX), Image.Resampling.BICUBIC)
    for row, name in enumerate(CORRUPTIONS):
        top = 20 + row * step
        pen.text((0, top + _PX // 2), name, INK, font, anchor="lm")
        shown = [np.asarray(look), *(corrupt(np.asarray(look), name, s, 3) for s in range(1, SEVERITIES + 1))]
        for column, picture in enumerate(shown):
            page.paste(
                Image.fromarray(picture).resize((_PX, _PX), Image.Resampling.BOX), (_LABEL_PX + column * step, top)
            )
    return np.asarray(page)


def _by_severity(found: Robustness) -> Any:
    """Draw the balanced accuracy and the share of predictions changed of each corruption, a dot a severity."""
    figure = new_figure(7.4, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.1, 0.95, SEVERITIES))
    for place, row in enumerate(reversed(found.corruptions)):
        for axes, key in ((left, "balanced_accuracy"), (right, "changed")):
            values = [getattr(severity, key) for severity in row.severities]
            axes.plot([min(values), max(values)], [place, place], color=GREY, lw=0.7, zorder=1)
            axes.scatter(values, [place] * SEVERITIES, c=shades, s=22, zorder=2)
    left.axvline(found.clean.balanced_accuracy, color=RED, lw=1, ls="--")
    left.set(title="Balanced accuracy (line: as they are)", xlabel="balanced accuracy")
    left.set_yticks(range(len(found.corruptions)), [row.name for row in reversed(found.corruptions)])
    right.set(title="Predictions that change", xlabel="share of images", xlim=(-0.02, None))
    handles = [right.scatter([], [], color=shade, label=str(s)) for s, shade in enumerate(shades, start=1)]
    figure.legend(handles=handles, title="severity", loc="outside lower center", ncols=SEVERITIES, fontsize=8)
    return figure


def _covered(found: Robustness, n_diagnoses: int) -> Any:
    """Draw the balanced accuracy that is left when the middle, or what lies around it, is covered."""
    figure = new_figure(4.6, 2.8)
    axes = figure.subplots()
    for name, label, colour in (
        ("centre", "middle covered", RED),
        ("border", "border covered", BLUE),
    ):
        rows = [row for row in found.covered if row.name == name]
        shares, values = [row.level for row in rows], [row.balanced_accuracy or 0.0 for row in rows]
        axes.plot(
            [0, *shares], [found.clean.balanced_accuracy or 0.0, *values], color=colour, marker="o", ms=4, label=label
        )
    axes.axhline(1 / n_diagnoses, color=GREY, lw=0.8, ls=":", label="guessing")
    axes.set(xlabel="share of the image covered", ylabel="balanced accuracy", ylim=(0, 1), xlim=(0, 1))
    axes.legend(fontsize=8)
    return figure
