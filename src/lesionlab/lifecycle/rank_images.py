"""What to label next, and labels to look at again: tables, and contact sheets of the first images of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lesionlab._version import NOT_A_DEVICE
from lesionlab.data.images import ImageError, read_image
from lesionlab.evaluation.label_next import label_next
from lesionlab.files import replacing, write_csv
from lesionlab.lifecycle.adapt import Adapted
from lesionlab.lifecycle.clinic_images import Unlabelled

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFont import FreeTypeFont

ON_SHEET, _SIDE, _ACROSS, _CAPTION, _LETTER = 48, 160, 8, 34, 11


def write_ranking(adapted: Adapted, unlabelled: Unlabelled, path: Path) -> pd.DataFrame:
    """Write which unlabelled images to label next, the first to label first, and a contact sheet beside the table; return it.

    Columns: `rank`, `image`, `path`, `dx` (as the adapted model has it), `probability`, `uncertainty`, `margin`, `distance` (to
    the nearest labelled image) and `why`.
    """
    features, labelled = unlabelled.seen.features, adapted.labelled.seen.features
    if features is None or labelled is None:
        return pd.DataFrame()
    probabilities = adapted.choice.head.probabilities(features)
    ranked, likeliest = label_next(features, probabilities, labelled), probabilities.argmax(axis=1)
    table = pd.DataFrame(
        {
            "image": unlabelled.images,
            "path": unlabelled.files,
            "dx": np.array(adapted.labelled.taxonomy.dx)[likeliest],
            "probability": probabilities.max(axis=1).round(4),
            "uncertainty": ranked.uncertainty.round(4),
            "margin": ranked.margin.round(4),
            "distance": ranked.distance.round(4),
            "why": ranked.reasons,
        }
    ).iloc[ranked.order]
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    write_csv(table, path)
    first = table.head(ON_SHEET)
    captions = [f"{r.rank}. {r.dx} {r.probability:.2f}\n{r.why}" for r in first.itertuples()]
    write_sheet(sheet_of(path), list(first["path"]), captions)
    return table


def write_suspects(adapted: Adapted, path: Path) -> pd.DataFrame:
    """Write labels to look at again, the most suspect first, and a contact sheet beside the table; return the table.

    Columns: `rank`, `image`, `path`, `given`, `suggested` and `margin` (probability of the given diagnosis less that of the
    suggested one, by a head that has not seen the lesion).
    """
    found, paths = adapted.suspects, list(adapted.labelled.table["path"])
    rows = [(n, s.image, paths[s.row], s.given, s.suggested, round(s.margin, 4)) for n, s in enumerate(found, start=1)]
    table = pd.DataFrame(rows, columns=["rank", "image", "path", "given", "suggested", "margin"])
    write_csv(table, path)
    if rows:
        captions = [f"{row[0]}. {row[3]}?\nmodel: {row[4]}" for row in rows[:ON_SHEET]]
        write_sheet(sheet_of(path), [row[2] for row in rows[:ON_SHEET]], captions)
    return table


def sheet_of(path: Path) -> Path:
    """Where the contact sheet of a table lies: beside it, as `.png`."""
    return path.with_suffix(".png")


def write_sheet(path: Path, files: Sequence[str], captions: Sequence[str]) -> None:
    """Write a contact sheet: pictures eight beside each other, each with two lines below it, and what it must not be used for."""
    from PIL import Image, ImageDraw

    height = max(1, -(-len(files) // _ACROSS)) * (_SIDE + _CAPTION)
    sheet = Image.new("RGB", (_ACROSS * _SIDE, height + _CAPTION), "white")
    for number, (file, caption) in enumerate(zip(files, captions, strict=True)):
        sheet.paste(_cell(file, caption), (number % _ACROSS * _SIDE, number // _ACROSS * (_SIDE + _CAPTION)))
    ImageDraw.Draw(sheet).text((4, height + 8), NOT_A_DEVICE, fill="#5c5f66", font=_font())
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")


def _cell(file: str, caption: str) -> "Picture":
    """Draw one picture with its caption, which is cut off at the next one."""
    from PIL import Image, ImageDraw

    cell = Image.new("RGB", (_SIDE, _SIDE + _CAPTION), "white")
    try:
        cell.paste(Image.fromarray(read_image(Path(file), _SIDE - 4, _SIDE - 4, "centre")), (2, 2))
    except ImageError:
        pass  # given from memory, or gone since: its caption stands alone
    ImageDraw.Draw(cell).text((4, _SIDE), caption, fill="black", font=_font())
    return cell


def _font() -> "FreeTypeFont":
    """Give the letters of the figures, which have all of Europe's."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _LETTER)
