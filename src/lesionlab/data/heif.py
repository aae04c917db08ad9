"""HEIC and AVIF, two contents of one container (ISO/IEC 23008-12): which one a file is, its colours, and HEIC opened.

Both hold a picture as it was taken and say in boxes how it is to be turned; libheif and Pillow's AVIF plugin obey those, and
EXIF's orientation then counts no more (MIAF, ISO/IEC 23000-22, 7.3.6.7): turning by it would turn twice.
"""

import struct
from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from lesionlab.data.image_limits import ImageError, refuse_size
from lesionlab.errors import why_missing

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_MOST_BOXES = 1000


def is_heif(data: bytes) -> bool:
    """Say whether a file is of this container and holds something other than AVIF."""
    brands = _brands(data)
    return bool(brands & _HEIF_BRANDS) and not is_avif(data)


def is_avif(data: bytes) -> bool:
    """Say whether a file is of this container and holds AVIF."""
    return bool(_brands(data) & _AVIF_BRANDS)


def _brands(data: bytes) -> set[bytes]:
    if data[4:8] != b"ftyp":
        return set()
    size = min(int.from_bytes(data[:4]), 400)
    return {data[8:12]} | {data[at : at + 4] for at in range(16, size - 3, 4)}


def open_heif(data: bytes) -> Image.Image:
    """Open the primary picture of a HEIC file with libheif: turned, and of 8 bits.

    Raises:
        ImageError: pillow-heif is not installed, or the picture has too many pixels.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(why_missing("a HEIC image", "pillow-heif", "heif"), code="not_an_image") from error
    try:
        file = pillow_heif.open_heif(BytesIO(data))
    except Exception as error:  # libheif's, or what a damaged file leads pillow-heif to
        raise ImageError(f"the HEIC image is damaged or cut short ({type(error).__name__})") from error
    refuse_size(*file.size)
    image = file.to_pillow()
    image.format = "HEIF"
    return image


def colour_codes(data: bytes) -> tuple[int, int] | None:
    """Return the numbers of primaries and transfer (ITU-T H.273) in an `nclx` box; None where there is none."""
    for inside in (b"meta", b"iprp", b"ipco"):
        found = next((body for name, body in _boxes(data) if name == inside), b"")
        data = found[4:] if inside == b"meta" else found  # which has a version and flags
    for name, body in _boxes(data):
        if name == b"colr" and body[:4] == b"nclx" and len(body) >= 8:
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            return primaries, transfer
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give name and content of each box, up to one that is not whole."""
    at = 0
    for _ in range(_MOST_BOXES):
        head, size = 8, int.from_bytes(data[at : at + 4])
        if size == 1:
            head, size = 16, int.from_bytes(data[at + 8 : at + 16])
        elif size == 0:
            size = len(data) - at
        if size < head or at + size > len(data):
            return
        yield data[at + 4 : at + 8], data[at + head : at + size]
        at += size
