"""Training images made worse as pictures of skin are: out of focus, coarse, compressed, under hair, in a round field.

In: the pixels of a training image. Out: pixels of the same size, changed in one way, slightly to heavily, or left as they are.
Networks that saw only good pictures answer at random on slightly bad ones. The kinds are akin to some of those that
`lesionlab evaluate --robustness` measures (`lesionlab.evaluation.corruptions`), drawn in other ways; of these kinds that
measurement says how much was learnt, not how a network takes what it never saw.
"""

import math
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

NOISE_SHARE = 0.25  # of the images that are made worse: noise, which `lesionlab.model.augment` adds on the device
NOISE = 0.12  # of 255: its largest standard deviation


def degraded(pixels: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Make an image worse, with the chance `share`.

    Args:
        pixels: uint8 (height, width, 3), RGB; not changed.
        share: 0 to 1.
        random: what is drawn comes from it.

    Returns:
        uint8 (height, width, 3).

    """
    if random.random() >= share:
        return pixels
    image = Image.fromarray(pixels)
    return np.asarray(_KINDS[random.integers(len(_KINDS))](image, random))


def some_degraded(pixels: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Make some of uint8 images (n, height, width, 3) worse, each with the chance `share`, by noise too; gives a copy."""
    changed = [degraded(image, (1 - NOISE_SHARE) * share, random) for image in pixels]
    noisy = [_noisy(image, random) if random.random() < NOISE_SHARE * share else image for image in changed]
    return np.stack(noisy)


def _noisy(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    noise = random.normal(0, random.uniform(0, 255 * NOISE), image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def _unsharp(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.002, 0.018) * min(image.size)))


def _coarse(image: Image.Image, random: np.random.Generator) -> Image.Image:
    factor = random.uniform(0.25, 0.8)
    small = image.resize([max(1, round(factor * side)) for side in image.size], Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BILINEAR)


def _compressed(image: Image.Image, random: np.random.Generator) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", quality=int(random.integers(8, 50)))
    return Image.open(file).convert("RGB")


def _haired(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Straight or slightly bent dark hairs, most of them in one direction."""
    changed = image.copy()
    canvas = ImageDraw.Draw(changed)
    side, direction = min(image.size), random.uniform(0, math.pi)
    for _ in range(random.integers(2, 20)):
        x, y = random.uniform(0, 1, 2) * image.size
        angle, length = direction + random.normal(0, 0.4), side * random.uniform(0.2, 0.6)
        bend = random.normal(0, 0.4)
        ends = [(x - length * math.cos(angle), y - length * math.sin(angle)), (x, y)]
        ends.append((x + length * math.cos(angle + bend), y + length * math.sin(angle + bend)))
        shade = int(random.integers(10, 90))
        canvas.line(ends, (shade + 10, shade + 4, shade), max(1, round(side * random.uniform(0.003, 0.012))), "curve")
    return changed


def _in_round_field(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Dark outside a circle that need not lie in the middle."""
    width, height = image.size
    x, y = random.normal(0, 0.08, 2)
    radius, softness = random.uniform(0.75, 1.3), random.uniform(0.02, 0.3)
    across, down = np.linspace(-1, 1, width) - x, np.linspace(-1, 1, height) - y
    light = np.clip((radius - np.hypot(down[:, None], across[None, :])) / softness + 0.5, 0, 1)
    mask = Image.fromarray((255 * light).astype(np.uint8))
    return Image.composite(image, Image.new("RGB", image.size, (int(random.integers(0, 25)),) * 3), mask)


_KINDS = (_unsharp, _coarse, _compressed, _haired, _in_round_field)
