"""How alike two aligned pictures are, tile by tile: that of near-duplicates is high in every tile, that of lookalikes in some."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage

_TILE = 24
_STEP = 16
_SEARCH = 3  # px by which a tile may lie off
MIN_TEXTURE = 0.5  # grey levels: flatter tiles say nothing


def tile_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The best correlation of each tile of the first with the second, a few pixels around its place."""
    known = ~np.isnan(second)
    rough = [
        image - ndimage.gaussian_filter(image, 4) for image in (first, np.where(known, second, np.nanmean(second)))
    ]
    one, other = (ndimage.gaussian_filter(image, 0.7) for image in rough)
    wide = _TILE + 2 * _SEARCH
    tiles = sliding_window_view(one, (_TILE, _TILE))[_SEARCH:-_SEARCH:_STEP, _SEARCH:-_SEARCH:_STEP]
    around, is_known = (sliding_window_view(image, (wide, wide))[::_STEP, ::_STEP] for image in (other, known))
    counts = is_known.all(axis=(2, 3))
    counts &= (tiles.std(axis=(2, 3)) >= MIN_TEXTURE) & (around.std(axis=(2, 3)) >= MIN_TEXTURE)
    return _best_matches(tiles[counts], around[counts])


def _best_matches(tiles: np.ndarray, around: np.ndarray) -> np.ndarray:
    """The highest normalised correlation (m,) of each tile (m, 24, 24) with any window of its size in (m, 30, 30)."""
    centred = tiles - tiles.mean(axis=(1, 2), keepdims=True)
    wide, shifts = around.shape[1:], 2 * _SEARCH + 1
    products = fft.rfft2(around, wide) * fft.rfft2(centred, wide).conj()
    products = fft.irfft2(products, wide)[:, :shifts, :shifts]
    sums, squares = (_window_sums(values) for values in (around, around * around))
    spread = np.maximum(squares - sums * sums / centred[0].size, 0)
    lengths = np.sqrt(spread * (centred * centred).sum(axis=(1, 2))[:, None, None])
    return (products / np.maximum(lengths, 1e-6)).max(axis=(1, 2))


def _window_sums(images: np.ndarray) -> np.ndarray:
    """Sums (m, 7, 7) over every window of a tile's size in (m, 30, 30)."""
    below = np.pad(images, ((0, 0), (1, 0), (1, 0))).cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    rows = below[:, _TILE:] - below[:, :-_TILE]
    return rows[..., _TILE:] - rows[..., :-_TILE]
