"""The report of an adaptation: one HTML file with its figures inside, to show to somebody who decides about a clinic."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from lesionlab._version import NOT_A_DEVICE, __version__
from lesionlab.evaluation.before_after import FEWEST_LESIONS, DiagnosisGain, Gain
from lesionlab.evaluation.calibration import calibration
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics_file import Suspect
from lesionlab.evaluation.notebook_html import interval_text
from lesionlab.files import write_text
from lesionlab.inference.facts import Facts
from lesionlab.report.page import inline_svg
from lesionlab.report.style import BLUE, GREY, RED, STYLE, height_of_rows, name_axis, new_figure, save_figure
from lesionlab.report.templating import environment


@dataclass(frozen=True)
class Candidate:
    """A way to adapt as the report shows it: its loss, what it gains on the model as it is, and whether it was chosen."""

    words: str
    loss: float
    gain: float
    error: float
    is_chosen: bool


@dataclass(frozen=True, eq=False)
class AdaptedReport:
    """What the report shows.

    Attributes:
        old: facts of the model that was adapted; `new` of the file that was made of it.
        file: name of the new file.
        words: what was done.
        is_changed: whether the head was changed at all.
        before: predictions of the old model; `after` out of fold.
        gains: each figure before and after; `diagnoses` each diagnosis.
        candidates: what was compared.
        added: codes of diagnoses that are new to the model; `left_out` of those of the model's that the clinic lacks.
        suspects: labels to look at again.
        not_dermatoscopic: labelled images that the old model rejects.
        remarks: sentences on what cannot be promised.
        is_generated: whether the images are drawn by a program.

    """

    old: Facts
    new: Facts
    file: str
    words: str
    is_changed: bool
    before: LabelledPredictions
    after: LabelledPredictions
    gains: Sequence[Gain]
    diagnoses: Sequence[DiagnosisGain]
    candidates: Sequence[Candidate]
    added: Sequence[str]
    left_out: Sequence[str]
    suspects: Sequence[Suspect]
    not_dermatoscopic: Sequence[str]
    remarks: Sequence[str]
    is_generated: bool


@dataclass(frozen=True)
class Drawn:
    """A figure as the page takes it, and the width in inches at which its text has the page's size."""

    svg: Markup
    width: float


def write_adapted_html(path: Path, report: AdaptedReport) -> None:
    """Write the report, whole or not at all."""
    page = environment().get_template("adapted.html.j2")
    text = page.render(
        r=report,
        figures=_figures(report),
        notice=NOT_A_DEVICE,
        version=__version__,
        fewest=FEWEST_LESIONS,
        number=lambda value: f"{value:.3f}",
        signed=lambda value: f"{value:+.3f}",
        interval=interval_text,
    )
    write_text(path, text)


def _figures(report: AdaptedReport) -> Mapping[str, Drawn]:
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        with matplotlib.rc_context(STYLE):
            drawn = {"reliability": _reliability(report), "confusion": _confusion(report.after)}
        for name, figure in drawn.items():
            file = Path(folder) / f"{name}.svg"
            save_figure(figure, file, report.is_generated)
            made[name] = Drawn(Markup(inline_svg(file)), figure.get_figwidth())
    return made


def _reliability(report: AdaptedReport) -> Figure:
    """Draw what was stated against what happened, before and after."""
    figure = new_figure(4.6, 3.8)
    axes = figure.add_subplot(xlabel="stated probability of the prediction", ylabel="share that is right")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    for part, colour, label in ((report.before, RED, "before"), (report.after, BLUE, "after")):
        bins = calibration(part).reliability
        sizes = [4 + 60 * one.images / len(part) for one in bins]
        stated, happened = [one.stated for one in bins], [one.happened for one in bins]
        axes.plot(stated, happened, color=colour, linewidth=1.2, label=label)
        axes.scatter(stated, happened, s=sizes, color=colour)
    axes.legend(frameon=False)
    return figure


def _confusion(part: LabelledPredictions) -> Figure:
    """Draw which diagnoses are taken for which, as shares of the true one, out of fold; ties are no predictions."""
    k = part.n_diagnoses
    counts, is_told = np.zeros((k, k)), part.predicted >= 0
    np.add.at(counts, (part.labels[is_told], part.predicted[is_told]), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(height_of_rows(k, 4.8), height_of_rows(k, 4.0))
    axes = figure.add_subplot(xlabel="predicted", ylabel="true")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=7, color=colour)
    name_axis(axes.xaxis, part.taxonomy)
    name_axis(axes.yaxis, part.taxonomy)
    return figure
