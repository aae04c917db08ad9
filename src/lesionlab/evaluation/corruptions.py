"""Fifteen ways in which a dermatoscopic image goes wrong, each in five severities, drawn into the pixels.

In: the pixels that a model would see. Out: pixels of the same size. Blur, noise, brightness, contrast and JPEG have the
parameters of ImageNet-C at 224 px (Hendrycks and Dietterich, ICLR 2019, arXiv:1903.12261), lengths scaled to the image; the
others, which that suite does not have, are set here. The same seed gives the same hairs at every severity, and more of them.
"""

import math
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy.signal import oaconvolve

SEVERITIES = 5
_REFERENCE_PX = 224  # of the images that ImageNet-C's lengths are for
_FINER = 3  # what is drawn is drawn so many times larger, to be smooth

Pixels = np.ndarray
Draw = Callable[[ImageDraw.ImageDraw, int], None]


def corrupt(pixels: Pixels, name: str, severity: int, seed: int) -> Pixels:
    """Corrupt one image.

    Args:
        pixels: uint8 (height, width, 3), RGB, 0 to 255; it is not changed.
        name: one of `CORRUPTIONS`, or `scale bar`.
        severity: 1 (slight) to 5 (heavy).
        seed: of what is random: the same one gives the same picture.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: an unknown name, or a severity that is not 1 to 5.

    """
    if name not in _FUNCTIONS or severity not in range(1, SEVERITIES + 1):
        raise ValueError(f"{name!r} at severity {severity}: known are {', '.join(_FUNCTIONS)}, at 1 to {SEVERITIES}.")
    return _FUNCTIONS[name](pixels, severity - 1, np.random.default_rng(seed))


def disc(shape: tuple[int, ...], share: float) -> np.ndarray:
    """Give a central disc (an ellipse where the image is no square): bool (height, width).

    Its own area is a share of the image's. From pi / 4 on the image's edges cut it: of a disc of 0.9 they leave 0.864.
    """
    y, x = ((np.arange(side) + 0.5) / side - 0.5 for side in shape[:2])
    return y[:, None] ** 2 + x[None, :] ** 2 <= share / math.pi


def _bytes(values: np.ndarray) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _length(pixels: Pixels, reference: float) -> float:
    return reference * min(pixels.shape[:2]) / _REFERENCE_PX


