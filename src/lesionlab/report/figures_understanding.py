"""Pictures that help to understand a model: its feature map, what it confuses, where it looks, labels it doubts.

In: what the model makes of the test part, and its pixels. Out: pictures in `figures/` and `understanding.json`, which the
report is made from. What a model does not give (features, activation maps) is left out and said to be absent.
"""

from pathlib import Path
from typing import Any

import matplotlib
import msgspec
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

from lesionlab.data.images import ImageError, read_image
from lesionlab.data.statistics import encode_labels
from lesionlab.evaluation.answers import UNDECIDED, answers_of
from lesionlab.evaluation.metrics_file import Metrics, Suspect
from lesionlab.files import write_json
from lesionlab.inference.outputs import ModelOutputs
from lesionlab.inference.overlay import draw_map, relevance
from lesionlab.report.lay_flat import lay_flat
from lesionlab.report.style import INK, STYLE, colours_of, legend_below, new_figure, save_figure, save_jpeg
from lesionlab.taxonomy import Taxonomy

SUSPECTS = 24
PAIRS = 6
STRIP = 6  # images in the strip of a pair
MAP_POINTS = 2000
_MAP_LEAST = 10
_PX = 160
_STRIP_PX = 112
_GAP_PX = 4


def write_understanding(
    folder: Path,
    metrics: Metrics,
    taxonomy: Taxonomy,
    table: pd.DataFrame,
    seen: ModelOutputs,
    pixels: np.ndarray,
    *,
    seed: int,
) -> None:
    """Write the pictures and `understanding.json` into `folder`.

    Args:
        folder: `figures/` of a run or an evaluation.
        metrics: its metrics.
        taxonomy: of the diagnoses.
        table: of the test part: `image_id`, `dx`, `path`, and `row`, the image's place in `pixels`.
        seen: what the model makes of these images, in the order of the table.
        pixels: uint8 (n, height, width, 3).
        seed: of the feature map.

    """
    (folder / "understanding").mkdir(exist_ok=True)
    labels, answers = encode_labels(table["dx"], taxonomy), answers_of(seen.probabilities)
    has_map = seen.features is not None and len(labels) >= _MAP_LEAST
    if has_map and seen.features is not None:
        with matplotlib.rc_context(STYLE):
            figure = _feature_map(seen.features, labels, answers, taxonomy, seed)
        save_figure(figure, folder / "feature-map.svg", metrics.is_generated)
    found = {
        "feature_map": has_map,
        "pairs": _write_pairs(folder, table, labels, seen.probabilities, taxonomy, pixels),
        "overlays": _write_overlays(folder, table, labels, seen, taxonomy),
        "suspects": _write_suspects(folder, metrics.suspects, table, pixels),
        "suspects_in_all": len(metrics.suspects),
    }
    write_json(folder / "understanding.json", found)


def look_with_map(pixels: np.ndarray, maps: np.ndarray, index: int) -> np.ndarray:
    """Lay over an image what speaks for a diagnosis rather than for the others; bright is most.

    Args:
        pixels: uint8 (height, width, 3).
        maps: float (grid height, grid width, k), class activation maps of the image.
        index: of the diagnosis.

    """
    return draw_map(pixels, relevance(maps, index))


def in_frame(path: Path, frame: tuple[int, int, str], height_px: int) -> np.ndarray:
    """Read an image as the network sees it (see `ModelOutputs.frame`), so that a map lies where it belongs: uint8 (h, w, 3).

    Raises:
        ImageError: the file cannot be read any more.

    """
    height, width, crop = frame
    return read_image(path, height_px, round(height_px * width / height), crop)


