"""PNG: the colours that its chunks name, and the one colour that counts as transparent, where Pillow knows neither.

Of several names of the colours the first of cICP, iCCP, sRGB, gAMA with cHRM counts (PNG, third edition, 4.3). cHRM alone
names none. The pixels of IDAT are the picture, also where an animation (APNG) does not show them.
"""

import struct
from io import BytesIO

import numpy as np
from PIL import Image

from lesionlab.data.colour_spaces import Conversion, conversion_of_codes, conversion_of_gamma
from lesionlab.data.icc import conversion_of
from lesionlab.data.image_limits import ImageError

_RGB, _GREY = 2, 0
_NAMES = (b"cICP", b"sRGB", b"gAMA", b"cHRM")


def colours_of(data: bytes, profile: bytes, *, is_grey: bool) -> tuple[Conversion | None, bytes]:
    """Find what brings the colours to sRGB.

    Args:
        data: a PNG file.
        profile: its ICC profile, as Pillow unpacked it; maybe none.
        is_grey: the image has one channel of colour.

    Returns:
        A conversion, or None; and the profile, where it has to be left to Little CMS, else none.

    Raises:
        ImageError: colours that cannot be brought to sRGB.
    """
    chunks = _chunks(data)
    if len(codes := chunks.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, is_full = codes
        if matrix or not is_full:
            raise ImageError(
                "its colours are coded as video's are, in another model or range than RGB: save it as sRGB"
            )
        return conversion_of_codes(primaries, transfer), b""
    if profile:
        found = conversion_of(profile, is_grey=is_grey)
        return found, b"" if found else profile
    if b"sRGB" in chunks or len(gamma := chunks.get(b"gAMA", b"")) != 4:
        return None, b""
    places = chunks.get(b"cHRM", b"")
    return conversion_of_gamma(
        *struct.unpack(">I", gamma), struct.unpack(">8I", places) if len(places) == 32 else ()
    ), b""


def with_colour_key(image: Image.Image, data: bytes) -> Image.Image:
    """Make the colour that a PNG names as transparent (tRNS) so where Pillow does not: 16 bits, and grey of 2 and 4.

    Returns:
        An RGBA or LA image of 8 bits; the image itself where it has no such colour, or Pillow knows what to do with it.
    """
    depth, colour = data[24], data[25]
    key = image.info.get("transparency")
    if colour == _GREY and depth in (2, 4) and isinstance(key, int):
        image.info["transparency"] = (key & (2**depth - 1)) * 255 // (2**depth - 1)
        return image
    if depth != 16 or colour not in (_RGB, _GREY) or key is None:
        return image
    if colour == _GREY:
        wide = np.asarray(image)
        layers, is_clear = [(wide >> 8).astype(np.uint8)], wide == key
    else:
        high, low = np.asarray(image), _low_bytes(data)
        layers = list(np.moveaxis(high, -1, 0))
        is_clear = ((high == [part >> 8 for part in key]) & (low == [part & 255 for part in key])).all(axis=-1)
    alpha = Image.fromarray(np.where(is_clear, 0, 255).astype(np.uint8))
    return Image.merge("LA" if colour == _GREY else "RGBA", [*map(Image.fromarray, layers), alpha])


def _low_bytes(data: bytes) -> np.ndarray:
    """Give the lower of the two bytes of each sample of a 16-bit RGB PNG: uint8 (height, width, 3).

    Pillow keeps the upper one; told that samples begin with the lower byte, it keeps that one, which is the other.
    """
    image = Image.open(BytesIO(data), formats=("PNG",))
    image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
    return np.asarray(image)


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """Give the content of the chunks before the pixels that name colours, the first of each name."""
    found: dict[bytes, bytes] = {}
    at, name = 8, b""
    while at + 8 <= len(data) and name != b"IDAT":
        size, name = struct.unpack_from(">I4s", data, at)
        if name in _NAMES:
            found.setdefault(name, data[at + 8 : at + 8 + size])
        at += 12 + size
    return found
