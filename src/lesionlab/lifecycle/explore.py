"""Step 5: what is in a data set, as tables (`exploration.json`) and figures, before anything is learnt from it.

In: the clean table and the pixels that its column `row` points into. Pixels are read in chunks, never all at once.
"""

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from lesionlab.data.explore import Explored, explore, mean_images
from lesionlab.files import write_json
from lesionlab.lifecycle.values import CleanData, Run
from lesionlab.report import figures_data
from lesionlab.report.page import write_exploration_html
from lesionlab.runs.stages import Step, say
from lesionlab.taxonomy import Taxonomy


def explore_run(run: Run, data: CleanData) -> Explored:
    """Step 5 of a run: tables and figures of the data, before anything is learnt from it."""
    with run.stages.step(Step.EXPLORATION):
        table = data.cleaned.table
        explored = write_exploration(table, data.taxonomy, data.pixels, run.request.out, data.facts.is_generated)
        counts = table["dx"].value_counts()
        say(", ".join(f"{dx} {counts.get(dx, 0):,}" for dx in data.taxonomy.dx))
        say(
            f"{len(table):,} images of {table['lesion_id'].nunique():,} lesions; figures in {run.request.out / 'figures'}"
        )
    return explored


def write_exploration(
    table: pd.DataFrame, taxonomy: Taxonomy, pixels: np.ndarray, folder: Path, is_generated: bool
) -> Explored:
    """Write `exploration.json` and `figures/` into a folder; return what the former holds.

    Args:
        table: columns of `Cleaned.table`.
        taxonomy: of its diagnoses.
        pixels: uint8 (n, height, width, 3).
        folder: made where it does not exist, with `figures/` in it.
        is_generated: whether the figures must say "generated lesions".

    Raises:
        OSError: the folder cannot be written.
    """
    means = mean_images(table, pixels, taxonomy)
    explored = explore(table, means, taxonomy)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    write_json(folder / "exploration.json", msgspec.to_builtins(explored))
    figures_data.write_data_figures(table, taxonomy, pixels, explored, means, folder / "figures", is_generated)
    return explored


def write_exploration_page(
    table: pd.DataFrame, taxonomy: Taxonomy, pixels: np.ndarray, folder: Path, is_generated: bool
) -> Path:
    """Write the exploration with a page to look at it, `explore.html`; return the page's path."""
    explored = write_exploration(table, taxonomy, pixels, folder, is_generated)
    return write_exploration_html(folder, explored, taxonomy, is_generated)
