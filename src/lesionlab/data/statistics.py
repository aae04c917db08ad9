"""Steps 8 and 9: statistics for normalisation, from the training part only, and labels as numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lesionlab.errors import UsageError
from lesionlab.files import release_pages
from lesionlab.taxonomy import Taxonomy

_CHUNK = 256


def channel_statistics(pixels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel over the images at `rows`.

    Args:
        pixels: uint8 (n, height, width, 3), memory-mapped or not; read in chunks.
        rows: integers (k,); pass the training part's, so that nothing of the test part is known in training.

    Returns:
        Two float64 arrays (3,), on the scale 0 to 255, exact (sums of integers).
    """
    rows = np.asarray(rows, dtype=np.int64)
    totals, squares = np.zeros(3), np.zeros(3)
    values = np.arange(256.0)
    for start in range(0, len(rows), _CHUNK):
        chunk = pixels[np.sort(rows[start : start + _CHUNK])]  # a copy
        release_pages(pixels)
        counts = np.stack([np.bincount(chunk[..., c].ravel(), minlength=256) for c in range(3)])  # (3, 256)
        totals += counts @ values
        squares += counts @ values**2
    number = len(rows) * pixels.shape[1] * pixels.shape[2]
    mean = totals / number
    return mean, np.sqrt(np.maximum(squares / number - mean**2, 0))


def encode_labels(dx: Sequence[str] | np.ndarray | pd.Series, taxonomy: Taxonomy) -> np.ndarray:
    """Codes of a taxonomy's diagnoses as integers: their places in its order, from 0.

    Raises:
        UsageError: a code is not of the taxonomy.

    """
    codes = list(dx)
    unknown = sorted({str(code) for code in codes if code not in taxonomy.index_of})
    if unknown:
        raise UsageError(f"Not codes of {taxonomy.name}: {', '.join(unknown[:5])}. Known are {', '.join(taxonomy.dx)}.")
    return np.array([taxonomy.index_of[code] for code in codes], dtype=np.int64)
