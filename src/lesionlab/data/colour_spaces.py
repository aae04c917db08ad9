"""Colours that are not sRGB in, a function out that brings them there; `serve/page/colour-spaces.js` does so in the browser.

A colour space is three curves to linear light and three primaries with a white. PNG names one by numbers (cICP) or in full
(gAMA, cHRM), AVIF and HEIC by numbers, a profile (`lesionlab.data.icc`) in full. All are converted here, in double precision
and after scaling, so that Python and the page give the same pixels.

Numbers: ITU-T H.273, tables 2 and 3. The curves 1, 6, 14 and 15, of video, are read as screens show them: a gamma of 2.4
(ITU-R BT.1886), as Chromium does. PNG, third edition: https://www.w3.org/TR/png-3/.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from lesionlab.data.image_limits import ImageError

Conversion = Callable[[np.ndarray], np.ndarray]
SAME_LEVELS = 2  # what moves no colour further is sRGB, written with other digits

# From XYZ under D50 to linear sRGB: the inverse of the primaries that the ICC publishes for sRGB.
TO_LINEAR = np.array(
    [
        [3.1341121533238456, -1.6173924595518705, -0.4906334045647203],
        [-0.9787872961391834, 1.9162795864266207, 0.03345471423138198],
        [0.07198304438569494, -0.22898585024754495, 1.4053851315844992],
    ]
)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])
_D65 = (0.3127, 0.329)
_SRGB = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
# x and y of red, green, blue and white
_PRIMARIES = {
    1: (*_SRGB, *_D65),
    2: (*_SRGB, *_D65),  # unspecified
    5: (0.64, 0.33, 0.29, 0.6, 0.15, 0.06, *_D65),
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_D65),
    7: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_D65),
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, *_D65),
    11: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351),
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_D65),
}
_GAMMAS = {1: 2.4, 6: 2.4, 14: 2.4, 15: 2.4, 4: 2.2, 5: 2.8, 8: 1.0}
_SRGB_CURVE = (2, 13)  # unspecified, and its own
_HIGH_RANGE = {16: "PQ", 18: "HLG"}
_VALUES = np.arange(256) / 255


@lru_cache(maxsize=64)
def conversion_of_codes(primaries: int, transfer: int) -> Conversion | None:
    """Return what brings RGB pixels to sRGB from the colours of two numbers; None where they are sRGB.

    Raises:
        ImageError: colours of high dynamic range, or a number that stands for nothing known.
    """
    if transfer in _HIGH_RANGE:
        raise ImageError(
            f"its brightness is coded for high dynamic range ({_HIGH_RANGE[transfer]}), which no model here knows: "
            "save it as an ordinary picture (SDR)"
        )
    if primaries not in _PRIMARIES or (transfer not in _GAMMAS and transfer not in _SRGB_CURVE):
        raise ImageError(f"its colours are of an unknown kind (H.273: {primaries}, {transfer}): save it as sRGB")
    curve = decoded(_VALUES) if transfer in _SRGB_CURVE else _VALUES ** _GAMMAS[transfer]
    return conversion([curve] * 3, _to_linear(_PRIMARIES[primaries]))


@lru_cache(maxsize=64)
def conversion_of_gamma(gamma: int, chromaticities: tuple[int, ...]) -> Conversion | None:
    """Return what brings RGB pixels to sRGB from PNG's gAMA and cHRM; None where they say sRGB, or nothing sensible.

    A gamma within 5 % of 45455, which PNG's specification has sRGB write for readers that know no other way, is sRGB's curve.

    Args:
        gamma: of the file, times 100,000.
        chromaticities: x and y of white, red, green and blue, times 100,000; empty where there is no cHRM.
    """
    if gamma == 0:
        return None
    curve = decoded(_VALUES) if abs(gamma / 45455 - 1) < 0.05 else _VALUES ** (100000 / gamma)
    places = tuple(value / 100000 for value in (*chromaticities[2:], *chromaticities[:2]))
    matrix = _to_linear(places or (*_SRGB, *_D65))
    return None if matrix is None else conversion([curve] * 3, matrix)


def conversion(curves: list[np.ndarray], matrix: np.ndarray | None) -> Conversion | None:
    """Return what brings RGB pixels to sRGB; None where it would move no colour by more than `SAME_LEVELS`.

    Args:
        curves: linear light of the 256 values of red, green and blue, each float64 (256,), 0 to 1.
        matrix: from that to linear sRGB, float64 (3, 3); None stands for one that cannot be had, and gives None.

    Returns:
        A function from uint8 (..., 3) to the same.
    """
    if matrix is None:
        return None

    def convert(pixels: np.ndarray) -> np.ndarray:
        linear = np.stack([curve[pixels[..., channel]] for channel, curve in enumerate(curves)], axis=-1)
        return np.floor(255 * encoded(np.clip(linear @ matrix.T, 0, 1)) + 0.5).astype(np.uint8)

    steps = np.arange(0, 256, 15, dtype=np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)  # (18, 18, 18, 3)
    moved = np.abs(convert(lattice).astype(int) - lattice).max()
    return None if moved <= SAME_LEVELS else convert


def encoded(linear: np.ndarray) -> np.ndarray:
    """Encode linear light by the curve of sRGB (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def decoded(values: np.ndarray) -> np.ndarray:
    """Give the linear light of values of sRGB."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _to_linear(places: tuple[float, ...]) -> np.ndarray | None:
    """From RGB of these primaries and white, x and y of each, to linear sRGB; None where they span no colours.

    Whites are adapted to each other by Bradford's method, as the ICC does.
    """
    if min(places[1::2]) <= 0:
        return None
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in zip(places[::2], places[1::2], strict=True)]).T
    primaries, white = xyz[:, :3], xyz[:, 3]
    cones = _BRADFORD @ white
    if abs(np.linalg.det(primaries)) < 1e-9 or min(abs(cones)) < 1e-9:
        return None
    adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / cones) @ _BRADFORD
    return TO_LINEAR @ adapt @ primaries @ np.diag(np.linalg.solve(primaries, white))
