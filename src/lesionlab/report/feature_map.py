"""A map of images as one HTML page: near on the map is alike to the network; a picture chosen shows its nearest.

In: features and the paths of their images. Out: a page with small pictures inside, that needs nothing else. Places are of UMAP
where it is installed, else of t-SNE (`lesionlab.report.lay_flat`).
"""

import base64
import importlib.util
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cluster.threads import in_order
from lesionlab.data.images import ImageError, read_drafted
from lesionlab.errors import UsageError
from lesionlab.files import write_text
from lesionlab.inference.features import Embeddings
from lesionlab.inference.neighbours import neighbour_index
from lesionlab.progress import track
from lesionlab.report.lay_flat import lay_flat
from lesionlab.report.templating import environment

MOST_IMAGES = 3000  # of a page: some 10 MB
_THUMB_PX, _QUALITY = 72, 70
_NEIGHBOURS = 8
_LEAST = 3


@dataclass(frozen=True)
class Picture:
    """A point of the page: `x` and `y` from 0 to 1, a small JPEG in base64, the places of its nearest and their cosines."""

    name: str
    x: float
    y: float
    jpeg: str
    nearest: tuple[tuple[int, float], ...]


def write_feature_map(path: Path, made: Embeddings, *, seed: int = 0) -> str:
    """Write a page with a map of images, and return the name of the method that placed them.

    Args:
        path: of the `.html` file.
        made: features of images that lie where their paths say; of more than `MOST_IMAGES`, as many are drawn.
        seed: of what is drawn, and of the map.

    Raises:
        UsageError: fewer than three images.

    """
    if len(made) < _LEAST:
        raise UsageError(
            f"A map needs {_LEAST} images or more, and {len(made)} could be read: give more, or leave out --map."
        )
    chosen = np.arange(len(made))
    if len(made) > MOST_IMAGES:
        chosen = np.sort(np.random.default_rng(seed).choice(len(made), MOST_IMAGES, replace=False))
    features = made.features[chosen]
    is_umap = importlib.util.find_spec("umap") is not None
    method = "UMAP" if is_umap else "t-SNE"
    places = places_of(features, seed=seed, is_umap=is_umap)
    index = neighbour_index(features)
    thumbs = track(in_order(_thumbnail, [made.path[row] for row in chosen]), "pictures", total=len(chosen))
    pictures = []
    for row, jpeg in enumerate(thumbs):
        near, cosines = index.nearest(features[row], _NEIGHBOURS + 1)
        nearest = [(int(i), round(float(c), 3)) for i, c in zip(near, cosines, strict=True) if i != row][:_NEIGHBOURS]
        x, y = (round(float(value), 4) for value in places[row])
        pictures.append(Picture(made.image_id[chosen[row]], x, y, jpeg, tuple(nearest)))
    page = environment().get_template("feature_map.html.j2")
    data = [[p.name, p.x, p.y, p.jpeg, p.nearest] for p in pictures]
    shown = {"data": data, "total": len(made), "method": method, "model": made.model, "notice": NOT_A_DEVICE}
    write_text(path, page.render(**shown, thumb_px=_THUMB_PX, width=features.shape[1]))
    return method


def places_of(features: np.ndarray, *, seed: int, is_umap: bool = False) -> np.ndarray:
    """Place rows (n, d), n of 3 or more, on a map: float (n, 2), each axis from 0 to 1; in the middle where all are the same."""
    places = lay_flat(features, seed=seed, is_umap=is_umap)
    low, high = places.min(axis=0), places.max(axis=0)
    return np.where(high > low, (places - low) / np.where(high > low, high - low, 1), 0.5)


def _thumbnail(path: str) -> str:
    """Give a small JPEG in base64; nothing where the file is gone or was given as pixels."""
    try:
        pixels, _ = read_drafted(Path(path), _THUMB_PX, _THUMB_PX, "centre")
    except ImageError:
        return ""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()
