"""What no image file may exceed, and the error that says why one is not read."""

from lesionlab.errors import LesionlabError

MAX_PIXELS = 60_000_000  # Pillow holds 4 bytes a pixel: 240 MB. Phones and cameras stay below.
MAX_BYTES = 60_000_000
MIN_SIDE_PX = 16
MAX_ASPECT = 10


class ImageError(LesionlabError):
    """An image cannot be read: `reason` says why in words that do not name the file, the message names it too.

    `code` sorts reasons for programs: `missing` (the file cannot be opened), `not_an_image`, `too_large` or `unreadable`.
    """

    def __init__(self, reason: str, where: str = "", *, code: str = "unreadable") -> None:
        super().__init__(f"{where}: {reason}" if where else reason)
        self.reason = reason
        self.code = code


def refuse_size(width: int, height: int) -> None:
    """Refuse an image by its size alone, before anything is decoded.

    Args:
        width: in pixels.
        height: in pixels.

    Raises:
        ImageError: more than `MAX_PIXELS` pixels, a side under `MIN_SIDE_PX`, or one over `MAX_ASPECT` times the other.
    """
    size = f"{width} x {height} pixels"
    if width * height > MAX_PIXELS:
        raise too_large(size, f"{MAX_PIXELS / 1e6:.0f} megapixels")
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(f"{size} are too few: each side needs at least {MIN_SIDE_PX}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{size} are too narrow: one side may be {MAX_ASPECT} times the other")


def too_large(what: str, limit: str, where: str = "") -> ImageError:
    """Return the error of an image beyond a limit."""
    reason = f"{what} is too large: at most {limit} are read; save a smaller copy"
    return ImageError(reason, where, code="too_large")
