"""One image file or its bytes in, RGB pixels of the size asked for out: the only place where files are decoded.

Training, prediction and the service all read through `read_image`, so that a picture always becomes the same pixels, and the
page in the browser does the same in JavaScript. What a file is, its content says and not its suffix. Pixels are brought to one
meaning: turned upright by EXIF, transparency laid over white, 16 bits scaled to 8, colours converted to sRGB; all other
metadata is dropped. Of several frames or pages (GIF, WebP, APNG, TIFF, MPO) the first is read. docs/images.md has the rules.

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
from typing import Any

import numpy as np
from PIL import Image

from lesionlab.data import heif, jpeg, png, tiff
from lesionlab.data.colour_spaces import Conversion, conversion_of_codes
from lesionlab.data.first_frame import first_frame, over_white
from lesionlab.data.icc import conversion_of
from lesionlab.data.image_formats import is_dicom, open_image
from lesionlab.data.image_limits import MAX_BYTES, ImageError, refuse_size, too_large
from lesionlab.data.orientation import exif_orientation, orientation_of, upright
from lesionlab.data.scaling import CROPS, draft, fitted, reduction
from lesionlab.data.stored_images import is_stored, read_stored
from lesionlab.errors import UsageError

_GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L")


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
    return _owned(_read(source, height, width, crop, is_drafted=False)[0])


def read_drafted(source: Path | bytes, height: int, width: int, crop: str) -> tuple[np.ndarray, ImageFacts]:
    """Read an image as `read_image` does, a large JPEG faster and nearly the same, and say what the file was."""
    pixels, facts = _read(source, height, width, crop, is_drafted=True)
    return _owned(pixels), facts


def read_briefly(data: bytes, height: int, width: int, crop: str) -> tuple[np.ndarray, ImageFacts]:
    """Read as `read_drafted` does; what this thread reads next may be written over the pixels, so use them first."""
    return _read(data, height, width, crop, is_drafted=True)


def _owned(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.flags.owndata else pixels.copy()


def read_whole(source: Path | bytes, side: int) -> np.ndarray:
    """Read an image whole, its aspect kept, as `read_drafted` does.

    Args:
        source: a file, or the bytes of one.
        side: of the shorter side of the result, in pixels; a smaller image is not enlarged.

    Returns:
        RGB uint8 (height, width, 3), 0 to 255.

    Raises:
        ImageError: as `read_image`.
    """
    data = source if isinstance(source, bytes) else read_file(source)
    try:
        image = _open(data)
        width, height = image.size[::-1] if orientation_of(image) >= 5 else image.size
    except ImageError:
        raise
    except Exception as error:  # as of `_read`
        raise ImageError(f"the image is damaged or cut short ({_in_words(error)})") from error
    scale = min(1, side / max(1, min(width, height)))
    return read_drafted(data, max(1, round(height * scale)), max(1, round(width * scale)), "stretch")[0]


def _read(
    source: Path | bytes, height: int, width: int, crop: str, *, is_drafted: bool
) -> tuple[np.ndarray, ImageFacts]:
    check_request(height, width, crop)
    where = "" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else read_file(source)
        if jpeg.is_jpeg(data):
            jpeg.refuse_unfinished(data)
            if found := _plain_jpeg(data, height, width, crop, is_drafted=is_drafted):
                return found
        image = _open(data)
        facts = ImageFacts(image.width, image.height, image.format or "", image.mode)
        if is_drafted and image.format in ("JPEG", "MPO"):  # MPO: a JPEG with further pictures behind it
            is_turned = orientation_of(image) >= 5
            draft(image, *((width, height) if is_turned else (height, width)), crop)
        return _decoded(image, data, height, width, crop), facts
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
    if is_stored(path):
        return read_stored(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would never end
            raise ImageError("it is no plain file", str(path))
        if status.st_size > MAX_BYTES:
            raise too_large(f"{status.st_size / 1e6:.0f} MB", f"{MAX_BYTES / 1e6:.0f} MB", str(path))
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be opened ({error.strerror})", str(path), code="missing") from error
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"the file cannot be opened ({error})", str(path), code="missing") from error


def _plain_jpeg(
    data: bytes, height: int, width: int, crop: str, *, is_drafted: bool
) -> tuple[np.ndarray, ImageFacts] | None:
    """Read a JPEG as most are, by libjpeg-turbo alone: the pixels of the way through Pillow; None where it has to go there."""
    header = jpeg.read_header(data)
    if header is None:
        return None
    size, is_grey = (header.width, header.height), header.components == 1
    convert = conversion_of(header.profile, is_grey=is_grey) if header.profile else None
    orientation = exif_orientation(header.exif)
    turned_size = size[::-1] if orientation >= 5 else size
    if (header.profile and convert is None) or (is_drafted and reduction(turned_size, height, width, crop)):
        return None
    refuse_size(*size)
    if header.is_progressive:
        jpeg.refuse_scans(data, *size)
    is_as_asked = orientation == 1 and size == (width, height)
    # Four bytes a pixel, where it is to be scaled: Pillow's own layout, taken as it lies.
    decoded = jpeg.pixels_of(data, "GRAY" if is_grey else "RGB" if is_as_asked else "RGBX")
    if decoded is None or decoded.shape[:2] != size[::-1]:
        return None
    if is_as_asked:
        pixels = np.repeat(decoded, 3, axis=2) if is_grey else decoded
    else:
        mode = "L" if is_grey else "RGBX"
        image = Image.frombuffer(mode, size, decoded, "raw", mode, 0, 1)
        scaled = fitted(upright(image, orientation), height, width, crop)
        packed = scaled.convert("RGB").tobytes() if is_grey else scaled.tobytes("raw", "RGB")
        pixels = np.frombuffer(packed, np.uint8).reshape(height, width, 3)
    return convert(pixels) if convert else pixels, ImageFacts(*size, "JPEG", "L" if is_grey else "RGB")


def _open(data: bytes) -> Image.Image:
    if is_dicom(data):
        from lesionlab.data.dicom import open_dicom

        return open_dicom(data)
    image = open_image(data)
    refuse_size(*image.size)
    if image.info.get("progressive"):
        jpeg.refuse_scans(data, *image.size)
    if image.format == "TIFF":
        tiff.refuse_wide_planes(image)
        image.info.pop("xmp", None)  # by which Pillow would turn it
    return image


def _decoded(image: Image.Image, data: bytes, height: int, width: int, crop: str) -> np.ndarray:
    """Decode, turn upright, make RGB, crop and scale: sRGB pixels of the size asked for, uint8 (height, width, 3)."""
    convert, profile = _colours(image, data)
    frame = first_frame(image, data)
    image.load()
    # Asked only now, since a PNG may hold its EXIF behind the pixels and a TIFF is turned while it is loaded.
    orientation = orientation_of(image)
    if image.format == "PNG":
        image = png.with_colour_key(image, data)
    elif image.format == "TIFF":
        image = tiff.eight_bits(image)
    plain = _plain(upright(image, orientation), profile)
    if frame:
        plain = over_white(plain, frame)
    scaled = fitted(plain, height, width, crop)
    pixels = np.array(scaled if scaled.mode == "RGB" else scaled.convert("RGB"))
    return convert(pixels) if convert else pixels


def _colours(image: Image.Image, data: bytes) -> tuple[Conversion | None, bytes]:
    """What brings the scaled pixels to sRGB, and a profile that is left to Little CMS: maybe neither, never both."""
    profile, is_grey = image.info.get("icc_profile") or b"", image.mode in _GREY
    if image.format == "PNG":
        return png.colours_of(data, profile, is_grey=is_grey)
    if profile and image.mode != "CMYK":
        found = conversion_of(profile, is_grey=is_grey)
        return found, b"" if found else profile
    if image.format in ("AVIF", "HEIF") and (codes := heif.colour_codes(data)):
        return conversion_of_codes(*codes), b""
    return None, profile


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
def _to_srgb(profile: bytes, mode: str) -> Any:
    """The way from an ICC profile to sRGB; None where it is damaged, or of another colour model than the pixels."""
    from PIL import ImageCms

    try:
        source, srgb = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(source, srgb, mode, "RGBA" if mode == "RGBA" else "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
