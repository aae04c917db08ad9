"""How predictions show themselves in a notebook: a row an image, with a thumbnail and a bar for each diagnosis."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from lesionlab.data.images import ImageError, read_image
from lesionlab.evaluation.notebook_html import bar, table

_SIDE_PX = 96


def image_row(
    image: str, file: Path | None, answer: Sequence[str], probabilities: Mapping[str, float]
) -> tuple[str, str, str]:
    """Lay out the cells of one image.

    Args:
        image: its name.
        file: to take the thumbnail from; None for none.
        answer: lines that say what the model says.
        probabilities: of the diagnoses, 0 to 1.

    """
    lines = "<br>".join([f"<b>{escape(answer[0])}</b>", *map(escape, answer[1:])])
    bars = "<br>".join(f"{bar(p)} {escape(dx)} {p:.3f}" for dx, p in probabilities.items())
    return f"{thumbnail(file)}<br><small>{escape(image)}</small>", lines, bars


def images_table(rows: Iterable[Sequence[str]], beside: Sequence[str]) -> str:
    """Lay out the rows of images, and under them lines about those that are not among them."""
    lines = "".join(f"<div>{escape(line)}</div>" for line in beside)
    return f"<div>{table(('image', 'prediction', 'probabilities'), rows)}{lines}</div>"


def thumbnail(file: Path | None) -> str:
    """Show an image as the model's crop sees it, 96 px; nothing where there is no file, or it can no longer be read."""
    if file is None:
        return ""
    try:
        pixels = read_image(file, _SIDE_PX, _SIDE_PX, "centre")
    except (ImageError, OSError):
        return ""
    with BytesIO() as made:
        Image.fromarray(pixels).save(made, "JPEG", quality=80)
        held = base64.b64encode(made.getvalue()).decode()
    return f'<img alt="" width="{_SIDE_PX}" height="{_SIDE_PX}" src="data:image/jpeg;base64,{held}">'
