"""Figures of a run: learning curves, confusion, ROC and precision-recall curves, mistakes.

Pixels are needed for the gallery of mistakes alone.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

from lesionlab.files import replacing, write_json
from lesionlab.report.figures_trust import class_reliability_figure, operating_figure, trust_figure
from lesionlab.report.style import COLOUR, GREY, INK, STYLE, new_figure, save_figure
from lesionlab.taxonomy import DX, INDEX_OF, ISIC_COLUMNS

MISTAKES = 24  # in the gallery
MISTAKE_PX = 192


def write_run_figures(
    folder: Path,
    metrics: dict[str, Any],
    history: pd.DataFrame,
    predictions: pd.DataFrame,
    pixels: np.ndarray,
    table: pd.DataFrame,
) -> None:
    """Write the figures of a run into its `figures`, and the gallery of mistakes.

    Args:
        folder: made where it does not exist.
        metrics: as metrics.json holds them.
        history: a row an epoch; of an ensemble with the column `run`.
        predictions: as predictions.csv holds them.
        pixels: uint8 (n, height, width, 3).
        table: `image_id` and `row`, the image's place in `pixels`.
    """
    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        drawn = {
            "history.svg": _history(history),
            "split.svg": _split(predictions),
        }
    for name, figure in drawn.items():
        save_figure(figure, folder / name, metrics["is_generated"])
    write_part_figures(folder, metrics, predictions, pixels, table)


def write_part_figures(
    folder: Path, metrics: dict[str, Any], predictions: pd.DataFrame, pixels: np.ndarray, table: pd.DataFrame
) -> None:
    """Write the figures of the test part and its gallery of mistakes into `folder`; arguments as in `write_run_figures`."""
    with matplotlib.rc_context(STYLE):
        drawn = {
            "confusion.svg": _confusion(metrics["test"]),
            "roc.svg": _roc(metrics),
            "precision-recall.svg": _precision_recall(metrics),
            "misclassified.svg": _misclassified(metrics["test"]),
            "trust.svg": trust_figure(metrics),
            "reliability.svg": class_reliability_figure(metrics),
            "operating.svg": operating_figure(metrics),
        }
    for name, figure in drawn.items():
        save_figure(figure, folder / name, metrics["is_generated"])
    write_mistakes(folder, predictions, pixels, table)


def write_mistakes(folder: Path, predictions: pd.DataFrame, pixels: np.ndarray, table: pd.DataFrame) -> None:
    """Write the most confident mistakes of the test part: `mistakes.json` and a small picture each."""
    test = predictions[predictions["part"] == "test"]
    wrong = test[test["truth"] != test["predicted"]].copy()
    probabilities = wrong[list(ISIC_COLUMNS)].to_numpy()
    wrong["confidence"] = probabilities.max(axis=1, initial=0)
    wrong["given_to_truth"] = [row[INDEX_OF[dx]] for row, dx in zip(probabilities, wrong["truth"], strict=True)]
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
    with replacing(path) as temporary:
        picture.resize(size, Image.Resampling.BICUBIC).save(temporary, format="jpeg", quality=82)


def _history(history: pd.DataFrame) -> Any:
    figure = new_figure(7.4, 2.4)
    loss, score, rate = figure.subplots(1, 3)
    lines = (
        (loss, "loss", GREY, "training (weighted)"),
        (loss, "val_loss", COLOUR["nv"], "validation"),
        (score, "accuracy", GREY, "training accuracy"),
        (score, "val_accuracy", COLOUR["nv"], "validation accuracy"),
        (score, "val_balanced_accuracy", COLOUR["mel"], "validation balanced"),
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


def _split(predictions: pd.DataFrame) -> Any:
    figure = new_figure(6.4, 2.0)
    axes = figure.subplots()
    for position, part in enumerate(("train", "validation", "test")):
        counts = predictions.loc[predictions["part"] == part, "truth"].value_counts()
        left = 0
        for dx in DX:
            number = int(counts.get(dx, 0))
            axes.barh(position, number, left=left, color=COLOUR[dx], height=0.7, label=dx if position == 0 else None)
            left += number
        axes.annotate(f" {left:,}", (left, position), va="center", fontsize=8)
    axes.set_yticks(range(3), ["train", "validation", "test"])
    axes.invert_yaxis()
    axes.set_xlabel("images")
    figure.legend(loc="outside lower center", ncols=7, fontsize=8, handlelength=1)
    return figure


def _confusion(part: dict[str, Any]) -> Any:
    counts = np.array(part["confusion"])
    totals = counts.sum(axis=1, keepdims=True)
    rates = np.divide(100 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    figure = new_figure(7.4, 3.6)
    left, right = figure.subplots(1, 2)
    _matrix(left, rates, [[f"{value:,}" for value in row] for row in counts])
    left.set_title(f"Counts, test part (n = {counts.sum():,})")
    _matrix(right, rates, [[f"{value:.0f}" for value in row] for row in rates])
    right.set_title("% of the true diagnosis")
    return figure


def _matrix(axes: Axes, shade: np.ndarray, text: list[list[str]]) -> None:
    edges = np.arange(len(DX) + 1) - 0.5
    axes.pcolormesh(edges, edges, shade, cmap="Blues", vmin=0, vmax=100, edgecolor="white", linewidth=0.5)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    for row in range(len(DX)):
        for column in range(len(DX)):
            colour = "white" if shade[row, column] > 55 else INK
            axes.text(column, row, text[row][column], ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(DX)), list(DX))
    axes.set_yticks(range(len(DX)), list(DX))
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")


def _roc(metrics: dict[str, Any]) -> Any:
    figure = new_figure(4.4, 4.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.7, ls=":")
    for dx, curve in metrics["curves"]["roc"].items():
        figures = metrics["test"]["per_class"][dx]
        label = f"{dx}  {figures['auc']:.3f}  (n = {figures['images']})"
        axes.plot(curve["fpr"], curve["tpr"], color=COLOUR[dx], label=label, lw=1.4)
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.set_title("ROC, each diagnosis against the rest (area)")
    _legend(axes, loc="lower right")
    axes.set_aspect("equal")
    return figure


def _precision_recall(metrics: dict[str, Any]) -> Any:
    figure = new_figure(4.4, 4.0)
    axes = figure.subplots()
    for dx, curve in metrics["curves"]["precision_recall"].items():
        figures = metrics["test"]["per_class"][dx]
        prevalence = figures["images"] / metrics["test"]["images"]
        axes.plot(
            curve["recall"],
            curve["precision"],
            color=COLOUR[dx],
            label=f"{dx}  {figures['average_precision']:.3f}",
            lw=1.4,
        )
        axes.plot(1.02, prevalence, marker="<", color=COLOUR[dx], ms=4, clip_on=False)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall (sensitivity)")
    axes.set_ylabel("precision (positive predictive value)")
    axes.set_title("Precision and recall (average precision; arrow: prevalence)", fontsize=9)
    _legend(axes, loc="lower left", frameon=True, framealpha=0.85, edgecolor="none")
    axes.set_aspect("equal")
    return figure


def _legend(axes: Axes, **options: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, **options)
    else:
        axes.text(0.5, 0.5, "one diagnosis alone has no curve", ha="center", fontsize=8)


def _misclassified(part: dict[str, Any]) -> Any:
    figure = new_figure(6.4, 2.4)
    axes = figure.subplots()
    for position, dx in enumerate(DX):
        figures = part["per_class"][dx]
        if figures["misclassified"] is None:
            axes.annotate(" no image in the test part", (0, position), va="center", fontsize=8)
            continue
        value = 100 * figures["misclassified"]
        low, high = (100 * (1 - bound) for bound in reversed(figures["recall_interval"]))
        axes.barh(position, value, color=COLOUR[dx], height=0.6)
        axes.plot([low, high], [position] * 2, color=INK, lw=1)
        axes.annotate(f"  {value:.0f} % of {figures['images']}", (max(value, high), position), va="center", fontsize=8)
    axes.set_yticks(range(len(DX)), list(DX))
    axes.invert_yaxis()
    axes.set_xlim(0, 125)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("% misclassified (line: 95 % interval)")
    return figure
