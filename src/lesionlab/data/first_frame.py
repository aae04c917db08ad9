"""The part of an animation's screen that its first frame fills: the rest is white here, as in a browser over white.

Pillow fills it with the background colour that a GIF names, which no browser draws, and with black in a WebP.
"""

import struct

from PIL import Image, ImageFile

Box = tuple[int, int, int, int]


def first_frame(image: Image.Image, data: bytes) -> Box | None:
    """Return left, upper, right, lower edge of the first frame, in pixels; None where it fills the screen.

    Args:
        image: opened from the file, not loaded yet.
        data: the file.
    """
    box = None
    if image.format == "GIF" and isinstance(image, ImageFile.ImageFile):
        box = image.tile[0].extents
    elif image.format == "WEBP":
        box = _of_webp(data)
    return None if box == (0, 0, *image.size) else box


def _of_webp(data: bytes) -> Box | None:
    at = 12
    while at + 20 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"ANMF":
            left, upper, width, height = (int.from_bytes(data[at + n : at + n + 3], "little") for n in (8, 11, 14, 17))
            return (2 * left, 2 * upper, 2 * left + width + 1, 2 * upper + height + 1)
        at += 8 + size + size % 2
    return None


def over_white(image: Image.Image, box: Box) -> Image.Image:
    """Keep what is in the box, as RGB on white."""
    page = Image.new("RGB", image.size, "white")
    page.paste(image.convert("RGB").crop(box), box)
    return page
