"""TIFF: grey values of 12 and 16 bits as they are meant, and 16-bit planes, which Pillow garbles, refused."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from lesionlab.data.image_limits import ImageError

_BITS, _PHOTOMETRIC, _PLANES = 258, 262, 284
_WHITE_IS_ZERO, _SEPARATE = 0, 2


def refuse_wide_planes(image: Image.Image) -> None:
    """Refuse colours of 16 bits that lie in a plane each.

    Raises:
        ImageError: they do.
    """
    tags = _tags(image)
    if tags.get(_PLANES) == _SEPARATE and max(tags.get(_BITS, (8,))) > 8 and len(tags.get(_BITS, (8,))) > 1:
        raise ImageError(
            "its colours of 16 bits lie in separate planes, which is not read: save it with 8 bits or as PNG"
        )


def eight_bits(image: Image.Image) -> Image.Image:
    """Bring grey values of 12 or 16 bits (`I;16`) to 8, black at 0; other images stay as they are."""
    if not image.mode.startswith("I;16"):
        return image
    bits = _tags(image).get(_BITS, (16,))[0]
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(255 - grey if _tags(image).get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey)


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return image.tag_v2  # type: ignore[attr-defined]  # of a TiffImageFile, whose module is not imported for its name alone
