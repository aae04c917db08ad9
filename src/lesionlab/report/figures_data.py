"""Figures of a data set: counts, ages, sites, sources, missing values, sample sheet, mean image and colour."""

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from lesionlab.data.explore import Explored
from lesionlab.report.style import (
    BLUE,
    GREY,
    INK,
    STYLE,
    colours_of,
    height_of_rows,
    legend_below,
    name_axis,
    new_figure,
    save_figure,
)
from lesionlab.taxonomy import Taxonomy

SAMPLES = 8  # images per diagnosis on the sample sheet


def write_data_figures(
    table: pd.DataFrame,
    taxonomy: Taxonomy,
    pixels: np.ndarray,
    explored: Explored,
    means: dict[str, np.ndarray],
    folder: Path,
    is_generated: bool,
) -> None:
    """Write every figure of step 5; files are named `eda-*`."""
    with matplotlib.rc_context(STYLE):
        drawn = {
            "eda-diagnoses.svg": _diagnoses(explored, taxonomy),
            "eda-age.svg": _ages(explored, taxonomy),
            "eda-images-per-lesion.svg": _images_per_lesion(explored),
            "eda-missing.svg": _missing(explored),
            "eda-colour.svg": _colours(explored, taxonomy),
            "eda-mean-images.jpg": _mean_images(means, taxonomy),
            "eda-samples.jpg": _samples(table, taxonomy, pixels),
        }
        for column, title in (
            ("sex", "Sex"),
            ("localization", "Localization"),
            ("dataset", "Source"),
            ("dx_type", "Confirmation"),
        ):
            drawn[f"eda-{column}.svg"] = _rates(explored.by_column[column], taxonomy, title)
    for name, figure in drawn.items():
        save_figure(figure, folder / name, is_generated)


def _diagnoses(explored: Explored, taxonomy: Taxonomy) -> Any:
    figure, colours = new_figure(6.4, height_of_rows(len(taxonomy), 2.6)), colours_of(taxonomy)
    axes = figure.subplots()
    counts = explored.by_diagnosis
    for position, dx in enumerate(taxonomy.dx):
        images, lesions = counts[dx].images, counts[dx].lesions
        axes.barh(position, images, color=colours[dx], height=0.7)
        axes.barh(position, lesions, color="white", height=0.12, alpha=0.8)
        axes.annotate(f" {images:,} ({counts[dx].share:.1%})", (images, position), va="center", fontsize=8)
    name_axis(axes.yaxis, taxonomy)
    axes.invert_yaxis()
    axes.set_xlabel("images (the white line: lesions)")
    axes.set_xlim(0, 1.2 * max(c.images for c in counts.values()))
    axes.set_title(f"{explored.images:,} images of {explored.lesions:,} lesions")
    return figure


def _ages(explored: Explored, taxonomy: Taxonomy) -> Any:
    figure, colours = new_figure(6.4, height_of_rows(len(taxonomy), 2.6)), colours_of(taxonomy)
    axes = figure.subplots()
    for position, dx in enumerate(taxonomy.dx):
        quartiles = explored.age_years[dx]
        if quartiles:
            p5, p25, p50, p75, p95 = quartiles
            axes.plot([p5, p95], [position] * 2, color=colours[dx], lw=1)
            axes.plot([p25, p75], [position] * 2, color=colours[dx], lw=7, solid_capstyle="butt", alpha=0.8)
            axes.plot(p50, position, "o", color="white", ms=4, mec=INK, mew=0.8)
    name_axis(axes.yaxis, taxonomy)
    axes.invert_yaxis()
    axes.set_xlabel("age, years (dot: median; bar: quartiles; line: 5th to 95th percentile)")
    axes.set_title("Age by diagnosis, where known")
    return figure


def _images_per_lesion(explored: Explored) -> Any:
    figure = new_figure(4.2, 2.4)
    axes = figure.subplots()
    counts = explored.images_per_lesion
    bars = axes.bar(list(counts), list(counts.values()), color=BLUE, width=0.7)
    axes.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    axes.set_xlabel("images of one lesion")
    axes.set_ylabel("lesions")
    axes.set_title("Images per lesion")
    return figure


