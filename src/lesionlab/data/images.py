"""One image file or its bytes in, RGB pixels of the size asked for out: the only place where files are decoded.

Training, prediction and the service all read through `read_image`, so that a picture always becomes the same pixels.
What a file is, its content says and not its suffix. Pixels are brought to one meaning: turned upright by EXIF, transparency
laid over white, 16 bits scaled to 8, colours with an ICC profile converted to sRGB; all other metadata is dropped. Of several
frames or pages (GIF, WebP, APNG, TIFF, MPO) the first is read.

Scaling is Pillow's antialiased BILINEAR: a triangle filter neither rings at hairs and rulers as BICUBIC does nor aliases
near a ratio of one as BOX does. From 600 x 450 to 224 px, with decoding: 1.6 ms (BOX), 1.8 (BILINEAR), 2.3 (BICUBIC).

`read_image` decodes in full, so that a JPEG and its lossless copy get the same answer. `read_drafted`, for training, has a
JPEG decoded at 1/2, 1/4 or 1/8 (`draft`) where that leaves twice the size asked for. Measured on the eight 600 x 450 images
of HAM10000: pixels then differ by 0.15 levels in the mean and 1 at most (64 px), and 1.8 ms an image are saved; without that
margin by 0.6 and 22 (224 px). Too little to train on, too much to answer with: scaled up to photographs of 1024 x 768 and
more, drafting moves a probability of the packaged model by up to 0.05. Of 4032 x 3024 pixels it would save 85 of 120 ms.
"""

import stat
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np

# The plugins are imported by name: asked for a format that it has not loaded, Pillow imports all of its forty.
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from lesionlab.data.icc import conversion_of
from lesionlab.errors import LesionlabError, UsageError

