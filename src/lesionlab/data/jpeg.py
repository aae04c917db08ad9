"""JPEG: what its segments say, and its pixels by libjpeg-turbo without Pillow's way around them.

simplejpeg gives the pixels that Pillow gives, to the bit, and leaves Python's lock alone meanwhile. What it does not take
(four components, 12 bits, arithmetic coding, a damaged file, several pictures in one) is Pillow's.

ITU-T T.81, annex B; the parts of an ICC profile: ICC.1:2022, B.4.
"""

import struct
from collections.abc import Iterator
from threading import local
from typing import NamedTuple

import numpy as np
import simplejpeg

from lesionlab.data.image_limits import ImageError

MAX_SCANNED_PIXELS = 2_000_000_000  # progressive JPEG: pixels x scans, under 1 s of work
_FRAMES = {0xC0: False, 0xC1: False, 0xC2: True}  # baseline, extended, progressive: all by Huffman's codes
_CHANNELS = {"RGB": 3, "RGBX": 4, "GRAY": 1}
_MOST_KEPT = 8_000_000  # bytes a thread: 2 megapixels of RGBX
_kept = local()
_SCAN, _END = b"\xff\xda", b"\xff\xd9"


class JpegHeader(NamedTuple):
    """What stands before the pixels: width and height in pixels as they lie, EXIF and ICC profile as bytes, maybe none."""

    width: int
    height: int
    components: int
    is_progressive: bool
    exif: bytes
    profile: bytes


def is_jpeg(data: bytes) -> bool:
    """Say whether a file begins as a JPEG does."""
    return data.startswith(b"\xff\xd8\xff")


def read_header(data: bytes) -> JpegHeader | None:
    """Read the segments before the pixels; None where the file is not of the plain kind that `pixels_of` takes."""
    exif, frame, parts = b"", None, {}
    for marker, body in _segments(data):
        if marker in _FRAMES and len(body) >= 6:
            frame = (*struct.unpack_from(">BHHB", body), _FRAMES[marker])
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif + body[6:] if exif else body
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
            parts[body[12:13]] = body
        elif marker == 0xE2 and body.startswith(b"MPF\0"):
            return None
    if frame is None or frame[0] != 8 or frame[3] not in (1, 3):
        return None
    _, height, width, components, is_progressive = frame
    return JpegHeader(width, height, components, is_progressive, exif, _profile(parts))


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give marker and content of each segment; of the first scan, the last one given, all that follows in the file."""
    at = 2
    while at + 4 <= len(data):
        if data[at : at + 2] == b"\xff\xff":  # a fill byte
            at += 1
            continue
        start, marker, size = struct.unpack_from(">BBH", data, at)
        if start != 0xFF or size < 2:
            return
        if marker == _SCAN[1]:
            yield marker, data[at:]
            return
        yield marker, data[at + 4 : at + 2 + size]
        at += 2 + size


def _profile(parts: dict[bytes, bytes]) -> bytes:
    """Join the parts of a profile, each of which says how many there are; empty where one is missing."""
    numbers = sorted(parts)
    is_whole = bool(parts) and all(parts[number][13:14] == bytes([len(parts)]) for number in numbers)
    return b"".join(parts[number][14:] for number in numbers) if is_whole else b""


def refuse_unfinished(data: bytes) -> None:
    """Refuse a JPEG without the mark that ends its picture.

    A file that was cut short lacks it. So do files of some programs with all pixels in them, but no browser says whether
    that is so, and a picture that ends in grey must not be taken for a lesion.

    Raises:
        ImageError: there is a scan, and no end mark behind it.
    """
    if not data.endswith(_END) and any(marker == _SCAN[1] and _END not in rest for marker, rest in _segments(data)):
        raise ImageError(
            "the image is damaged or cut short: the JPEG lacks its end mark. If a viewer shows it whole, save it anew there"
        )


def refuse_scans(data: bytes, width: int, height: int) -> None:
    """Refuse a progressive JPEG, of a size in pixels, whose many scans each go over all pixels anew.

    Raises:
        ImageError: pixels times scans are more than `MAX_SCANNED_PIXELS`.
    """
    n_scans = data.count(_SCAN)
    if n_scans * width * height > MAX_SCANNED_PIXELS:
        size = f"{width} x {height} pixels"
        raise ImageError(f"a progressive JPEG of {size} in {n_scans} scans takes too long to read")


def pixels_of(data: bytes, colorspace: str) -> np.ndarray | None:
    """Decode in full; None where the file is damaged, if only a little, or of a kind that is left to Pillow.

    Args:
        data: a JPEG file.
        colorspace: "RGB", "GRAY", or "RGBX", whose fourth byte is nothing.

    Returns:
        uint8 (height, width, 3, 1 or 4), 0 to 255, in memory that the next call in this thread writes to.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        return simplejpeg.decode_jpeg(data, colorspace, buffer=_memory(height * width * _CHANNELS[colorspace]))
    except ValueError:
        return None


def _memory(size: int) -> np.ndarray:
    """Bytes to decode into, the same again where they are enough: fresh pages cost more than the decoding of a small file."""
    kept = getattr(_kept, "memory", None)
    if kept is not None and kept.size >= size:
        return kept
    memory = np.empty(size, np.uint8)
    if size <= _MOST_KEPT:
        _kept.memory = memory
    return memory
