"""Pictures in, their local features out: up to `MOST` points of each, with what the picture looks like around them.

The features are SIFT's (D. Lowe, Int. J. Comput. Vis. 60, 91, 2004, doi:10.1023/B:VISI.0000029664.99615.94), by OpenCV, the extra
`match`. They keep their look when a picture is turned or scaled, and in another photograph of the same skin. Compared as
RootSIFT (R. Arandjelovic, A. Zisserman, CVPR 2012, doi:10.1109/CVPR.2012.6248018): roots of shares, whose products are
correlations. In a mirrored picture the same values stand in another order (`MIRRORED`), so that it need not be looked at.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlab.data.images import ImageError, read_whole
from lesionlab.data.threads import in_threads

SIDE_PX = 256  # the shorter side of the pictures that are looked at
MOST = 256  # points of a picture, the clearest
VALUES = 128  # of a point: 4 x 4 cells of 8 directions
MIRRORED = np.arange(VALUES).reshape(4, 4, 8)[::-1][:, :, -np.arange(8) % 8].reshape(VALUES)

_CONTRAST = 0.01  # SIFT's usual 0.04 finds next to nothing on plain skin
_BLOCK = 32


@dataclass(frozen=True)
class LocalFeatures:
    """Points of n pictures.

    Attributes:
        counts: int (n,), how many points each picture has; 0 where it could not be read or is plain.
        points: float32 (n, MOST, 4): x and y in pixels from the middle of the picture, size in pixels, direction in radians.
        descriptors: uint8 (n, MOST, VALUES), SIFT's.
    """

    counts: np.ndarray
    points: np.ndarray
    descriptors: np.ndarray


def is_available() -> bool:
    """Whether OpenCV is installed, and can be loaded."""
    try:
        importlib.import_module("cv2")
    except ImportError:
        return False
    return True


def local_features(paths: Sequence[str]) -> LocalFeatures:
    """Look at pictures, on all cores.

    Args:
        paths: of the files; "" stands for none, and one that cannot be read has no points.
    """
    n = len(paths)
    counts, points = np.zeros(n, np.intp), np.zeros((n, MOST, 4), np.float32)
    descriptors = np.zeros((n, MOST, VALUES), np.uint8)

    def look(start: int) -> None:
        find = _finder()
        for row in range(start, min(start + _BLOCK, n)):
            found = find(paths[row]) if paths[row] else None
            if found is not None:
                counts[row] = len(found[0])
                points[row, : counts[row]], descriptors[row, : counts[row]] = found

    for _ in in_threads(look, range(0, n, _BLOCK), "looking for points in images"):
        pass
    return LocalFeatures(counts, points, descriptors)


def as_root(descriptors: np.ndarray) -> np.ndarray:
    """SIFT's values (..., VALUES) as RootSIFT, float32 of length one."""
    values = descriptors.astype(np.float32)
    return np.sqrt(values / np.maximum(values.sum(axis=-1, keepdims=True), 1))


def _finder() -> Callable[[str], tuple[np.ndarray, np.ndarray] | None]:
    import cv2

    cv2.setNumThreads(1)  # pictures are looked at beside each other
    sift = cv2.SIFT.create(nfeatures=MOST, contrastThreshold=_CONTRAST)

    def find(path: str) -> tuple[np.ndarray, np.ndarray] | None:
        try:
            grey = cv2.cvtColor(read_whole(Path(path), SIDE_PX), cv2.COLOR_RGB2GRAY)
        except ImageError:
            return None
        keypoints, descriptors = sift.detectAndCompute(grey, None)
        if not keypoints:
            return None
        height, width = grey.shape
        points = [(k.pt[0] - width / 2, k.pt[1] - height / 2, k.size, np.deg2rad(k.angle)) for k in keypoints[:MOST]]
        return np.array(points, np.float32), np.rint(descriptors[:MOST]).clip(0, 255).astype(np.uint8)

    return find
