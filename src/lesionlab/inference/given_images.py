"""Whatever `Model.predict` takes, as sources: paths, bytes, pictures of PIL, pixels; lazily where an iterable was given."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile

from lesionlab.data.images import ImageError, refuse_unknown_range
from lesionlab.errors import UsageError
from lesionlab.inference.image_sources import Source, find_images

if TYPE_CHECKING:
    from PIL import PngImagePlugin

_WITH_ALPHA = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}  # other modes have no alpha
_TAKEN = "a path, bytes, a PIL image, uint8 RGB pixels (height, width, 3), or several of these"


def as_sources(images: Any) -> Iterable[Source]:
    """Bring whatever `predict` takes to sources, lazily where an iterable was given."""
    if isinstance(images, str | Path):
        return map(Source.of_file, find_images([images]))
    is_one_array = isinstance(images, np.ndarray) and images.ndim in (0, 2, 3)
    if isinstance(images, bytes | bytearray | memoryview | Image.Image) or is_one_array or hasattr(images, "read"):
        return [_source(images, 1)]
    if not isinstance(images, Iterable) or isinstance(images, Mapping):
        raise UsageError(f"{type(images).__name__} is no image: give {_TAKEN}.")
    return _each_source(images)


def _each_source(images: Iterable[Any]) -> Iterator[Source]:
    for number, item in enumerate(images, start=1):
        if isinstance(item, Source):
            yield item
        elif isinstance(item, str | Path):
            yield from map(Source.of_file, find_images([item]))
        else:
            yield _source(item, number)


def _source(item: Any, number: int) -> Source:
    name = f"image-{number}"
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim != 3 or item.shape[2] != 3:
            raise UsageError(f"{name}: pixels must be uint8 (height, width, 3), RGB; got {item.dtype} {item.shape}.")
    elif isinstance(item, Image.Image):
        name = Path(getattr(item, "filename", "") or name).stem
    elif hasattr(item, "read"):
        raise UsageError(f"{name}: an open file is no image: give its path, or its bytes, as its read() gives them.")
    elif isinstance(item, bytearray | memoryview):
        item = bytes(item)
    elif not isinstance(item, bytes):
        raise UsageError(f"{name}: {type(item).__name__} is no image: give {_TAKEN}.")
    return Source(name, name, item)


def as_file(given: Image.Image | np.ndarray) -> bytes:
    """Pixels as an uncompressed PNG, so that they go the same way as a file: upright, sRGB, over white.

    An image that Pillow has opened and not decoded yet is given as the file that it is.
    """
    if isinstance(given, ImageFile.ImageFile) and given.tile and given.fp is not None and given.tell() == 0:
        data = _whole_file(given.fp)
        with suppress(
            Exception
        ):  # what is damaged the reader of the file says; Pillow closes a file that it has loaded
            given.load()
        return data
    image = Image.fromarray(given) if isinstance(given, np.ndarray) else given
    refuse_unknown_range(image)
    try:
        if image.mode.startswith("I;16"):
            image = Image.fromarray(np.asarray(image).astype(np.uint16))
        elif image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            image = image.convert(_WITH_ALPHA.get(image.mode, "RGB"))
        file = BytesIO()
        # Not `getexif()`, which takes an orientation out of XMP where EXIF has none.
        image.save(file, "PNG", compress_level=0, exif=image.info.get("exif", b""), pnginfo=_colour_chunks(image))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"the image cannot be read ({error})") from error
    return file.getvalue()


def _whole_file(file: IO[bytes]) -> bytes:
    place = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(place)
    return data


def _colour_chunks(image: Image.Image) -> "PngImagePlugin.PngInfo":
    """What a PNG said of its colours beside a profile, which Pillow keeps but does not write."""
    from PIL import PngImagePlugin

    chunks, info = PngImagePlugin.PngInfo(), image.info
    if "srgb" in info:
        chunks.add(b"sRGB", bytes([info["srgb"]]))
    elif "gamma" in info:
        chunks.add(b"gAMA", struct.pack(">I", round(info["gamma"] * 100_000)))
        if "chromaticity" in info:
            chunks.add(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in info["chromaticity"])))
    return chunks
