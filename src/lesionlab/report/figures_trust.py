"""Figures of how far a model can be trusted: reliability, decision curve, what abstaining would gain."""

from typing import Any

from matplotlib.axes import Axes

from lesionlab.report.style import COLOUR, GREY, INK, new_figure


def trust_figure(metrics: dict[str, Any]) -> Any:
    """Draw reliability, the decision curve of malignant against benign, and the error that abstaining leaves."""
    figure = new_figure(7.4, 2.7)
    reliability, benefit, risk = figure.subplots(1, 3)
    _reliability(reliability, metrics)
    _net_benefit(benefit, metrics["decision_curve"]["malignant"])
    _risk(risk, metrics["risk_coverage"])
    return figure


def _reliability(axes: Axes, metrics: dict[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    for name, label, colour in (
        ("test_before_rule", "after temperature", COLOUR["nv"]),
        ("test", "after the decision rule", COLOUR["mel"]),
    ):
        bins = metrics[name]["calibration"]["reliability"]
        axes.plot([b["stated"] for b in bins], [b["happened"] for b in bins], color=colour, marker=".", label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1), title="Reliability", xlabel="probability of the answer", ylabel="share right")
    axes.legend(fontsize=7, loc="upper left")


def _net_benefit(axes: Axes, rows: list[dict[str, float]]) -> None:
    thresholds = [row["threshold"] for row in rows]
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":", label="call none malignant")
    axes.plot(thresholds, [row["all"] for row in rows], color=GREY, label="call all malignant")
    axes.plot(thresholds, [row["model"] for row in rows], color=COLOUR["mel"], label="model")
    top = max(row["model"] for row in rows)
    axes.set(ylim=(-0.05, max(0.1, 1.3 * top)), title="Decision curve", xlabel="threshold probability")
    axes.set_ylabel("net benefit")
    axes.legend(fontsize=7)


def _risk(axes: Axes, rows: list[dict[str, float]]) -> None:
    axes.plot([row["answered"] for row in rows], [row["error"] for row in rows], color=INK, marker=".")
    axes.set(ylim=(0, None), title="Abstention", xlabel="share answered, surest first", ylabel="share of answers wrong")
