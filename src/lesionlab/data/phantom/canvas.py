"""The canvas of a generated lesion: a view onto the skin, soft random fields, marks, and the light that returns.

Everything on the skin is placed in lesion units (1 = half the image's height at zoom 1, origin in the middle), so
that one lesion can be seen twice, turned, tilted and enlarged, and so that structures scale with the image's size.
Colour follows Beer and Lambert: melanin and blood absorb, a tint (keratin, veil, scar) scatters in front of both.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

Plane = NDArray[np.float32]
"""One value a pixel, (height, width)."""
Points = NDArray[np.float64]
"""Places in lesion units, (n, 2), x to the right and y downwards."""

REACH = 2.8  # fields are defined on [-REACH, REACH] squared, in lesion units
_SPECK = 0.006  # width of a speck of grain, in lesion units
COARSE = 3  # soft fields are drawn at a third of the resolution, then enlarged
TILE_PX, TILE_CELL_PX = 1024, 12  # the mesh of lines that networks and skin furrows are cut from
MELANIN_ABSORBS = (0.46, 0.92, 1.18)
BLOOD_ABSORBS = (0.13, 0.80, 0.56)


@dataclass(frozen=True)
class View:
    """Where the camera stands: pixel = matrix @ place + centre_px, for an image of (height, width)."""

    height: int
    width: int
    matrix: NDArray[np.float64]
    centre_px: NDArray[np.float64]

    @property
    def scale(self) -> float:
        """Pixels of one lesion unit."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))

    def to_px(self, places: Points) -> Points:
        """Give the pixels, (n, 2), of places on the skin."""
        return places @ self.matrix.T + self.centre_px

    def places(self) -> tuple[Plane, Plane]:
        """Give x and y in lesion units for each pixel of the coarse image."""
        columns = (np.arange(-(-self.width // COARSE)) + 0.5) * COARSE - self.centre_px[0]
        rows = (np.arange(-(-self.height // COARSE)) + 0.5) * COARSE - self.centre_px[1]
        inverse = np.linalg.inv(self.matrix).astype(np.float32)
        x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
        return inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y

    def enlarge(self, coarse: Plane) -> Plane:
        """Bring a coarse plane to the image's size."""
        box = (0, 0, self.width / COARSE, self.height / COARSE)
        picture = Image.fromarray(coarse).resize((self.width, self.height), Image.Resampling.BILINEAR, box=box)
        return np.asarray(picture)

    def sample(self, texture: Plane, turn: NDArray[np.float64], middle_px: Points, step: int = 1) -> Plane:
        """Look at a texture through the view; texture pixel = turn @ place + middle_px; outside it is 0."""
        onto = turn @ np.linalg.inv(self.matrix)
        shift = middle_px - onto @ self.centre_px
        onto = onto * step
        size = (-(-self.width // step), -(-self.height // step))
        data = (onto[0, 0], onto[0, 1], shift[0], onto[1, 0], onto[1, 1], shift[1])
        method = Image.Resampling.BICUBIC if step > 1 else Image.Resampling.BILINEAR
        return np.asarray(Image.fromarray(texture).transform(size, Image.Transform.AFFINE, data, method))


def clouds(rng: np.random.Generator, view: View, cells: float, octaves: int = 2) -> Plane:
    """Draw soft noise, mean 0 and deviation about 1, with `cells` features a lesion unit in its lowest octave."""
    side = max(4, round(2 * REACH * cells))
    lattice = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        size = side * 2**octave
        lattice = np.asarray(Image.fromarray(lattice).resize((size, size), Image.Resampling.BICUBIC))
        lattice = lattice + rng.standard_normal((size, size), np.float32) * 1.3 * 0.55**octave
    size = len(lattice)
    turn = np.eye(2) * size / (2 * REACH)
    return view.enlarge(view.sample(lattice, turn, np.array([size / 2, size / 2]), COARSE))


@lru_cache(maxsize=1)
def _mesh_tile() -> Plane:
    """Draw a mesh of cells once for every picture: 1 on the lines between the cells, 0 inside them."""
    rng = np.random.default_rng(7)
    places = np.arange(0, TILE_PX, TILE_CELL_PX)
    jitter = TILE_CELL_PX // 2 - 1
    seeds = np.ones((TILE_PX, TILE_PX), bool)
    for shift, row in enumerate(places):
        at = np.stack([np.full(len(places), row), places + shift % 2 * TILE_CELL_PX // 2], axis=1)
        at = np.clip(at + rng.integers(-jitter, jitter + 1, at.shape), 0, TILE_PX - 1)
        seeds[at[:, 0], at[:, 1]] = False
    nearest = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    cell = nearest[0] * TILE_PX + nearest[1]
    lines = (cell != np.roll(cell, 1, 0)) | (cell != np.roll(cell, 1, 1))
    weight = np.exp(0.9 * _blurred(rng, 6)) * lines
    soft = ndimage.gaussian_filter(weight.astype(np.float32), 1.4)
    return np.clip(soft / 0.55, 0, 1).astype(np.float32)


@lru_cache(maxsize=1)
def _grain_tile() -> Plane:
    """Draw the fine irregularity of skin once for every picture: mean 0, deviation 1."""
    rng = np.random.default_rng(8)
    return (0.7 * _blurred(rng, 1.2) + 0.6 * _blurred(rng, 3) + 0.4 * _blurred(rng, 8)).astype(np.float32)


def _blurred(rng: np.random.Generator, sigma_px: float) -> Plane:
    noise = ndimage.gaussian_filter(rng.standard_normal((TILE_PX, TILE_PX), np.float32), sigma_px, mode="wrap")
    return noise / noise.std()


def mesh(rng: np.random.Generator, view: View, cell: float, stretch: float = 1.0) -> Plane:
    """Draw a honeycomb whose cells are `cell` lesion units wide, 0 to 1 on the lines, turned at random."""
    turn = np.diag([stretch, 1 / stretch]) @ _turned(rng) * TILE_CELL_PX / cell
    return view.sample(_mesh_tile(), turn, TILE_PX / 2 + rng.uniform(-60, 60, 2))


def _turned(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * math.pi)
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def grain(rng: np.random.Generator, view: View) -> Plane:
    """Draw fine irregularity, mean 0 and deviation about 1, whose specks are about 0.006 lesion units wide."""
    return view.sample(_grain_tile(), _turned(rng) / _SPECK, TILE_PX / 2 + rng.uniform(-60, 60, 2))


class Marks:
    """A sheet on which dots, lines and blobs are drawn in lesion units; `plane` is what was drawn, 0 to 1."""

    def __init__(self, view: View):
        """Start with an empty sheet of the view's size."""
        self._view = view
        self._sheet = Image.new("L", (view.width, view.height))
        self._draw = ImageDraw.Draw(self._sheet)

    def blob(self, outline: Points, strength: float = 1.0) -> None:
        """Fill an outline; `strength` 0 to 1 is its value."""
        self._draw.polygon([tuple(p) for p in self._view.to_px(outline)], fill=_level(strength))

    def dot(self, place: Points, radius: float, strength: float = 1.0) -> None:
        """Draw a disc; one under a pixel wide fades instead of vanishing."""
        (x, y), r = self._view.to_px(place[None])[0], radius * self._view.scale
        drawn = max(r, 0.7)
        box = (x - drawn, y - drawn, x + drawn, y + drawn)
        self._draw.ellipse(box, fill=_level(strength * min(1, (r / drawn) ** 2)))

    def line(self, path: Points, width: float, strength: float = 1.0) -> None:
        """Draw a curve through the places of `path`."""
        wide = width * self._view.scale
        fill = _level(strength * min(1.0, wide))
        points = [tuple(p) for p in self._view.to_px(path)]
        self._draw.line(points, fill=fill, width=max(1, round(wide)), joint="curve")

    def plane(self, blur: float = 0.0) -> Plane:
        """Give the sheet, blurred by `blur` lesion units and never less than the pixel grid asks for."""
        blur_px = blur * self._view.scale
        soften = ImageFilter.GaussianBlur(blur_px) if blur_px > 1 else ImageFilter.BoxBlur(0.6)
        sheet = self._sheet.filter(soften)
        return np.asarray(sheet, np.float32) / np.float32(255)


def _level(strength: float) -> int:
    return round(255 * min(1.0, max(0.0, strength)))


@dataclass
class Canvas:
    """What lies on and in the skin of one view: absorbers, and tints in front of them."""

    view: View
    melanin: Plane
    blood: Plane
    grain: Plane
    tints: list[tuple[Plane, tuple[float, float, float]]] = field(default_factory=list)

    def tint(self, where: Plane, colour: tuple[float, float, float]) -> None:
        """Lay a colour (red, green, blue, 0 to 1) over the skin where `where`, 0 to 1, says."""
        self.tints.append((where, colour))

    def light(self, skin: Iterable[float]) -> NDArray[np.float32]:
        """Give the returning light, (3, height, width), 0 to 1, of skin of this colour."""
        absorbed = [m * self.melanin + b * self.blood for m, b in zip(MELANIN_ABSORBS, BLOOD_ABSORBS, strict=True)]
        planes = np.exp(-np.stack(absorbed)) * np.array(list(skin), np.float32)[:, None, None]
        for where, colour in self.tints:
            for plane, target in zip(planes, colour, strict=True):
                plane += where * (np.float32(target) - plane)
        return planes


def smooth_step(values: Plane, low: float, high: float) -> Plane:
    """Rise from 0 at `low` to 1 at `high` without a kink."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


def outline(rng: np.random.Generator, middle: Points, radius: float, ragged: float = 0.2, corners: int = 18) -> Points:
    """Give the outline, (corners, 2), of a round blob whose radius varies by about the share `ragged`."""
    angles = np.arange(corners) * 2 * math.pi / corners
    radii = np.full(corners, radius)
    for wave in range(2, 6):
        radii += radius * ragged / wave * rng.standard_normal() * np.cos(wave * angles + rng.uniform(0, 7))
    return middle + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def wander(
    rng: np.random.Generator, start: Points, angle: float, length: float, bend: float, steps: int = 12
) -> Points:
    """Give a path of `steps` equal steps from `start` whose heading drifts by about `bend` radians in all."""
    headings = angle + np.cumsum(rng.standard_normal(steps) * bend / math.sqrt(steps))
    moves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * length / steps
    return np.concatenate([start[None], start + np.cumsum(moves, axis=0)])
