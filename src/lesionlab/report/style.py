"""How every figure looks: one colour per diagnosis, quiet axes, text that stays text."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from lesionlab.files import replacing

# Okabe and Ito's colours, distinguishable with any colour vision; one per diagnosis in every figure.
COLOUR = {
    "mel": "#D55E00",
    "nv": "#0072B2",
    "bcc": "#CC79A7",
    "akiec": "#E69F00",
    "bkl": "#009E73",
    "df": "#56B4E9",
    "vasc": "#7A5195",
}
INK, GREY = "#222222", "#8a8a8a"
STYLE: Any = {
    "font.size": 9,
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
