"""Figures of how far a model can be trusted: reliability, operating points, decision curves, abstention."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from lesionlab.evaluation.intervals import wilson_interval
from lesionlab.evaluation.metrics_file import Metrics
from lesionlab.evaluation.tasks import MALIGNANT
from lesionlab.evaluation.values import Bin, Calibration
from lesionlab.report.style import BLUE, GREEN, GREY, INK, RED, new_figure
from lesionlab.taxonomy import Taxonomy

_STAGE_COLOURS = (GREY, BLUE, GREEN, RED)
_LEAST = 5  # images in a bin
_COLUMNS = 4  # of small axes


def trust_figure(metrics: Metrics) -> Any:
    """Draw the reliability of the prediction, before and after, and the error that abstaining leaves."""
    figure = new_figure(7.4, 3.3)
    reliability, risk = figure.subplots(1, 2)
    _diagonal(reliability)
    for (label, found), colour in zip(_stages(metrics), _STAGE_COLOURS, strict=False):
        _line(reliability, _filled(found.reliability), colour, f"{label}: {found.ece:.3f}")
    for row in _filled(metrics.test.calibration.reliability):
        interval = wilson_interval(row.happened, row.images)
        reliability.plot([row.stated] * 2, interval or [0.0, 1.0], color=colour, lw=0.8, alpha=0.6)
    reliability.set(
        title="Reliability of the predicted diagnosis (ECE)", xlabel="stated probability", ylabel="share correct"
    )
    reliability.legend(fontsize=7, loc="upper left")
    _risk(risk, metrics)
    return figure


def class_reliability_figure(metrics: Metrics, taxonomy: Taxonomy) -> Any:
    """Draw the reliability of each diagnosis's probability, before and after."""
    rows = math.ceil((len(taxonomy) + 1) / _COLUMNS)  # the last one is the legend's
    figure = new_figure(7.4, 2.0 * rows)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    stages = [_stages(metrics)[place] for place in (0, 1, -1)]
    for axes, dx in zip(grid, taxonomy.dx, strict=False):
        _diagonal(axes)
        for (label, found), colour in zip(stages, (GREY, INK, BLUE), strict=True):
            _line(axes, _filled(found.per_class[dx].reliability), colour, label)
        axes.set_title(dx, fontsize=8)
        axes.tick_params(labelsize=7)
    for axes in grid[len(taxonomy) :]:
        axes.set_axis_off()
    handles = [grid[-1].plot([], [], color=colour, marker=".")[0] for colour in (GREY, INK, BLUE)]
    grid[-1].legend(handles, [label for label, _ in stages], fontsize=7, loc="center")
    figure.supxlabel("stated probability", fontsize=8)
    figure.supylabel("observed share", fontsize=8)
    return figure


def operating_figure(metrics: Metrics) -> Any:
    """Draw the ROC curves of each task with the points chosen, and their decision curves."""
    figure = new_figure(7.4, 3.4)
    roc, benefit = figure.subplots(1, 2)
    roc.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=":")
    for name, task in metrics.operating_points.items():
        label, colour = _task(name)
        low, high = task.auc_interval or (None, None)
        interval = f" ({low:.3f} to {high:.3f})" if low is not None else ""
        roc.plot(task.roc.fpr, task.roc.tpr, color=colour, lw=1.4, label=f"{label}: {task.auc:.3f}{interval}")
        for point in task.points:
            x, y = 1 - (point.specificity or 0.0), point.sensitivity or 0.0
            across, along = point.specificity_interval or (1 - x, 1 - x), point.sensitivity_interval or (y, y)
            roc.plot([1 - (bound or 0.0) for bound in across], [y, y], color=colour, lw=0.8)
            roc.plot([x, x], [bound or 0.0 for bound in along], color=colour, lw=0.8)
            roc.plot(x, y, "o", color=colour, ms=4, mec="white", mew=0.6)
    roc.set(
        xlim=(0, 1),
        ylim=(0, 1.01),
        title="ROC (area), points chosen elsewhere",
        xlabel="1 - specificity",
        ylabel="sensitivity",
    )
    if metrics.operating_points:
        roc.legend(fontsize=7, loc="lower right")
    else:
        roc.text(0.5, 0.5, "no task has both sides", ha="center", fontsize=8)
    _net_benefit(benefit, metrics)
    return figure


def _task(name: str) -> tuple[str, str]:
    """Name a task in words, with its colour."""
    return ("malignant against benign", RED) if name == MALIGNANT else (f"{name} against the rest", BLUE)


def _stages(metrics: Metrics) -> list[tuple[str, Calibration]]:
    """Stages of the probabilities, from the network's own to those given: what they are called, and their calibration."""
    others = [(stage.label, stage.calibration) for key, stage in metrics.stages.items() if key != "patient"]
    return [*others, (metrics.given, metrics.test.calibration)]


def _filled(bins: Sequence[Bin]) -> list[Bin]:
    """Bins that hold enough images to show a share."""
    return [row for row in bins if row.images >= _LEAST]


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _line(axes: Axes, rows: list[Bin], colour: str, label: str) -> None:
    stated, happened = [row.stated for row in rows], [row.happened for row in rows]
    axes.plot(stated, happened, color=colour, marker=".", ms=4, label=label, lw=1)


def _net_benefit(axes: Axes, metrics: Metrics) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
    top = 0.05
    for name, rows in metrics.decision_curves.items():
        label, colour = _task(name)
        thresholds = [row.threshold for row in rows]
        axes.plot(thresholds, [row.all for row in rows], color=colour, lw=0.8, ls="--")
        axes.plot(thresholds, [row.model for row in rows], color=colour, lw=1.4, label=label)
        top = max(top, *(row.model for row in rows), rows[0].all)
    axes.set(ylim=(-0.03, 1.1 * top), title="Decision curves", xlabel="threshold probability", ylabel="net benefit")
    axes.plot([], [], color=GREY, lw=0.8, ls="--", label="call all positive (none: 0)")
    axes.legend(fontsize=7)


def _risk(axes: Axes, metrics: Metrics) -> None:
    rows = metrics.risk_coverage
    axes.plot([row.answered for row in rows], [row.error for row in rows], color=INK, marker=".", lw=1)
    for found in metrics.abstention:
        if found.error is not None and found.error_interval is not None:
            axes.plot(found.answered, found.error, "o", color=RED, ms=5)
            axes.plot([found.answered] * 2, [bound or 0.0 for bound in found.error_interval], color=RED, lw=1)
            axes.annotate(f"  {found.risk:.0%}", (found.answered, found.error), fontsize=7, color=RED)
    axes.set(xlim=(0, 1.03), ylim=(0, None), title="Abstention (red: at a chosen risk)")
    axes.set(xlabel="share answered, most confident first", ylabel="error rate")