def _missing(explored: Explored) -> Any:
    figure = new_figure(4.2, 2.0)
    axes = figure.subplots()
    missing = explored.missing
    for position, (_, value) in enumerate(missing.items()):
        axes.barh(position, 100 * value.share, color=GREY, height=0.6)
        axes.annotate(f" {value.images:,}", (100 * value.share, position), va="center", fontsize=8)
    axes.set_yticks(range(len(missing)), list(missing))
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, 125 * max(v.share for v in missing.values())))
    axes.set_xlabel("% of images (label: images)")
    axes.set_title("Missing or unknown values")
    return figure


def _rates(counts: dict[str, dict[str, int]], taxonomy: Taxonomy, title: str) -> Any:
    """Share of each diagnosis within each value of a column, as a stacked bar; n beside it."""
    ordered = sorted(counts, key=lambda value: -sum(counts[value].values()))
    figure, colours = new_figure(6.4, 0.9 + 0.26 * len(ordered)), colours_of(taxonomy)
    axes = figure.subplots()
    for position, value in enumerate(ordered):
        total, left = sum(counts[value].values()), 0.0
        for dx in taxonomy.dx:
            share = 100 * counts[value][dx] / total
            axes.barh(position, share, left=left, color=colours[dx], height=0.75, label=dx if position == 0 else None)
            left += share
        axes.annotate(f" n = {total:,}", (100, position), va="center", fontsize=8, annotation_clip=False)
    axes.set_yticks(range(len(ordered)), ordered)
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xlabel("% of images")
    axes.set_title(f"{title}: diagnoses within each group")
    legend_below(figure, taxonomy, handlelength=1)
    return figure


def _colours(explored: Explored, taxonomy: Taxonomy) -> Any:
    figure = new_figure(6.4, 1.6)
    axes = figure.subplots()
    for position, dx in enumerate(taxonomy.dx):
        colour = explored.mean_colour[dx]
        if colour:
            axes.bar(position, 1, color=np.array(colour) / 255, width=0.96)
            text = "\n".join(f"{channel} {value:.0f}" for channel, value in zip("RGB", colour, strict=True))
            axes.annotate(text, (position, 0.5), ha="center", va="center", fontsize=8)
    name_axis(axes.xaxis, taxonomy)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_title("Mean colour per diagnosis (0 to 255)")
    return figure


def _mean_images(means: dict[str, np.ndarray], taxonomy: Taxonomy) -> Any:
    columns = min(len(taxonomy), SAMPLES)
    rows = math.ceil(len(taxonomy) / columns)
    figure = new_figure(7.4, 1.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, dx in zip(grid, taxonomy.dx, strict=False):
        if dx in means:
            axes.imshow(means[dx].round().astype(np.uint8))
        axes.set_title(dx)
    return figure


def _samples(table: pd.DataFrame, taxonomy: Taxonomy, pixels: np.ndarray) -> Any:
    """The first images of each diagnosis in the order of their ids: the same sheet every time."""
    figure = new_figure(7.4, 0.98 * len(taxonomy))
    grid = figure.subplots(len(taxonomy), SAMPLES)
    for row, dx in enumerate(taxonomy.dx):
        chosen = (
            table[table["dx"] == dx].drop_duplicates("lesion_id").sort_values("image_id")["row"].to_numpy()[:SAMPLES]
        )
        for column, axes in enumerate(grid[row]):
            axes.set_axis_off()
            if column < len(chosen):
                axes.imshow(pixels[chosen[column]])
        name = grid[row][0].annotate(f"{dx}: {taxonomy.name_of[dx]}", (0, 1.06), xycoords="axes fraction", fontsize=8)
        name.set_in_layout(False)  # it is wider than its column
    figure.set_layout_engine(
        "constrained", h_pad=0.11, rect=(0, 0, 1, 0.985)
    )  # room for the names, in inches and above
    return figure
