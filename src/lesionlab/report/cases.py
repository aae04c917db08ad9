"""A page for each case: the image, where the model looked, every probability, and what is known of the lesion.

In: the table of the judged images and what the model makes of them. Out: `cases/index.html`, and for each image a page and a
picture, named by number, because an image's name may be anything.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from lesionlab._version import NOT_A_DEVICE
from lesionlab.data.images import ImageError
from lesionlab.data.statistics import encode_labels
from lesionlab.evaluation.answers import TIE, answers_of
from lesionlab.evaluation.conformal import prediction_sets
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.files import replacing_folder, write_text
from lesionlab.inference.outputs import ModelOutputs
from lesionlab.progress import track
from lesionlab.report.figures_understanding import in_frame, look_with_map, side_by_side
from lesionlab.taxonomy import DX, HAM10000, INDEX_OF, MALIGNANT, NAME_OF

_PX = 224
_SHOWN = ("lesion_id", "age", "sex", "localization", "dx_type", "dataset")
_THREADS = 2


def write_cases(
    folder: Path, table: pd.DataFrame, seen: ModelOutputs, metrics: dict[str, Any], model: dict[str, Any]
) -> Path:
    """Write a page for each case and an index of all, wrong answers first; return the index.

    Args:
        folder: for the pages; made where it does not exist.
        table: of the judged images: `image_id`, `dx`, `path` and what else is known.
        seen: what the model makes of them, in the order of the table.
        metrics: metrics.json, for the suspect labels.
        model: `name`, and `conformal` with the thresholds of its sets, or empty.

    """
    cases = _cases(table, seen, metrics, model)
    environment = Environment(
        loader=PackageLoader("lesionlab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    common = {"notice": NOT_A_DEVICE, "model": model["name"], "name_of": NAME_OF | {TIE: "nothing: a tie"}}
    page = environment.get_template("case.html.j2")

    def write(place: int, folder: Path) -> None:
        case = cases[place]
        picture = folder / f"{case['number']}.jpg"
        case["has_picture"] = _write_picture(picture, Path(table["path"].iloc[place]), seen, place)
        html = page.render(case=case, last=len(cases), **common)
        picture.with_suffix(".html").write_text(html, encoding="utf-8", newline="\n")

    with replacing_folder(folder) as temporary:  # all together: to wait for the disk page by page takes minutes
        with ThreadPoolExecutor(_THREADS) as pool:
            written = pool.map(partial(write, folder=temporary), range(len(cases)))
            for _ in track(written, "writing a page a case", total=len(cases)):
                pass
        cases.sort(key=lambda case: (case["is_right"], -case["certainty"]))
        index = environment.get_template("cases.html.j2")
        write_text(temporary / "index.html", index.render(cases=cases, **common))
    return folder / "index.html"


def _cases(
    table: pd.DataFrame, seen: ModelOutputs, metrics: dict[str, Any], model: dict[str, Any]
) -> list[dict[str, Any]]:
    labels, answers = encode_labels(table["dx"], HAM10000), answers_of(seen.probabilities)
    unsure = uncertainties(seen.probabilities)
    suspected = {suspect["row"]: suspect["suggested"] for suspect in metrics["suspects"]}
    sets = prediction_sets(seen.probabilities, model["conformal"]["thresholds"]) if model["conformal"] else None
    malignant = [INDEX_OF[dx] for dx in MALIGNANT]
    known = table.reindex(columns=list(_SHOWN)).astype(object)
    return [
        {
            "number": place + 1,
            "image": str(table["image_id"].iloc[place]),
            "truth": DX[labels[place]],
            "answer": (*DX, TIE)[answers[place]],
            "map_of": DX[int(seen.probabilities[place].argmax())],
            "is_right": bool(labels[place] == answers[place]),
            "certainty": float(seen.probabilities[place].max()),
            "malignant": float(seen.probabilities[place, malignant].sum()),
            "uncertainty": float(unsure[place]),
            "probabilities": sorted(
                zip(DX, seen.probabilities[place].tolist(), strict=True), key=lambda item: -item[1]
            ),
            "set": None if sets is None else [dx for index, dx in enumerate(DX) if sets[place, index]],
            "suspected": suspected.get(place),
            "has_map": seen.maps is not None,
            "known": {
                name: _text(value) for name, value in known.iloc[place].items() if pd.notna(value) and value != ""
            },
        }
        for place in range(len(table))
    ]


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _write_picture(path: Path, source: Path, seen: ModelOutputs, place: int) -> bool:
    """Write the image, beside it its activation map; False where it cannot be read any more."""
    try:
        pixels = in_frame(source, seen.frame, _PX)
    except ImageError:
        return False
    images = [pixels]
    if seen.maps is not None:
        answer = int(np.argmax(seen.probabilities[place]))
        images.append(look_with_map(pixels, seen.maps[place], answer))
    Image.fromarray(side_by_side(images)).save(path, format="jpeg", quality=80)
    return True
