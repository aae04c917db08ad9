"""How every figure looks: one colour per diagnosis, of any number, quiet axes, text that stays text."""

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from PIL import Image

from lesionlab.files import replacing
from lesionlab.taxonomy import Taxonomy

RED, BLUE, GREEN = "#D55E00", "#0072B2", "#009E73"
# Okabe and Ito's colours first, then Tol's muted ones: distinguishable with any colour vision.
_COLOURS = (
    *(RED, BLUE, "#CC79A7", "#E69F00", GREEN, "#56B4E9", "#7A5195"),
    *("#999933", "#882255", "#44AA99", "#332288", "#AA4499", "#117733", "#661100", "#DDCC77"),
)
_LEGEND_COLUMNS = 7
_MOST_LETTERS = 45  # that stand beside each other under half a page
INK, GREY = "#222222", "#8a8a8a"
STYLE: Any = {
    "font.size": 9,
    "text.parse_math": False,  # of names out of tables, "$" is a letter
    "font.family": "sans-serif",
    "svg.fonttype": "path",
    "svg.hashsalt": "lesionlab",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def colours_of(taxonomy: Taxonomy) -> dict[str, Any]:
    """Give each diagnosis its colour in every figure: that of the taxonomy, or one by its place; all differ."""
    number = len(taxonomy)
    chosen: list[Any] = list(_COLOURS[:number])
    if number > len(_COLOURS):
        chosen = list(matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, number)))
    return {d.dx: d.colour or colour for d, colour in zip(taxonomy.diagnoses, chosen, strict=True)}


def name_axis(axis: Axis, taxonomy: Taxonomy) -> None:
    """Write the codes along an axis: upright under each other where they are many or long."""
    is_crowded = isinstance(axis, XAxis) and len(taxonomy) * max(map(len, taxonomy.dx)) > _MOST_LETTERS
    axis.set_ticks(range(len(taxonomy)), list(taxonomy.dx), rotation=90 if is_crowded else 0)


def legend_below(figure: Figure, taxonomy: Taxonomy, **options: Any) -> None:
    """Put the legend of all diagnoses under a figure, seven beside each other; more rows make the figure higher."""
    rows = math.ceil(len(taxonomy) / _LEGEND_COLUMNS)
    figure.set_figheight(figure.get_figheight() + 0.25 * (rows - 1))
    figure.legend(loc="outside lower center", ncols=min(_LEGEND_COLUMNS, len(taxonomy)), fontsize=8, **options)


def height_of_rows(number: int, height_inch: float) -> float:
    """Give the height of a figure of a row a diagnosis, which has `height_inch` where there are seven."""
    return height_inch * max(1.0, number / 7)


def new_figure(width_inch: float, height_inch: float) -> Figure:
    """Make a figure in the house style; nothing global is changed."""
    with matplotlib.rc_context(STYLE):
        return Figure(figsize=(width_inch, height_inch), layout="constrained")


def save_figure(figure: Figure, path: Path, is_generated: bool) -> None:
    """Write a figure as SVG, or as JPEG where the suffix says so; generated lesions are marked as such."""
    if is_generated:
        figure.suptitle("generated lesions, of no patient", fontsize=8, color="#b3261e")
    with matplotlib.rc_context(STYLE), replacing(path) as temporary:
        if path.suffix == ".svg":
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        else:
            figure.savefig(temporary, format="jpeg", dpi=110, pil_kwargs={"quality": 85})


def save_jpeg(pixels: np.ndarray, path: Path) -> None:
    """Write uint8 pixels (height, width, 3) as JPEG, whole or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="jpeg", quality=80)
