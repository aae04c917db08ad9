"""Figures of how far a model can be trusted: reliability, operating points, decision curves, abstention."""

from typing import Any

from matplotlib.axes import Axes

from lesionlab.evaluation.intervals import wilson_interval
from lesionlab.report.style import COLOUR, GREY, INK, new_figure
from lesionlab.taxonomy import DX

_STAGE_COLOURS = (GREY, COLOUR["nv"], COLOUR["bkl"], COLOUR["mel"])
_LEAST = 5  # images in a bin
_TASKS = {
    "malignant": ("malignant against benign", COLOUR["mel"]),
    "melanoma": ("melanoma against the rest", COLOUR["nv"]),
}


def trust_figure(metrics: dict[str, Any]) -> Any:
    """Draw the reliability of the answer given, before and after, and the error that abstaining leaves."""
    figure = new_figure(7.4, 3.3)
    reliability, risk = figure.subplots(1, 2)
    _diagonal(reliability)
    for (name, label), colour in zip(_stages(metrics), _STAGE_COLOURS, strict=False):
        found = metrics[name]["calibration"]
        _line(reliability, _filled(found), colour, f"{label}: {found['ece']:.3f}")
    for row in _filled(found):  # of the answer as given, the last
        interval = wilson_interval(row["happened"], int(row["images"]))
        reliability.plot([row["stated"]] * 2, interval or [0.0, 1.0], color=colour, lw=0.8, alpha=0.6)
    reliability.set(
        title="Reliability of the predicted diagnosis (ECE)", xlabel="stated probability", ylabel="share correct"
    )
    reliability.legend(fontsize=7, loc="upper left")
    _risk(risk, metrics)
    return figure


def class_reliability_figure(metrics: dict[str, Any]) -> Any:
    """Draw the reliability of each diagnosis's probability, before and after."""
    figure = new_figure(7.4, 4.0)
    grid = figure.subplots(2, 4).ravel()
    stages = [_stages(metrics)[place] for place in (0, 1, -1)]
    for axes, dx in zip(grid, DX, strict=False):
        _diagonal(axes)
        for (name, label), colour in zip(stages, (GREY, INK, COLOUR["nv"]), strict=True):
            found = metrics[name]["calibration"]["per_class"][dx]
            _line(axes, _filled(found), colour, label)
        axes.set_title(dx, fontsize=8)
        axes.tick_params(labelsize=7)
    grid[-1].set_axis_off()
    handles = [grid[-1].plot([], [], color=colour, marker=".")[0] for colour in (GREY, INK, COLOUR["nv"])]
    grid[-1].legend(handles, [label for _, label in stages], fontsize=7, loc="center")
    figure.supxlabel("stated probability", fontsize=8)
    figure.supylabel("share that happened", fontsize=8)
    return figure


def operating_figure(metrics: dict[str, Any]) -> Any:
    """Draw the ROC curves of both tasks with the points chosen, and their decision curves."""
    figure = new_figure(7.4, 3.4)
    roc, benefit = figure.subplots(1, 2)
    roc.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=":")
    for name, task in metrics["operating"].items():
        label, colour = _TASKS[name]
        low, high = task["auc_interval"]
        roc.plot(
            task["roc"]["fpr"],
            task["roc"]["tpr"],
            color=colour,
            lw=1.4,
            label=f"{label}: {task['auc']:.3f} ({low:.3f} to {high:.3f})",
        )
        for point in task["points"]:
            x, y = 1 - point["specificity"], point["sensitivity"]
            roc.plot([1 - bound for bound in point["specificity_interval"]], [y, y], color=colour, lw=0.8)
            roc.plot([x, x], point["sensitivity_interval"], color=colour, lw=0.8)
            roc.plot(x, y, "o", color=colour, ms=4, mec="white", mew=0.6)
    roc.set(
        xlim=(0, 1),
        ylim=(0, 1.01),
        title="ROC (area), points chosen elsewhere",
        xlabel="1 - specificity",
        ylabel="sensitivity",
    )
    if metrics["operating"]:
        roc.legend(fontsize=7, loc="lower right")
    _net_benefit(benefit, metrics)
    return figure


def _stages(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Stages of the probabilities, from the network's own to those given: their keys, and what they are called."""
    return list(metrics["stages"].items())


def _filled(found: dict[str, Any]) -> list[dict[str, float]]:
    """Bins that hold enough images to show a share."""
    return [row for row in found["reliability"] if row["images"] >= _LEAST]


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _line(axes: Axes, rows: list[dict[str, float]], colour: str, label: str) -> None:
    axes.plot(
        [row["stated"] for row in rows],
        [row["happened"] for row in rows],
        color=colour,
        marker=".",
        ms=4,
        label=label,
        lw=1,
    )


def _net_benefit(axes: Axes, metrics: dict[str, Any]) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
    top = 0.05
    for name, rows in metrics["decision_curve"].items():
        label, colour = _TASKS[name]
        thresholds = [row["threshold"] for row in rows]
        axes.plot(thresholds, [row["all"] for row in rows], color=colour, lw=0.8, ls="--")
        axes.plot(thresholds, [row["model"] for row in rows], color=colour, lw=1.4, label=label)
        top = max(top, *(row["model"] for row in rows), rows[0]["all"])
    axes.set(ylim=(-0.03, 1.1 * top), title="Decision curves", xlabel="threshold probability", ylabel="net benefit")
    axes.plot([], [], color=GREY, lw=0.8, ls="--", label="call all positive (none: 0)")
    axes.legend(fontsize=7)


def _risk(axes: Axes, metrics: dict[str, Any]) -> None:
    rows = metrics["risk_coverage"]
    axes.plot([row["answered"] for row in rows], [row["error"] for row in rows], color=INK, marker=".", lw=1)
    for row in metrics["abstention"]:
        if row["answered"]:
            axes.plot(row["answered"], row["error"], "o", color=COLOUR["mel"], ms=5)
            axes.plot([row["answered"]] * 2, row["error_interval"], color=COLOUR["mel"], lw=1)
            axes.annotate(f"  {row['risk']:.0%}", (row["answered"], row["error"]), fontsize=7, color=COLOUR["mel"])
    axes.set(xlim=(0, 1.03), ylim=(0, None), title="Abstention (red: at a chosen risk)")
    axes.set(xlabel="share answered, most confident first", ylabel="error rate")
