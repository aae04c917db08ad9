"""An ICC profile in, a function out that brings its colours to sRGB; in the browser `serve/page/icc.js` does the same.

Profiles of cameras, phones and screens are three curves and a matrix, those of grey pictures one curve. Those are converted
here, in double precision and after scaling, so that Python and the page give the same pixels: where each left it to its own
library, one value in fifty came out a level apart, and a probability of the packaged model up to 0.005 (Display P3). What a
profile calls itself counts for nothing: profiles that are linear or of other primaries have "sRGB" in their names. Profiles
with tables, of printers and scanners, are left to Little CMS (`lesionlab.data.images`).

ICC.1:2022: header 7.2, tags 9.2, curves 10.6 and 10.18.
"""

import struct
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from lesionlab.data.colour_spaces import TO_LINEAR, Conversion, conversion


@lru_cache(maxsize=16)
def conversion_of(profile: bytes, *, is_grey: bool = False) -> Conversion | None:
    """Return what brings RGB pixels of a profile to sRGB.

    Args:
        profile: an ICC profile.
        is_grey: the image is grey, and so may its profile be.

    Returns:
        A function from uint8 (height, width, 3) to the same, which changes nothing where the profile is sRGB's; None where
        the profile has no curves and matrix: it is of another colour model, has tables, or is damaged.

    """
    try:
        tags = _tags(profile)
        space = profile[16:20]
        if space not in (b"RGB ", b"GRAY") or (space == b"GRAY" and not is_grey):
            return None
        if profile[20:24] != b"XYZ " or b"A2B0" in tags:
            return None
        if space == b"GRAY":
            return conversion([_curve(tags[b"kTRC"])] * 3, np.eye(3)) or np.array
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
        primaries = [
            [v / 65536 for v in struct.unpack_from(">3i", tags[name], 8)] for name in (b"rXYZ", b"gXYZ", b"bXYZ")
        ]
    except (struct.error, KeyError, IndexError, ZeroDivisionError, OverflowError):
        return None
    return conversion(curves, TO_LINEAR @ np.array(primaries).T) or np.array


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
