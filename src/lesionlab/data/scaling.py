"""Crop and scale: an image in, the part of it that a model sees out, in the model's size.

"centre" keeps the largest centred rectangle of the model's aspect, "stretch" the whole image without keeping its aspect. The
page in the browser does the same to the bit (`serve/page/pixels.js`).
"""

from PIL import Image

CROPS = ("centre", "stretch")
DRAFT_MARGIN = 2


def fitted(image: Image.Image, height: int, width: int, crop: str) -> Image.Image:
    """Crop and scale an image to this height and width in pixels."""
    if image.size == (width, height):  # Pillow would copy it, which takes a third of the time of a small JPEG
        return image
    return _scaled(image, height, width, _box(image.size, height, width, crop))


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


def reduction(size: tuple[int, int], height: int, width: int, crop: str) -> int:
    """8, 4 or 2, by which a JPEG of (width, height) `size` may be reduced while it is decoded; 0 where it may not."""
    left, upper, right, lower = _box(size, height, width, crop)
    most = min((right - left) / width, (lower - upper) / height) / DRAFT_MARGIN
    return next((divisor for divisor in (8, 4, 2) if most >= divisor), 0)


def draft(image: Image.Image, height: int, width: int, crop: str) -> None:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 where that leaves DRAFT_MARGIN times the pixels asked for."""
    if divisor := reduction(image.size, height, width, crop):
        image.draft(None, (image.width // divisor, image.height // divisor))
