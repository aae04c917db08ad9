"""The page of a comparison of two folders: a verdict in words, plots, and the tables behind them, in one HTML file."""

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup

from lesionlab._version import NOT_A_DEVICE
from lesionlab.evaluation.drift import FeatureShift, FigureShift
from lesionlab.files import write_text
from lesionlab.report.style import BLUE, GREY, RED, STYLE, new_figure
from lesionlab.report.templating import environment

_ACROSS = 3  # plots beside each other


def write_drift_page(
    path: Path,
    names: tuple[str, str],
    verdict: str,
    shift: FeatureShift,
    mix: Sequence[FigureShift],
    quality: Sequence[FigureShift],
    values: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    model: str,
    *,
    notes: Sequence[str] = (),
    diagnoses: Mapping[str, str] | None = None,
) -> None:
    """Write the page.

    Args:
        path: of the `.html` file.
        names: of the folders.
        verdict: in words.
        shift: of the features.
        mix: changes of the shares of predictions.
        quality: changes of the look of pictures, of the same names as `values`.
        values: of each image of either folder, by name.
        model: name of the model whose features were compared.
        notes: faults of the folders' tables.
        diagnoses: names of the diagnoses by code, where the model predicts some.

    """
    with matplotlib.rc_context(STYLE):
        figures = {"shift": _svg(_permuted(shift)), "quality": _svg(_looks(names, values))}
        if mix:
            figures["mix"] = _svg(_mix(names, mix))
    page = environment().get_template("drift.html.j2")
    facts: dict[str, object] = {"names": names, "verdict": verdict, "shift": shift, "mix": mix, "quality": quality}
    words = {"notes": notes, "diagnoses": diagnoses or {}, "model": model, "notice": NOT_A_DEVICE}
    text = page.render(**facts, **words, figures=figures, number="{:z.1f}".format, signed="{:+z.1f}".format)
    write_text(path, text)


def _svg(figure: Any) -> Markup:
    text = StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    drawn = text.getvalue()
    return Markup(drawn[drawn.index("<svg") :])  # noqa: S704  drawn here, of numbers and names that matplotlib escapes


def _permuted(shift: FeatureShift) -> Any:
    figure = new_figure(6.4, 2.2)
    axes = figure.subplots()
    axes.hist(shift.permuted, bins=40, color=GREY, label="lesions dealt anew to both folders")
    axes.axvline(shift.coefficient, color=RED, label="as they are")
    axes.set_xlabel("energy coefficient of the features")
    axes.set_ylabel("permutations")
    axes.legend(fontsize=7)
    return figure


def _looks(names: tuple[str, str], values: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]) -> Any:
    figure = new_figure(7.4, 3.8)
    *plots, free = figure.subplots(-(-(len(values[0]) + 1) // _ACROSS), _ACROSS).flat
    for axes, name in zip(plots, values[0], strict=True):
        low, high = (limit([limit(side[name]) for side in values]) for limit in (np.nanmin, np.nanmax))
        bins = np.linspace(low, high, 25) if low < high else low + np.arange(25) - 11.5
        for side, colour, of in zip(values, (BLUE, RED), names, strict=True):
            axes.hist(side[name], bins=bins, density=True, histtype="step", color=colour, label=of)
        axes.set_title(name)
        axes.set_yticks([])
    free.set_axis_off()
    free.legend(*plots[0].get_legend_handles_labels(), loc="center")
    return figure


def _mix(names: tuple[str, str], mix: Sequence[FigureShift]) -> Any:
    figure = new_figure(6.4, 0.6 + 0.3 * len(mix))
    axes = figure.subplots()
    places = np.arange(len(mix))
    axes.barh(places - 0.2, [100 * change.first for change in mix], height=0.36, color=BLUE, label=names[0])
    axes.barh(places + 0.2, [100 * change.second for change in mix], height=0.36, color=RED, label=names[1])
    axes.set_yticks(places, [change.name for change in mix])
    axes.invert_yaxis()
    axes.set_xlabel("% of the images predicted as")
    axes.legend(fontsize=7)
    return figure
