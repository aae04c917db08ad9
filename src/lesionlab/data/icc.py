"""An ICC profile in, a function out that brings its colours to sRGB; in the browser `serve/page/colours.js` does the same.

Profiles of cameras, phones and screens are three curves and a matrix. Those are converted here, in double precision and after
scaling, so that Python and the page give the same pixels: where each left it to its own library, one value in fifty came out a
level apart, and a probability of the packaged model up to 0.005 (Display P3). Profiles with tables, of printers and scanners,
are left to Little CMS (`lesionlab.data.images`).

ICC.1:2022: header 7.2, tags 9.2, curves 10.6 and 10.18.
"""

import struct
from collections.abc import Callable
from functools import lru_cache

import numpy as np

Conversion = Callable[[np.ndarray], np.ndarray]

# From XYZ under D50 to linear sRGB: the inverse of the primaries that the ICC publishes for sRGB.
_TO_LINEAR = np.array(
    [
        [3.1341121533238456, -1.6173924595518705, -0.4906334045647203],
        [-0.9787872961391834, 1.9162795864266207, 0.03345471423138198],
        [0.07198304438569494, -0.22898585024754495, 1.4053851315844992],
    ]
)


@lru_cache(maxsize=16)
def conversion_of(profile: bytes) -> Conversion | None:
    """Return what brings RGB pixels of a profile to sRGB.

    Args:
        profile: an ICC profile.

    Returns:
        A function from uint8 (height, width, 3) to the same; None where the profile has no curves and matrix: it is of
        another colour model, has tables, or is damaged.

    """
    try:
        tags = _tags(profile)
        if profile[16:20] != b"RGB ":
            return None
        if b"srgb" in tags.get(b"desc", b"").replace(b"\0", b"").lower():
            return np.array  # what calls itself sRGB is left as it is
        if profile[20:24] != b"XYZ " or b"A2B0" in tags:
            return None
        curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
        primaries = [
            [v / 65536 for v in struct.unpack_from(">3i", tags[name], 8)] for name in (b"rXYZ", b"gXYZ", b"bXYZ")
        ]
    except (struct.error, KeyError, IndexError, ZeroDivisionError, OverflowError):
        return None
    matrix = _TO_LINEAR @ np.array(primaries).T

    def convert(pixels: np.ndarray) -> np.ndarray:
        linear = np.stack([curve[pixels[..., channel]] for channel, curve in enumerate(curves)], axis=-1)
        return np.floor(255 * _encoded(np.clip(linear @ matrix.T, 0, 1)) + 0.5).astype(np.uint8)

    return convert


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * index) for index in range(min(count, 100))]
    return {name: profile[offset : offset + size] for name, offset, size in entries}


def _curve(tag: bytes) -> np.ndarray:
    """Linear light, 0 to 1, of the 256 values of a channel: float64 (256,)."""
    x = np.arange(256) / 255
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        g, *rest = (v / 65536 for v in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12))
        a, b, c, d, e, f = _PARAMETRIC[kind](*rest)
        return np.clip(np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f), 0, 1)
    if tag[:4] != b"curv":
        raise KeyError(tag[:4])
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return x
    if count == 1:
        return x ** (struct.unpack_from(">H", tag, 12)[0] / 256)
    table = np.array(struct.unpack_from(f">{count}H", tag, 12)) / 65535
    return np.interp(x * (count - 1), np.arange(count), table)


# Of each kind: a, b, c, d, e, f in (a x + b)^g + e from d on, c x + f below.
_PARAMETRIC: tuple[Callable[..., tuple[float, ...]], ...] = (
    lambda: (1, 0, 0, 0, 0, 0),
    lambda a, b: (a, b, 0, -b / a, 0, 0),
    lambda a, b, c: (a, b, 0, -b / a, c, c),
    lambda a, b, c, d: (a, b, c, d, 0, 0),
    lambda a, b, c, d, e, f: (a, b, c, d, e, f),
)


def _encoded(linear: np.ndarray) -> np.ndarray:
    """Encode linear light by the curve of sRGB (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