def _filtered(pixels: Pixels, kernel: np.ndarray) -> Pixels:
    reach = kernel.shape[0] // 2
    padded = np.pad(pixels.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    return _bytes(oaconvolve(padded, (kernel / kernel.sum())[..., None].astype(np.float32), mode="valid", axes=(0, 1)))


def _grid(reach: int) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(-reach, reach + 1, dtype=float)
    return steps[:, None], steps[None, :]


def _defocus(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    radius = _length(pixels, (3, 4, 6, 8, 10)[level])
    y, x = _grid(math.ceil(radius) + 1)
    return _filtered(pixels, np.clip(radius + 0.5 - np.hypot(y, x), 0, 1))


def _motion(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    reach, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[level]
    half, angle = _length(pixels, reach), rng.uniform(0, math.pi)
    y, x = _grid(math.ceil(half) + 1)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    weight = np.exp(-((along / _length(pixels, sigma)) ** 2) / 2) * (np.abs(along) <= half)
    return _filtered(pixels, weight * np.clip(1 - np.abs(across), 0, 1))


def _noise(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return _bytes(pixels + 255 * (0.08, 0.12, 0.18, 0.26, 0.38)[level] * rng.standard_normal(pixels.shape, np.float32))


def _jpeg(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[level])
    return np.asarray(Image.open(file))


def _brightness(pixels: Pixels, level: int, sign: int) -> Pixels:
    """Add to the value of HSV, which scales a pixel's channels alike."""
    value = pixels.max(axis=2, keepdims=True).astype(np.float32)
    wanted = np.clip(value + sign * 255 * (0.1, 0.2, 0.3, 0.4, 0.5)[level], 0, 255)
    return _bytes(pixels * (wanted / np.maximum(value, 1)))


def _brighter(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return _brightness(pixels, level, +1)


def _darker(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return _brightness(pixels, level, -1)


def _contrast(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    mean = pixels.mean(axis=(0, 1))
    return _bytes((pixels - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[level] + mean)


def _cast(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    """A white balance that is off: one channel stronger, another weaker."""
    strength = (0.05, 0.1, 0.15, 0.2, 0.3)[level]
    return _bytes(pixels * (1 + strength * rng.permutation([-1.0, 0.0, 1.0])))


def _moved(pixels: Pixels, angle: float, scale: float) -> Pixels:
    """Turn by an angle in radians and enlarge about the middle; what comes in from outside is mirrored."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((height, height), (width, width), (0, 0)), mode="symmetric")
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    x, y = width / 2, height / 2
    matrix = (cos, sin, x - cos * x - sin * y + width, -sin, cos, y + sin * x - cos * y + height)
    image = Image.fromarray(padded).transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _rotation(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    return _moved(pixels, math.radians((9, 18, 27, 36, 45)[level]) * rng.choice([-1, 1]), 1.0)


def _scale(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    factor = (1.1, 1.2, 1.35, 1.5, 1.75)[level]
    return _moved(pixels, 0.0, float(rng.choice([factor, 1 / factor])))


def _drawn(pixels: Pixels, draw: Draw) -> Pixels:
    """Lay over an image what `draw` paints on a transparent square, of which it is told the side."""
    height, width = pixels.shape[:2]
    side = _FINER * min(height, width)
    layer = Image.new("RGBA", (side, side))
    draw(ImageDraw.Draw(layer, "RGBA"), side)
    layer = layer.resize((width, height), Image.Resampling.BOX)
    return np.asarray(Image.alpha_composite(Image.fromarray(pixels).convert("RGBA"), layer).convert("RGB"))


def _curve(start: np.ndarray, bend: np.ndarray, end: np.ndarray) -> list[tuple[float, float]]:
    t = np.linspace(0, 1, 16)[:, None]
    return [tuple(point) for point in (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end]


def _hair(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    def draw(canvas: ImageDraw.ImageDraw, side: int) -> None:
        for _ in range((4, 8, 16, 28, 45)[level]):
            start, angle, length = rng.uniform(-0.2, 1.0, 2), rng.normal(0.8, 0.5), rng.uniform(0.4, 1.1)
            end = start + length * np.array([math.cos(angle), math.sin(angle)])
            bend = (start + end) / 2 + rng.normal(0, 0.1, 2)
            shade, width = int(rng.integers(15, 60)), rng.uniform(0.005, 0.011)
            points = _curve(side * start, side * bend, side * end)
            canvas.line(points, (shade + 12, shade + 4, shade, 225), max(1, round(width * side)), "curve")

    return _drawn(pixels, draw)


def _at_a_side(x: float, y: float, turns: int) -> tuple[float, float]:
    for _ in range(turns):
        x, y = 1 - y, x
    return x, y


def _ruler(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    share, turns = (0.25, 0.4, 0.6, 0.8, 1.0)[level], int(rng.integers(4))

    def draw(canvas: ImageDraw.ImageDraw, side: int) -> None:
        for number in range(round(40 * share) + 1):
            x, long = number / 40, (0.06 + 0.03 * share) * (1.0 if number % 5 == 0 else 0.55)
            ends = [_at_a_side(x, at, turns) for at in (1.0, 1 - long)]
            canvas.line([(side * a, side * b) for a, b in ends], (20, 20, 25, 240), round(0.007 * side))

    return _drawn(pixels, draw)


def _ink(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    """Strokes of a violet surgical marker around the lesion."""
    shift = rng.uniform(0, 360)

    def draw(canvas: ImageDraw.ImageDraw, side: int) -> None:
        for number in range(level + 1):
            radius, width = rng.uniform(0.40, 0.47) * side, round(rng.uniform(0.025, 0.045) * side)
            box = [side / 2 - radius, side / 2 - radius, side / 2 + radius, side / 2 + radius]
            start = shift + 144 * number
            canvas.arc(box, start, start + rng.uniform(35, 65), (75, 40, 150, 215), width)

    return _drawn(pixels, draw)


def _bubble(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    """Bubbles in the gel: a dark and a bright rim, a bright spot."""

    def draw(canvas: ImageDraw.ImageDraw, side: int) -> None:
        for _ in range((2, 4, 7, 11, 16)[level]):
            (x, y), radius = side * rng.uniform(0, 1, 2), max(4.0, side * rng.uniform(0.02, 0.08))
            rim = max(2, round(radius / 6))
            canvas.ellipse(
                [x - radius, y - radius, x + radius, y + radius], (255, 255, 255, 45), (70, 50, 45, 150), rim
            )
            inner = radius - rim
            canvas.arc([x - inner, y - inner, x + inner, y + inner], 150, 300, (255, 255, 255, 220), rim)
            spot, far = radius / 5, radius * 0.45
            canvas.ellipse([x - far - spot, y - far - spot, x - far + spot, y - far + spot], (255, 255, 255, 235))

    return _drawn(pixels, draw)


def _dark_corner(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    """The round field of a dermatoscope: dark outside of a radius, in half sides (the corner lies at 1.41)."""
    y, x = ((np.arange(side) + 0.5) / side * 2 - 1 for side in pixels.shape[:2])
    distance = np.hypot(y[:, None], x[None, :])
    light = np.clip(((1.25, 1.12, 1.0, 0.9, 0.8)[level] - distance) / 0.06 + 0.5, 0, 1)[..., None]
    return _bytes(pixels * light + 8 * (1 - light))


def _scale_bar(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    """A bar with end marks and millimetre marks in a corner, as recording software draws it."""
    length, turns = (0.15, 0.2, 0.25, 0.3, 0.4)[level], int(rng.integers(4))

    def draw(canvas: ImageDraw.ImageDraw, side: int) -> None:
        def line(*points: tuple[float, float]) -> None:
            corner = [_at_a_side(x, y, turns) for x, y in points]
            canvas.line([(side * a, side * b) for a, b in corner], (0, 0, 0, 255), round(0.009 * side))

        line((0.95 - length, 0.93), (0.95, 0.93))
        for number in range(6):
            x, half = 0.95 - length * number / 5, 0.025 if number in (0, 5) else 0.012
            line((x, 0.93 - half), (x, 0.93 + half))

    return _drawn(pixels, draw)


_FUNCTIONS: dict[str, Callable[[Pixels, int, Any], Pixels]] = {
    "defocus blur": _defocus,
    "motion blur": _motion,
    "noise": _noise,
    "JPEG": _jpeg,
    "brighter": _brighter,
    "darker": _darker,
    "contrast": _contrast,
    "colour cast": _cast,
    "rotation": _rotation,
    "scale": _scale,
    "hair": _hair,
    "ruler": _ruler,
    "ink": _ink,
    "gel bubbles": _bubble,
    "dark corners": _dark_corner,
    "scale bar": _scale_bar,
}
CORRUPTIONS = tuple(name for name in _FUNCTIONS if name != "scale bar")
MARKS = ("ruler", "ink", "scale bar")  # drawn by people or software, never part of the lesion