def side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """Put images of one height (h, w, 3) in a row, with white gaps."""
    gap = np.full((images[0].shape[0], _GAP_PX, 3), 255, np.uint8)
    parts = [part for image in images for part in (image, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _square(pixels: np.ndarray, side: int) -> np.ndarray:
    """Crop to the central square and scale to `side` px."""
    height, width = pixels.shape[:2]
    edge = min(height, width)
    box = ((width - edge) // 2, (height - edge) // 2, (width + edge) // 2, (height + edge) // 2)
    return np.asarray(Image.fromarray(np.asarray(pixels)).resize((side, side), Image.Resampling.BICUBIC, box))


def _feature_map(features: np.ndarray, labels: np.ndarray, answers: np.ndarray, taxonomy: Taxonomy, seed: int) -> Any:
    """Draw the features in two dimensions by t-SNE."""
    chosen = np.arange(len(labels))
    if len(chosen) > MAP_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MAP_POINTS, replace=False))
    places = lay_flat(features[chosen], seed=seed)
    figure = new_figure(7.4, 3.9)
    left, right = figure.subplots(1, 2)
    wrong = (labels != answers)[chosen]
    told = answers[chosen] != UNDECIDED
    colours = colours_of(taxonomy)
    of_place = list(colours.values())
    _scatter(left, places, labels[chosen], np.zeros(len(chosen), bool), of_place, "Coloured by the truth")
    _scatter(
        right, places[told], answers[chosen][told], wrong[told], of_place, "Coloured by the prediction (ring: wrong)"
    )
    handles = [left.scatter([], [], s=14, color=colour, label=dx) for dx, colour in colours.items()]
    legend_below(figure, taxonomy, handles=handles, handletextpad=0.2)
    return figure


def _scatter(
    axes: Axes, places: np.ndarray, classes: np.ndarray, ringed: np.ndarray, of_place: list[Any], title: str
) -> None:
    order = np.argsort(-np.bincount(classes)[classes], kind="stable")  # rare ones on top
    places, classes, ringed = places[order], classes[order], ringed[order]
    colours = [of_place[index] for index in classes]
    x, y = places.T
    axes.scatter(x, y, s=9, c=colours, linewidths=0, alpha=0.8, rasterized=True)
    axes.scatter(x[ringed], y[ringed], s=16, facecolors="none", edgecolors=INK, linewidths=0.5, rasterized=True)
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)


def _write_pairs(
    folder: Path,
    table: pd.DataFrame,
    labels: np.ndarray,
    probabilities: np.ndarray,
    taxonomy: Taxonomy,
    pixels: np.ndarray,
) -> list[dict[str, Any]]:
    """Write a strip of the surest examples of each of the commonest confusions."""
    answers, k, dx = answers_of(probabilities), len(taxonomy), taxonomy.dx
    is_decided = answers != UNDECIDED
    counts = np.bincount(labels[is_decided] * k + answers[is_decided], minlength=k**2)
    counts[:: k + 1] = 0  # what is right
    pairs = []
    for number, cell in enumerate(np.argsort(-counts, kind="stable")[:PAIRS], start=1):
        if not counts[cell]:
            break
        truth, answer = divmod(int(cell), k)
        places = np.flatnonzero((labels == truth) & (answers == answer))
        places = places[np.argsort(-probabilities[places, answer], kind="stable")][:STRIP]
        rows = table["row"].to_numpy()[places]
        name = f"understanding/pair-{number}.jpg"
        save_jpeg(side_by_side([_square(pixels[row], _STRIP_PX) for row in rows]), folder / name)
        images = table["image_id"].iloc[places].tolist()
        share = float(counts[cell] / (labels == truth).sum())
        pairs.append(
            {"file": name, "truth": dx[truth], "answer": dx[answer], "images": int(counts[cell]), "share": share}
            | {"shown": images}
        )
    return pairs


def _write_overlays(
    folder: Path, table: pd.DataFrame, labels: np.ndarray, seen: ModelOutputs, taxonomy: Taxonomy
) -> list[dict[str, Any]]:
    """Write image and activation map of the surest right and the surest wrong answer to each diagnosis."""
    if seen.maps is None:
        return []
    answers, certainty = answers_of(seen.probabilities), seen.probabilities.max(axis=1)
    shown = []
    for index, dx in enumerate(taxonomy.dx):
        for kind, is_kind in (("right", answers == labels), ("wrong", answers != labels)):
            places = np.flatnonzero((labels == index) & is_kind & (answers != UNDECIDED))
            if not len(places):
                continue
            place = int(places[certainty[places].argmax()])
            try:
                picture = in_frame(Path(table["path"].iloc[place]), seen.frame, _PX)
            except ImageError:  # it has gone since
                continue
            name = f"understanding/{dx}-{kind}.jpg"
            save_jpeg(side_by_side([picture, look_with_map(picture, seen.maps[place], answers[place])]), folder / name)
            shown.append(
                {"file": name, "truth": dx, "answer": taxonomy.dx[answers[place]], "certainty": float(certainty[place])}
                | {"image": table["image_id"].iloc[place], "kind": kind}
            )
    return shown


def _write_suspects(
    folder: Path, found: list[Suspect], table: pd.DataFrame, pixels: np.ndarray
) -> list[dict[str, Any]]:
    cards = []
    for number, suspect in enumerate(found[:SUSPECTS], start=1):
        name = f"understanding/suspect-{number:02}.jpg"
        save_jpeg(_square(pixels[table["row"].iloc[suspect.row]], _PX), folder / name)
        cards.append({"file": name} | msgspec.structs.asdict(suspect))
    return cards
