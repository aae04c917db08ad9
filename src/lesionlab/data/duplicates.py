"""Decoded images in, pairs that show the same lesion out: copies, and second photographs under another lesion id.

A pigmented lesion is a dark blob on plain skin, so that perceptual hashes, and correlation of the pictures as they are,
join lesions of like outline. Here the outline must not count: every picture is divided by its local contrast, and a pair
is joined only where most parts of it agree, the skin around the lesion included.

1. A coarse print (12 x 12, centred on the lesion) is compared between images in all 8 flips and quarter turns; the three
   nearest of each image are candidates (`lesionlab.data.duplicate_candidates`).
2. Candidates are laid over each other at 32 px, shifted, turned by up to 7 degrees and scaled by up to a tenth.
3. What agrees at all (`MIN_PEAK`) is aligned at 64 px and cut into tiles at 128 px; the pair is joined if four fifths of the
   tiles' correlations reach `MIN_CORRELATION`.

Measured on the 5,984 images of HAM10000 (one a lesion, 224 px, decoded at 128 px) by looking at the best 14 pairs: 9 are
joined, all of one lesion by eye and by equal age, sex, site and diagnosis, with correlations of 0.67 to 0.85; the next best
pair, 0.55, is none. A wider search (20 neighbours, twice the angles and scales) finds one true pair more, ISIC_0032631 and
ISIC_0033176, but joins 4 false ones. The thresholds were set on these same images, so other data may fare worse.
Of 149 altered copies: all re-saved as JPEG of quality 50, flipped, turned by 90 degrees, darker or paler, 148 brightened by
30 %, 147 of quality 30, 143 cropped to 90 %, 143 turned by 5 degrees; 8 cropped to 80 %, none turned by 15 degrees; no
false pair. Small images have no texture left and are joined wrongly: of the pairs found from 96, 64, 48 and 24 px, 0 of 9,
3 of 11, 11 of 20 and 313 of 326 disagree in age, sex, site or diagnosis. Nearly all of the work is linear in n.
Pixels are read in blocks and let go: only the prints of all images are held, 576 bytes an image.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy import fft, ndimage, sparse

from lesionlab.data.duplicate_candidates import candidates, turned
from lesionlab.data.threads import in_threads
from lesionlab.data.tile_correlation import MIN_TEXTURE, tile_correlations
from lesionlab.errors import UsageError
from lesionlab.files import release_pages

MIN_PEAK = 0.38
MIN_CORRELATION = 0.62
MIN_TILES = 20
MIN_SIDE_PX = 64

_SIDE = 128  # px, where tiles are compared
_THUMB = 64  # px, where pictures are shifted onto each other
_WINDOW = 48  # px of the thumb that the print covers
_CELL = 4  # px of the thumb that make one value of the print
_REACH = 0.22  # of the side, by which two pictures may be shifted
_WAYS = tuple((angle, scale) for angle in (0, -5, 5, -10, 10) for scale in (1.0, 0.9, 1.1))  # degrees, factor
_ROUGH_WAYS = tuple((angle, scale) for angle in (0, -7, 7) for scale in (1.0, 0.9, 1.1))
_BLOCK = 256
_PAIRS = 32


@dataclass(frozen=True)
class NearDuplicate:
    """Two images of the same lesion.

    Attributes:
        image_id_a: the one that comes first in the data set.
        image_id_b: the other.
        distance: bits in which their prints differ after the best flip or quarter turn, 0 (same) to 144.
        correlation: lower fifth over the tiles of the aligned pictures, `MIN_CORRELATION` to 1.

    """

    image_id_a: str
    image_id_b: str
    distance: int
    correlation: float


def near_duplicates(
    pixels: np.ndarray, image_ids: Sequence[str], skip: np.ndarray | None = None
) -> list[NearDuplicate]:
    """Find the pairs of images that show the same lesion.

    Args:
        pixels: RGB uint8 (n, height, width, 3), may be a memory map; of an oblong image the central square is compared.
        image_ids: of the n images, in order.
        skip: bool (n,), true for images to be left out: those that could not be read, and those whose file has less than
            `MIN_SIDE_PX` on a side, however large they were decoded. None when absent.

    Returns:
        Pairs in the order of `image_ids`, the first image of a pair before the second.

    Raises:
        UsageError: the three arguments are not of one length, or the pixels are smaller than `MIN_SIDE_PX`.

    """
    n, pixels = len(pixels), np.asanyarray(pixels)
    skip = None if skip is None else np.asarray(skip, dtype=bool)
    if len(image_ids) != n:
        raise UsageError(f"{n} images need {n} image ids, not {len(image_ids)}.")
    if skip is not None and len(skip) != n:
        raise UsageError(f"{n} images need {n} flags to skip, not {len(skip)}.")
    if min(pixels.shape[1:3]) < MIN_SIDE_PX:
        size = f"{pixels.shape[2]} x {pixels.shape[1]}"
        raise UsageError(
            f"Near-duplicates cannot be told at {size} pixels: decode at {MIN_SIDE_PX} or more, best at 128."
        )
    wanted = np.arange(n) if skip is None else np.flatnonzero(~np.asarray(skip, bool))
    wanted, prints = _all_prints(pixels, wanted)
    if len(wanted) < 2:
        return []
    likely = candidates(prints)
    close = likely[_peaks(pixels, wanted, likely) >= MIN_PEAK]

    def compared(start: int) -> list[NearDuplicate]:
        block = close[start : start + _PAIRS]
        first = np.stack([_grey(pixels[wanted[a]], _SIDE) for a, _, _ in block])
        second = np.stack([turned(_grey(pixels[wanted[b]], _SIDE), turn) for _, b, turn in block])
        release_pages(pixels)
        return [
            NearDuplicate(
                image_ids[wanted[a]], image_ids[wanted[b]], _distance(prints[a], prints[b], turn), correlation
            )
            for (a, b, turn), correlation in zip(block.tolist(), _correlations(first, second), strict=True)
            if correlation >= MIN_CORRELATION
        ]

    by_block = in_threads(compared, range(0, len(close), _PAIRS), "comparing like images")
    return [pair for found in by_block for pair in found]


def _distance(first: np.ndarray, second: np.ndarray, turn: int) -> int:
    """Bits in which two prints differ, the second turned."""
    return int(np.sum((first > 0) != (turned(second, turn) > 0)))


def _all_prints(pixels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of the rows that have texture (a plain surface is like any other), and their prints."""

    def looked_at(start: int) -> tuple[np.ndarray, np.ndarray]:
        block = rows[start : start + _BLOCK]
        thumbs = np.stack([_grey(pixels[row], _THUMB) for row in block])
        release_pages(pixels)
        is_textured = thumbs.std(axis=(1, 2)) >= MIN_TEXTURE
        return block[is_textured], _prints(thumbs[is_textured])

    blocks = list(in_threads(looked_at, range(0, len(rows), _BLOCK), "looking at images"))
    no_prints = np.empty((0, _WINDOW // _CELL, _WINDOW // _CELL), np.float32)
    return np.concatenate([rows[:0], *(kept for kept, _ in blocks)]), np.concatenate(
        [no_prints, *(p for _, p in blocks)]
    )


def _grey(image: np.ndarray, side: int) -> np.ndarray:
    """The central square of an RGB image as float32 (side, side), 0 to 255."""
    height, width = image.shape[:2]
    edge = min(height, width)
    left, upper = (width - edge) / 2, (height - edge) / 2
    grey = Image.fromarray(np.asarray(image)).convert("L")
    box = (left, upper, left + edge, upper + edge)
    return np.asarray(grey.resize((side, side), Image.Resampling.BILINEAR, box), np.float32)


def _even(images: np.ndarray, detail: int, around: int) -> np.ndarray:
    """Remove brightness and local contrast from (n, side, side), so that faint skin counts as much as the lesion."""
    size = (1, detail, detail)
    rough = images - ndimage.uniform_filter(images, size, mode="nearest")
    contrast = np.sqrt(np.maximum(ndimage.uniform_filter(rough * rough, (1, around, around), mode="nearest"), 0))
    return rough / (contrast + 1)


def _unit(images: np.ndarray) -> np.ndarray:
    """Scale each of (n, side, side) to length one."""
    lengths = np.sqrt((images * images).sum(axis=(1, 2), keepdims=True))
    return images / np.maximum(lengths, 1e-6)


def _prints(thumbs: np.ndarray) -> np.ndarray:
    """Coarse prints, float32 (n, 12, 12) of length one, of windows centred on what is darker than the skin."""
    n, side, _ = thumbs.shape
    ramp = np.arange(side, dtype=np.float32) - (side - 1) / 2
    disc = np.hypot(ramp[:, None], ramp[None, :]) < side / 2  # leaves dark corners out
    dark = np.maximum(np.median(thumbs, axis=(1, 2), keepdims=True) - thumbs - 10, 0) * disc
    mass = dark.sum(axis=(1, 2)) + 1e-3
    pad = side // 4
    start = pad + (side - _WINDOW) // 2
    top = start + np.clip(np.rint((dark * ramp[:, None]).sum(axis=(1, 2)) / mass), -pad, pad).astype(int)
    left = start + np.clip(np.rint((dark * ramp).sum(axis=(1, 2)) / mass), -pad, pad).astype(int)
    padded = np.pad(thumbs, ((0, 0), (pad, pad), (pad, pad)), mode="edge")
    windows = sliding_window_view(padded, (_WINDOW, _WINDOW), axis=(1, 2))
    cells = _WINDOW // _CELL
    coarse = windows[np.arange(n), top, left].reshape(n, cells, _CELL, cells, _CELL).mean(axis=(2, 4))
    return _unit(_even(coarse, 5, 7)).astype(np.float32)


def _peaks(pixels: np.ndarray, rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The highest correlation (m,) of each pair (m, 3) over shifts, a few angles and a few scales, at half size."""
    peaks = np.zeros(len(pairs), np.float32)
    by_second = np.argsort(pairs[:, 1], kind="stable")  # each image is turned and scaled once, or twice

    def laid_over(start: int) -> None:
        block = by_second[start : start + 2 * _BLOCK]
        seconds, second_of = np.unique(pairs[block, 1], return_inverse=True)
        first = _spectra(_texture(_small(pixels, rows[pairs[block, 0]]), 3, 7))
        small = _small(pixels, rows[seconds])
        for angle, scale in _ROUGH_WAYS:
            warped = _texture(_warped(small, angle, scale), 3, 7)
            for turn in np.unique(pairs[block, 2]):
                chosen = np.flatnonzero(pairs[block, 2] == turn)
                near, _ = _shifted(first[chosen], _spectra(turned(warped[second_of[chosen]], turn)))
                peaks[block[chosen]] = np.maximum(peaks[block[chosen]], near)

    for _ in in_threads(laid_over, range(0, len(pairs), 2 * _BLOCK), "laying like images over each other"):
        pass
    return peaks


def _small(pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Thumbs (k, 32, 32) at half size."""
    thumbs = np.stack([_grey(pixels[row], _THUMB) for row in rows])
    release_pages(pixels)
    return thumbs.reshape(len(rows), _THUMB // 2, 2, _THUMB // 2, 2).mean(axis=(2, 4))


def _texture(images: np.ndarray, detail: int, around: int) -> np.ndarray:
    """Evened images (n, side, side) of length one, faded out towards the corners, which are often dark."""
    side = images.shape[1]
    ramp = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / (side / 2)
    weight = np.clip((1.15 - np.hypot(ramp[:, None], ramp[None, :])) / 0.3, 0, 1)
    return _unit(_even(images, detail, around) * weight)


def _spectra(images: np.ndarray) -> np.ndarray:
    return fft.rfft2(images, axes=(1, 2))


def _shifted(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From spectra, the highest correlation (m,) over shifts and the shift (m, 2) in px that brings the second over."""
    side = first.shape[1]
    reach = round(_REACH * side)
    surface = fft.irfft2(first * second.conj(), s=(side, side), axes=(1, 2))
    shifts = np.arange(-reach, reach + 1)
    near = surface[:, shifts[:, None], shifts].reshape(len(surface), -1)
    best = near.argmax(axis=1)
    return near.max(axis=1), np.stack([shifts[best // len(shifts)], shifts[best % len(shifts)]], axis=1)


def _correlations(first: np.ndarray, second: np.ndarray) -> list[float]:
    """Align each second of (m, 128, 128) to its first, correlate them by tiles: the lower fifth, -1 if few tiles count."""
    one, other = (side.reshape(-1, _THUMB, 2, _THUMB, 2).mean(axis=(2, 4)) for side in (first, second))
    spectra = _spectra(_texture(one, 7, 13))
    tries = [_shifted(spectra, _spectra(_texture(_warped(other, *way), 7, 13))) for way in _WAYS]
    peaks, shifts = (np.stack(values) for values in zip(*tries, strict=True))  # (ways, m), (ways, m, 2)
    correlations = []
    for pair, best in enumerate(peaks.argmax(axis=0)):
        angle, scale = _WAYS[best]
        tiles = tile_correlations(first[pair], _aligned(second[pair], angle, scale, 2 * shifts[best, pair]))
        correlations.append(float(np.quantile(tiles, 0.2)) if len(tiles) >= MIN_TILES else -1.0)
    return correlations


def _affine(side: int, angle: float, scale: float, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and offset that say where a pixel comes from: turned (degrees), scaled about the middle, then shifted (px)."""
    radians = np.deg2rad(angle)
    matrix = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]) / scale
    middle = np.full(2, (side - 1) / 2)
    return matrix, middle - matrix @ (middle + shift)


def _aligned(image: np.ndarray, angle: float, scale: float, shift: np.ndarray) -> np.ndarray:
    """Turn, scale and shift one image; what comes in at the rim is NaN."""
    if angle == 0 and scale == 1 and not shift.any():
        return image
    matrix, offset = _affine(len(image), angle, scale, shift)
    return ndimage.affine_transform(image, matrix, offset, order=1, mode="constant", cval=np.nan)


def _warped(images: np.ndarray, angle: float, scale: float) -> np.ndarray:
    """Turn and scale images (n, side, side); what comes in repeats the rim."""
    if angle == 0 and scale == 1:
        return images
    warp = _warp(images.shape[1], angle, scale)
    return (warp @ images.reshape(len(images), -1).T).T.reshape(images.shape)


@functools.cache
def _warp(side: int, angle: float, scale: float) -> sparse.csr_array:
    """Turning, scaling and bilinear interpolation as one matrix (side * side, side * side): the same for all images."""
    matrix, offset = _affine(side, angle, scale, np.zeros(2))
    places = np.indices((side, side)).reshape(2, -1)
    down, right = np.clip(matrix @ places + offset[:, None], 0, side - 1)
    top, left = (np.minimum(place.astype(int), side - 2) for place in (down, right))
    down, right = down - top, right - left
    corners = [  # of the four pixels around each place: its number, its share
        (top * side + left, (1 - down) * (1 - right)),
        (top * side + left + 1, (1 - down) * right),
        ((top + 1) * side + left, down * (1 - right)),
        ((top + 1) * side + left + 1, down * right),
    ]
    numbers, shares = (np.concatenate(values) for values in zip(*corners, strict=True))
    rows = np.tile(np.arange(side * side), 4)
    return sparse.csr_array((shares.astype(np.float32), (rows, numbers)), shape=(side * side, side * side))
