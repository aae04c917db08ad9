"""A page for each case: the image, where the model looked, every probability, and what is known of the lesion.

In: the table of the evaluated images and what the model makes of them. Out: `cases/index.html`, and for each image a page and a
picture, named by number, because an image's name may be anything.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lesionlab._version import NOT_A_DEVICE
from lesionlab.data.images import ImageError
from lesionlab.evaluation.answers import TIE, answers_of
from lesionlab.evaluation.metrics_file import Metrics
from lesionlab.evaluation.prediction_sets import prediction_sets
from lesionlab.evaluation.uncertainty import uncertainties
from lesionlab.files import replacing_folder, write_text
from lesionlab.inference.outputs import ModelOutputs
from lesionlab.progress import track
from lesionlab.report.figures_understanding import in_frame, look_with_map, side_by_side
from lesionlab.report.templating import environment
from lesionlab.runs.manifest import EvaluatedModel
from lesionlab.taxonomy import Taxonomy

_PX = 224
_SHOWN = ("lesion_id", "age", "sex", "localization", "dx_type", "dataset")
_THREADS = 2


@dataclass(frozen=True)
class Case:
    """What a page says of an image; `place` is its row in the table, from 0."""

    place: int
    image: str
    truth: str
    predicted: str
    map_of: str
    probabilities: tuple[tuple[str, float], ...]
    malignant: float
    uncertainty: float
    set: tuple[str, ...] | None
    suspected: str | None
    known: tuple[tuple[str, str], ...]

    @property
    def number(self) -> int:
        """Of its page, from 1."""
        return self.place + 1

    @property
    def is_right(self) -> bool:
        """Whether the likeliest diagnosis is the true one."""
        return self.truth == self.predicted

    @property
    def certainty(self) -> float:
        """Probability of the likeliest diagnosis."""
        return self.probabilities[0][1]


def write_cases(
    folder: Path,
    table: pd.DataFrame,
    seen: ModelOutputs,
    metrics: Metrics,
    model: EvaluatedModel,
    taxonomy: Taxonomy,
) -> Path:
    """Write a page for each case and an index of all, wrong predictions first; return the index.

    Args:
        folder: for the pages; made where it does not exist.
        table: of the evaluated images: `image_id`, `dx`, `path` and what else is known.
        seen: what the model makes of them, in the order of the table.
        metrics: of the evaluation, for the suspect labels.
        model: its name, and the thresholds of its sets where it has any.
        taxonomy: of the diagnoses.

    """
    cases = _cases(table, seen, metrics, model, taxonomy)
    made = environment()
    name_of = taxonomy.name_of | {TIE: "nothing: a tie"}
    common = {"notice": NOT_A_DEVICE, "model": model.name, "name_of": name_of, "malignant": taxonomy.malignant}
    page = made.get_template("case.html.j2")

    def write(case: Case, folder: Path) -> None:
        picture = folder / f"{case.number}.jpg"
        has_picture = _write_picture(picture, Path(table["path"].iloc[case.place]), seen, case.place)
        html = page.render(case=case, has_picture=has_picture, has_map=seen.maps is not None, last=len(cases), **common)
        picture.with_suffix(".html").write_text(html, encoding="utf-8", newline="\n")

    with replacing_folder(folder) as temporary:  # all together: to wait for the disk page by page takes minutes
        with ThreadPoolExecutor(_THREADS) as pool:
            written = pool.map(partial(write, folder=temporary), cases)
            for _ in track(written, "writing a page a case", total=len(cases)):
                pass
        wrong_first = sorted(cases, key=lambda case: (case.is_right, -case.certainty))
        index = made.get_template("cases.html.j2")
        write_text(temporary / "index.html", index.render(cases=wrong_first, **common))
    return folder / "index.html"


def _cases(
    table: pd.DataFrame, seen: ModelOutputs, metrics: Metrics, model: EvaluatedModel, taxonomy: Taxonomy
) -> list[Case]:
    dx, predicted = taxonomy.dx, answers_of(seen.probabilities)
    unsure = uncertainties(seen.probabilities)
    suspected = {suspect.row: suspect.suggested for suspect in metrics.suspects}
    sets = prediction_sets(seen.probabilities, model.conformal.thresholds) if model.conformal else None
    malignant = [taxonomy.index_of[code] for code in taxonomy.malignant]
    known = table.reindex(columns=list(_SHOWN)).astype(object)
    return [
        Case(
            place=place,
            image=str(table["image_id"].iloc[place]),
            truth=str(table["dx"].iloc[place]),
            predicted=(*dx, TIE)[predicted[place]],
            map_of=dx[int(row.argmax())],
            probabilities=tuple(sorted(zip(dx, row.tolist(), strict=True), key=lambda item: -item[1])),
            malignant=float(row[malignant].sum()),
            uncertainty=float(unsure[place]),
            set=None if sets is None else tuple(code for code, is_in in zip(dx, sets[place], strict=True) if is_in),
            suspected=suspected.get(place),
            known=tuple((str(k), _text(v)) for k, v in known.iloc[place].items() if pd.notna(v) and v != ""),
        )
        for place, row in enumerate(seen.probabilities)
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
        predicted = int(np.argmax(seen.probabilities[place]))
        images.append(look_with_map(pixels, seen.maps[place], predicted))
    Image.fromarray(side_by_side(images)).save(path, format="jpeg", quality=80)
    return True
