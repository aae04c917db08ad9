"""Figures of a run: learning curves, confusion, ROC and precision-recall curves, mistakes.

Pixels are needed for the gallery of mistakes alone.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from lesionlab.evaluation.metrics_file import Metrics
from lesionlab.evaluation.values import EvaluatedFigures
from lesionlab.files import write_json
from lesionlab.report.figures_trust import class_reliability_figure, operating_figure, trust_figure
from lesionlab.report.style import (
    BLUE,
    GREY,
    INK,
    RED,
    STYLE,
    colours_of,
    height_of_rows,
    legend_below,
    name_axis,
    new_figure,
    save_figure,
    save_jpeg,
)
from lesionlab.taxonomy import Taxonomy

MISTAKES = 24  # in the gallery
MISTAKE_PX = 192
_MOST_IN_LEGEND = 8  # curves, beside which there is room inside of the axes


def write_run_figures(
    folder: Path,
    metrics: Metrics,
    taxonomy: Taxonomy,
    history: pd.DataFrame,
    predictions: pd.DataFrame,
    pixels: np.ndarray,
    table: pd.DataFrame,
) -> None:
    """Write the figures of a run into its `figures`, and the gallery of mistakes.

    Args:
        folder: made where it does not exist.
        metrics: as metrics.json holds them.
        taxonomy: of the diagnoses.
        history: a row an epoch; of an ensemble with the column `run`.
        predictions: as predictions.csv holds them.
        pixels: uint8 (n, height, width, 3).
        table: `image_id` and `row`, the image's place in `pixels`.
    """
    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        drawn = {
            "history.svg": _strengths(history) if "l2" in history else _history(history),
            "split.svg": _split(predictions, taxonomy),
        }
    for name, figure in drawn.items():
        save_figure(figure, folder / name, metrics.is_generated)
    write_part_figures(folder, metrics, taxonomy, predictions, pixels, table)


def write_part_figures(
    folder: Path,
    metrics: Metrics,
    taxonomy: Taxonomy,
    predictions: pd.DataFrame,
    pixels: np.ndarray,
    table: pd.DataFrame,
) -> None:
    """Write the figures of the test part and its gallery of mistakes into `folder`; arguments as in `write_run_figures`."""
    with matplotlib.rc_context(STYLE):
        drawn = {
            "confusion.svg": _confusion(metrics.test, taxonomy),
            "roc.svg": _roc(metrics, taxonomy),
            "precision-recall.svg": _precision_recall(metrics, taxonomy),
            "misclassified.svg": _misclassified(metrics.test, taxonomy),
            "trust.svg": trust_figure(metrics),
            "reliability.svg": class_reliability_figure(metrics, taxonomy),
            "operating.svg": operating_figure(metrics),
        }
    for name, figure in drawn.items():
        save_figure(figure, folder / name, metrics.is_generated)
    write_mistakes(folder, taxonomy, predictions, pixels, table)


def write_mistakes(
    folder: Path, taxonomy: Taxonomy, predictions: pd.DataFrame, pixels: np.ndarray, table: pd.DataFrame
) -> None:
    """Write the most confident mistakes of the test part: `mistakes.json` and a small picture each."""
    test = predictions[predictions["part"] == "test"]
    wrong = test[test["truth"] != test["predicted"]].copy()
    probabilities = wrong[list(taxonomy.columns)].to_numpy()
    wrong["confidence"] = probabilities.max(axis=1, initial=0)
    wrong["given_to_truth"] = [
        row[taxonomy.index_of[dx]] for row, dx in zip(probabilities, wrong["truth"], strict=True)
    ]
    wrong = wrong.sort_values(["confidence", "image"], ascending=[False, True])[:MISTAKES]
    row_of = dict(zip(table["image_id"], table["row"], strict=True))
    (folder / "mistakes").mkdir(exist_ok=True)
    cards = []
    for number, case in enumerate(wrong.to_dict("records"), start=1):
        name = f"mistakes/{number:02}.jpg"
        _write_thumbnail(pixels[row_of[case["image"]]], folder / name)
        shown = ("image", "truth", "predicted", "confidence", "given_to_truth")
        cards.append({"file": name} | {key: case[key] for key in shown})
    write_json(folder / "mistakes.json", cards)


def _write_thumbnail(pixels: np.ndarray, path: Path) -> None:
    picture = Image.fromarray(pixels)
    scale = MISTAKE_PX / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    save_jpeg(np.asarray(picture.resize(size, Image.Resampling.BICUBIC)), path)


def _history(history: pd.DataFrame) -> Any:
    figure = new_figure(7.4, 2.4)
    loss, score, rate = figure.subplots(1, 3)
    lines = (
        (loss, "loss", GREY, "training (weighted)"),
        (loss, "val_loss", BLUE, "validation"),
        (score, "accuracy", GREY, "training accuracy"),
        (score, "val_accuracy", BLUE, "validation accuracy"),
        (score, "val_balanced_accuracy", RED, "validation balanced"),
        (rate, "learning_rate", INK, ""),
    )
    runs = [part for _, part in history.groupby("run", sort=False)] if "run" in history else [history]
    for axes, column, colour, label in lines:
        for number, part in enumerate(runs):
            axes.plot(part["epoch"], part[column], color=colour, label=label if number == 0 else None)
    loss.set_title("Loss")
    score.set_title("Accuracy")
    score.set_ylim(0, 1)
    rate.set_title("Learning rate")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for axes in (loss, score, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (loss, score):
        axes.legend(fontsize=7)
    return figure


def _strengths(history: pd.DataFrame) -> Any:
    """Draw what each strength of L2 came to, of a linear head."""
    figure = new_figure(7.4, 2.4)
    loss, score = figure.subplots(1, 2)
    for axes, column, colour, label in (
        (loss, "loss", GREY, "training"),
        (loss, "val_loss", BLUE, "validation"),
        (score, "accuracy", GREY, "training accuracy"),
        (score, "val_accuracy", BLUE, "validation accuracy"),
        (score, "val_balanced_accuracy", RED, "validation balanced"),
    ):
        axes.plot(history["l2"], history[column], color=colour, label=label, marker="o", markersize=3)
    loss.set_title("Log loss")
    score.set_title("Accuracy")
    score.set_ylim(0, 1)
    for axes in (loss, score):
        axes.set_xscale("log")
        axes.set_xlabel("strength of L2")
        axes.legend(fontsize=7)
    return figure


def _split(predictions: pd.DataFrame, taxonomy: Taxonomy) -> Any:
    figure, colours = new_figure(6.4, 2.0), colours_of(taxonomy)
    axes = figure.subplots()
    for position, part in enumerate(("train", "validation", "test")):
        counts = predictions.loc[predictions["part"] == part, "truth"].value_counts()
        left = 0
        for dx in taxonomy.dx:
            number = int(counts.get(dx, 0))
            axes.barh(position, number, left=left, color=colours[dx], height=0.7, label=dx if position == 0 else None)
            left += number
        axes.annotate(f" {left:,}", (left, position), va="center", fontsize=8)
    axes.set_yticks(range(3), ["train", "validation", "test"])
    axes.invert_yaxis()
    axes.set_xlabel("images")
    legend_below(figure, taxonomy, handlelength=1)
    return figure


def _confusion(part: EvaluatedFigures, taxonomy: Taxonomy) -> Any:
    counts = np.array(part.confusion)
    totals = counts.sum(axis=1, keepdims=True)
    rates = np.divide(100 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    figure = new_figure(height_of_rows(len(taxonomy), 7.4), height_of_rows(len(taxonomy), 3.6))
    left, right = figure.subplots(1, 2)
    _matrix(left, taxonomy, rates, [[f"{value:,}" for value in row] for row in counts])
    left.set_title(f"Counts, test part (n = {counts.sum():,})")
    _matrix(right, taxonomy, rates, [[f"{value:.0f}" for value in row] for row in rates])
    right.set_title("% of the true diagnosis")
    return figure


def _matrix(axes: Axes, taxonomy: Taxonomy, shade: np.ndarray, text: list[list[str]]) -> None:
    number = len(taxonomy)
    edges = np.arange(number + 1) - 0.5
    axes.pcolormesh(edges, edges, shade, cmap="Blues", vmin=0, vmax=100, edgecolor="white", linewidth=0.5)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    for row in range(number):
        for column in range(number):
            colour = "white" if shade[row, column] > 55 else INK
            axes.text(column, row, text[row][column], ha="center", va="center", fontsize=8, color=colour)
    name_axis(axes.xaxis, taxonomy)
    name_axis(axes.yaxis, taxonomy)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")


def _roc(metrics: Metrics, taxonomy: Taxonomy) -> Any:
    figure, colours = new_figure(4.4, 4.0), colours_of(taxonomy)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.7, ls=":")
    for dx, curve in metrics.curves.roc.items():
        found = metrics.test.per_class[dx]
        label = f"{dx}  {found.auc:.3f}  (n = {found.images})"
        axes.plot(curve.fpr, curve.tpr, color=colours[dx], label=label, lw=1.4)
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    two = " and ".join(taxonomy.dx) if len(taxonomy) == 2 else ""
    axes.set_title(f"ROC, {two} (area)" if two else "ROC, each diagnosis against the rest (area)")
    _legend(figure, axes, loc="lower right")
    axes.set_aspect("equal")
    return figure


def _precision_recall(metrics: Metrics, taxonomy: Taxonomy) -> Any:
    figure, colours = new_figure(4.4, 4.0), colours_of(taxonomy)
    axes = figure.subplots()
    for dx, curve in metrics.curves.precision_recall.items():
        found = metrics.test.per_class[dx]
        label = f"{dx}  {found.average_precision:.3f}"
        axes.plot(curve.sensitivity, curve.ppv, color=colours[dx], label=label, lw=1.4)
        axes.plot(1.02, found.images / metrics.test.images, marker="<", color=colours[dx], ms=4, clip_on=False)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("sensitivity (recall)")
    axes.set_ylabel("positive predictive value (precision)")
    axes.set_title("Precision and recall (average precision; arrow: prevalence)", fontsize=9)
    _legend(figure, axes, loc="lower left", frameon=True, framealpha=0.85, edgecolor="none")
    axes.set_aspect("equal")
    return figure


def _legend(figure: Figure, axes: Axes, **options: Any) -> None:
    """Name the curves inside of the axes, or beside them where they are many."""
    number = len(axes.get_legend_handles_labels()[0])
    if number > _MOST_IN_LEGEND:
        figure.set_figwidth(figure.get_figwidth() + 1.6)
        figure.legend(fontsize=7, loc="outside right center")
    elif number:
        axes.legend(fontsize=7, **options)
    else:
        axes.text(0.5, 0.5, "one diagnosis alone has no curve", ha="center", fontsize=8)


def _misclassified(part: EvaluatedFigures, taxonomy: Taxonomy) -> Any:
    figure, colours = new_figure(6.4, height_of_rows(len(taxonomy), 2.4)), colours_of(taxonomy)
    axes = figure.subplots()
    for position, dx in enumerate(taxonomy.dx):
        found = part.per_class[dx]
        if found.misclassified is None or found.sensitivity_interval is None:
            axes.annotate(" no image in the test part", (0, position), va="center", fontsize=8)
            continue
        value = 100 * found.misclassified
        low, high = (100 * (1 - (bound or 0.0)) for bound in reversed(found.sensitivity_interval))
        axes.barh(position, value, color=colours[dx], height=0.6)
        axes.plot([low, high], [position] * 2, color=INK, lw=1)
        axes.annotate(f"  {value:.0f} % of {found.images}", (max(value, high), position), va="center", fontsize=8)
    name_axis(axes.yaxis, taxonomy)
    axes.invert_yaxis()
    axes.set_xlim(0, 125)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("% misclassified (line: 95 % interval)")
    return figure
