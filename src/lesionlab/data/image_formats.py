"""What an image file is, by its content and not by its suffix: opened with the decoder of its format, or refused in words.

Pillow reads most formats. HEIC needs pillow-heif (`lesionlab[heif]`), DICOM pydicom (`lesionlab[dicom]`): where one is
absent, the refusal names it. docs/images.md says format by format what is read.
"""

import unicodedata
from io import BytesIO
from pathlib import Path

from PIL import Image

from lesionlab.data import heif
from lesionlab.data.image_limits import MAX_PIXELS, ImageError, too_large

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".mpo", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".avif", ".heic", ".heif", ".hif", ".dcm", ".dicom"),
)
_BY_PILLOW = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF")
FORMATS = (*_BY_PILLOW, "HEIF", "DICOM")
_FOREIGN = (
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)


def without_suffix(name: str) -> str:
    """Give an image's id: its name without the suffix of an image file, composed (NFC), since macOS writes accents apart."""
    suffix = Path(name).suffix if "\0" not in name else ""
    return unicodedata.normalize("NFC", name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name)


def is_dicom(data: bytes) -> bool:
    """Say whether a file has the mark of DICOM's file format (PS3.10, 7.1) behind its preamble."""
    return data[128:132] == b"DICM"


def open_image(data: bytes) -> Image.Image:
    """Open an image that is no DICOM file: its size is known, nothing is decoded yet.

    Raises:
        ImageError: no image, of a format that is not read, or of too many pixels.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    if heif.is_heif(data):
        return heif.open_heif(data)
    _load_plugins()
    try:
        return Image.open(BytesIO(data), formats=_BY_PILLOW)
    except Image.UnidentifiedImageError as error:
        raise ImageError(_why_not(data), code="not_an_image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large("the image", f"{MAX_PIXELS / 1e6:.0f} megapixels") from error


def _load_plugins() -> None:
    """Import Pillow's plugins by name, and only now: asked for a format that it has not loaded it imports all of its forty.

    Most JPEGs need none of them, and a prediction of one image starts 20 ms sooner.
    """
    from PIL import (  # noqa: F401
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )


def _why_not(data: bytes) -> str:
    """Say what a file is that no decoder took."""
    head = data[:1024].lower()
    known = [name for offset, magic, name in _FOREIGN if data[offset : offset + len(magic)] == magic]
    if b"<html" in head or b"<!doctype html" in head:
        known.append("an HTML page")
    elif b"<svg" in head:
        known.append("an SVG drawing")
    if heif.is_avif(data):
        return "the AVIF image is damaged from its first bytes on, or Pillow was built without a decoder for it"
    what = f"the file is {known[0]}" if known else "the file is no image, or damaged from its first bytes on"
    return f"{what}; read are {', '.join(FORMATS)}"