CROPS = ("centre", "stretch")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".mpo")
FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)
MAX_PIXELS = 60_000_000  # Pillow holds 4 bytes a pixel: 240 MB. Phones and cameras stay below.
MAX_BYTES = 60_000_000
MIN_SIDE_PX = 16
MAX_ASPECT = 10
MAX_SCANNED_PIXELS = 2_000_000_000  # progressive JPEG: pixels x scans, under 1 s of work
DRAFT_MARGIN = 2

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FOREIGN = (
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (0, b"SIMPLE  =", "a FITS file"),
    (128, b"DICM", "a DICOM file"),
    (4, b"ftyphe", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC image"),
    (4, b"ftypavif", "an AVIF image"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)


class ImageError(LesionlabError):
    """An image cannot be read: `reason` says why in words that do not name the file, the message names it too.

    `code` sorts reasons for programs: `missing` (the file cannot be opened), `not_an_image`, `too_large` or `unreadable`.
    """

    def __init__(self, reason: str, where: str = "", *, code: str = "unreadable") -> None:
        super().__init__(f"{where}: {reason}" if where else reason)
        self.reason = reason
        self.code = code


@dataclass(frozen=True)
class ImageFacts:
    """What the file holds as it lies, before turning, cropping and scaling: width and height in pixels."""

    width: int
    height: int
    format: str
    mode: str


def read_image(source: Path | bytes, height: int, width: int, crop: str) -> np.ndarray:
    """Read an image as RGB pixels.

    Args:
        source: a file, or the bytes of one.
        height: of the result, in pixels.
        width: of the result, in pixels.
        crop: "centre" takes the largest centred rectangle of the result's aspect, "stretch" the whole image
            without keeping its aspect.

    Returns:
        RGB uint8 (height, width, 3), 0 to 255.

    Raises:
        ImageError: no image, one too large, too small or too narrow, or a damaged one.
        UsageError: a size below 1 or an unknown crop.
    """
    return _read(source, height, width, crop, is_drafted=False)[0]


def read_drafted(source: Path | bytes, height: int, width: int, crop: str) -> tuple[np.ndarray, ImageFacts]:
    """Read an image as `read_image` does, a large JPEG faster and nearly the same, and say what the file was."""
    return _read(source, height, width, crop, is_drafted=True)


def _read(
    source: Path | bytes, height: int, width: int, crop: str, *, is_drafted: bool
) -> tuple[np.ndarray, ImageFacts]:
    check_request(height, width, crop)
    where = "" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else read_file(source)
        image = _open(data)
        facts = ImageFacts(image.width, image.height, image.format or "", image.mode)
        _refuse_bombs(image, data)
        if is_drafted and image.format in ("JPEG", "MPO"):  # MPO: a JPEG with further pictures behind it
            is_turned = _orientation(image) >= 5
            _draft(image, *((width, height) if is_turned else (height, width)), crop)
        return _decoded(image, height, width, crop), facts
    except ImageError as error:
        raise ImageError(error.reason, where, code=error.code) from error.__cause__
    except Exception as error:  # Pillow's parsers raise whatever a damaged file leads them to
        raise ImageError(f"the image is damaged or cut short ({_in_words(error)})", where) from error


def check_request(height: int, width: int, crop: str) -> None:
    """Refuse a size or crop that no image can be read at.

    Raises:
        UsageError: a size below 1 or an unknown crop.
    """
    if height < 1 or width < 1:
        raise UsageError(f"An image size of {width} x {height} is not possible: give at least 1 x 1 pixels.")
    if crop not in CROPS:
        raise UsageError(f"The crop {crop!r} is unknown: give one of {', '.join(CROPS)}.")


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        ImageError: there is no such file, it cannot be opened, is no plain file or has more than `MAX_BYTES` bytes.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would never end
            raise ImageError("it is no plain file", str(path))
        if status.st_size > MAX_BYTES:
            raise _too_large(f"{status.st_size / 1e6:.0f} MB", f"{MAX_BYTES / 1e6:.0f} MB", str(path))
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be opened ({error.strerror})", str(path), code="missing") from error
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"the file cannot be opened ({error})", str(path), code="missing") from error


def _open(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise ImageError(_why_not(data), code="not_an_image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("the image", f"{MAX_PIXELS / 1e6:.0f} megapixels") from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height} pixels"
        raise _too_large(size, f"{MAX_PIXELS / 1e6:.0f} megapixels")
    return image


def _refuse_bombs(image: ImageFile.ImageFile, data: bytes) -> None:
    width, height = image.size
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(f"{width} x {height} pixels are too few: each side needs at least {MIN_SIDE_PX}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{width} x {height} pixels are too narrow: one side may be {MAX_ASPECT} times the other")
    if image.info.get("progressive"):  # each scan goes over all pixels anew
        n_scans = data.count(b"\xff\xda")
        if n_scans * width * height > MAX_SCANNED_PIXELS:
            raise ImageError(
                f"a progressive JPEG of {width} x {height} pixels in {n_scans} scans takes too long to read"
            )


def _decoded(image: ImageFile.ImageFile, height: int, width: int, crop: str) -> np.ndarray:
    """Decode, turn upright, make RGB, crop and scale: sRGB pixels of the size asked for, uint8 (height, width, 3)."""
    image.load()
    profile = image.info.get("icc_profile") or b""
    # Asked only now, since a PNG may hold its EXIF behind the pixels and a TIFF is turned while it is loaded.
    upright = _upright(image, _orientation(image))
    convert = conversion_of(profile) if profile and image.mode != "CMYK" else None
    plain = _plain(upright, b"" if convert else profile)
    scaled = plain
    if plain.size != (width, height):  # Pillow would copy it, which takes a third of the time of a small JPEG
        scaled = _scaled(plain, height, width, _box(plain.size, height, width, crop))
    pixels = np.array(scaled if scaled.mode == "RGB" else scaled.convert("RGB"))
    return convert(pixels) if convert else pixels


def _scaled(image: Image.Image, height: int, width: int, box: tuple[float, float, float, float]) -> Image.Image:
    """Scale the part in the box, across before down in any case: left to itself, Pillow does so until version 12 only."""
    left, upper, right, lower = box
    across = image.resize((width, image.height), Image.Resampling.BILINEAR, (left, 0, right, image.height))
    return across.resize((width, height), Image.Resampling.BILINEAR, (0, upper, width, lower))


def _box(size: tuple[int, int], height: int, width: int, crop: str) -> tuple[float, float, float, float]:
    """The part of an image of (width, height) `size` that is kept: left, upper, right, lower edge in pixels."""
    full_width, full_height = size
    if crop == "stretch":
        return (0, 0, full_width, full_height)
    scale = min(full_width / width, full_height / height)
    left, upper = (max(0.0, full - scale * kept) / 2 for full, kept in ((full_width, width), (full_height, height)))
    return (left, upper, full_width - left, full_height - upper)


def _draft(image: ImageFile.ImageFile, height: int, width: int, crop: str) -> None:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 where that leaves DRAFT_MARGIN times the pixels asked for."""
    left, upper, right, lower = _box(image.size, height, width, crop)
    reduction = min((right - left) / width, (lower - upper) / height) / DRAFT_MARGIN
    for divisor in (8, 4, 2):
        if reduction >= divisor:
            image.draft(None, (image.width // divisor, image.height // divisor))
            return


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 (upright) to 8; 1 where there is none or the EXIF block is damaged."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the pixels can be good where the EXIF block is not, and its parser raises anything
        return 1
    return value if value in _TRANSPOSE else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image


def _plain(image: Image.Image, profile: bytes) -> Image.Image:
    """Make an image RGB or L, of 8 bits; transparency is laid over white, colours of the profile become sRGB."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion clips at 255; RGB of 16 bits it shifts as well
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    refuse_unknown_range(image)
    if image.has_transparency_data:
        layer = _in_srgb(image.convert("RGBA"), profile)
        page = Image.new("RGB", layer.size, "white")
        page.paste(layer, mask=layer.getchannel("A"))
        return page
    same = image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGB")
    converted = _in_srgb(same, profile)
    return converted.convert("RGB") if converted.mode == "CMYK" else converted


def refuse_unknown_range(image: Image.Image) -> None:
    """Raise `ImageError` for grey values of 32 bits, whole or not."""
    if image.mode in ("I", "F"):
        raise ImageError("its grey values have 32 bits, of which the range is unknown: save it with 8 or 16 bits")


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert colours to sRGB; RGB and RGBA in place, since a photograph's second copy would double the memory."""
    transform = _to_srgb(profile, image.mode) if profile else None
    if transform is None:
        return image
    if image.mode in ("RGB", "RGBA"):
        transform.apply_in_place(image)
        return image
    return transform.apply(image)


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from an ICC profile to sRGB; None where it is damaged, or of another colour model than the pixels."""
    try:
        source, srgb = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(source, srgb, mode, "RGBA" if mode == "RGBA" else "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _too_large(what: str, limit: str, where: str = "") -> ImageError:
    reason = f"{what} is too large: at most {limit} are read; save a smaller copy"
    return ImageError(reason, where, code="too_large")


def _why_not(data: bytes) -> str:
    """Say what a file is that no decoder took."""
    head = data[:1024].lower()
    known = [name for offset, magic, name in _FOREIGN if data[offset : offset + len(magic)] == magic]
    if b"<html" in head or b"<!doctype html" in head:
        known.append("an HTML page")
    elif b"<svg" in head:
        known.append("an SVG drawing")
    what = f"the file is {known[0]}" if known else "the file is no image, or damaged from its first bytes on"
    return f"{what}; read are {', '.join(FORMATS)}"


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
