"""What surrounds a generated lesion: skin, hairs, light, the optics and habits of a clinic, things in the way."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionlab.data.phantom.canvas import Canvas, Marks, Plane, Points, View, clouds, grain, mesh, smooth_step, wander

Random = np.random.Generator


@dataclass(frozen=True)
class Clinic:
    """How a clinic's device sees: colour cast (red, green, blue), usual zoom, chance of dark corners, haze."""

    dataset: str
    cast: tuple[float, float, float]
    zoom: float
    corners: float
    haze: float


CLINICS = (
    Clinic("generated_a", (0.95, 0.95, 1.06), 1.00, 0.25, 0.02),
    Clinic("generated_b", (1.06, 1.05, 1.06), 1.10, 0.15, 0.00),
    Clinic("generated_c", (1.03, 0.84, 0.83), 1.22, 0.00, 0.06),
)


@dataclass(frozen=True)
class Skin:
    """A patient's skin: colour (red, green, blue, 0 to 1), absorption of its parts, hairs as (path, width)."""

    colour: tuple[float, float, float]
    furrows: float
    freckles: float
    redness: float
    hairs: tuple[tuple[Points, float], ...]
    is_fair_haired: bool


def draw_skin(rng: Random) -> Skin:
    """Draw a patient's skin around the lesion."""
    tone = rng.normal(0, 1)
    blue = 0.82 - 0.045 * tone + rng.normal(0, 0.03)
    return Skin(
        colour=(0.94 - 0.02 * tone, 0.84 - 0.035 * tone, blue),
        furrows=rng.uniform(0.0, 0.05),
        freckles=rng.uniform(0.01, 0.05) if rng.random() < 0.75 else rng.uniform(0.05, 0.10),
        redness=rng.uniform(0.06, 0.26),
        hairs=_draw_hairs(rng),
        is_fair_haired=bool(rng.random() < 0.25),
    )


def _draw_hairs(rng: Random) -> tuple[tuple[Points, float], ...]:
    """Draw the hairs of a patient: none on most, few on some, many on one in eight; they lie roughly one way."""
    hairiness = rng.random()
    count = 0 if hairiness < 0.55 else rng.integers(1, 8) if hairiness < 0.87 else rng.integers(8, 30)
    lean, hairs = rng.uniform(0, 2 * math.pi), []
    for start in rng.uniform(-1.5, 1.5, (int(count), 2)):
        path = wander(rng, start, lean + rng.normal(0, 0.5), rng.uniform(0.4, 1.6), 0.6, 14)
        hairs.append((path, rng.uniform(0.007, 0.016)))
    return tuple(hairs)


def lay_skin(rng: Random, view: View, skin: Skin) -> Canvas:
    """Give a canvas with bare skin: uneven pigment and redness, furrows."""
    furrows = mesh(rng, view, rng.uniform(0.09, 0.15), rng.uniform(1.0, 1.5))
    texture = grain(rng, view)
    freckled = np.float32(0.08) + np.float32(skin.freckles) * clouds(rng, view, 4.0, 3)
    melanin = freckled + np.float32(0.03) * texture + np.float32(skin.furrows) * furrows
    blood = np.float32(skin.redness) * np.exp(np.float32(0.35) * clouds(rng, view, 1.4, 3))
    return Canvas(view, np.maximum(melanin, 0).astype(np.float32), blood.astype(np.float32), texture)


def lay_hairs(canvas: Canvas, skin: Skin) -> None:
    """Lay the patient's hairs over the lesion."""
    if not skin.hairs:
        return
    marks = Marks(canvas.view)
    for path, width in skin.hairs:
        marks.line(path, width)
    canvas.tint(marks.plane() * np.float32(0.85), (0.85, 0.72, 0.58) if skin.is_fair_haired else (0.17, 0.11, 0.10))


def draw_view(rng: Random, clinic: Clinic, height: int, width: int) -> View:
    """Stand the camera over the lesion: turned, a little tilted, by the clinic's zoom, not quite in the middle."""
    turn, tilt = rng.uniform(0, 2 * math.pi), rng.uniform(0, math.pi)
    squeeze = _rotation(tilt) @ np.diag([1, rng.uniform(0.88, 1.0)]) @ _rotation(-tilt)
    zoom = clinic.zoom * math.exp(rng.normal(0, 0.10)) * height / 2
    centre = np.array([width / 2, height / 2]) + rng.normal(0, 0.05, 2) * height
    return View(height, width, squeeze @ _rotation(turn) * zoom, centre)


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def photograph(rng: Random, canvas: Canvas, skin: Skin, clinic: Clinic) -> NDArray[np.uint8]:
    """Light the canvas and take the picture, uint8 RGB (height, width, 3), with the clinic's faults in it."""
    height, width = canvas.view.height, canvas.view.width
    things = [_bubbles, _glints, _ruler]
    for thing, chance in zip(things, (0.10, 0.35, 0.06), strict=True):
        thing_rng = np.random.default_rng(rng.integers(2**63))
        if thing_rng.random() < chance:
            thing(thing_rng, canvas)
    planes = canvas.light(skin.colour)
    cast = np.array(clinic.cast, np.float32) * np.exp(rng.normal(0, 0.025, 3)).astype(np.float32)
    planes *= cast[:, None, None]
    planes *= _illumination(rng, height, width)
    planes += np.float32(clinic.haze)
    if rng.random() < clinic.corners:
        planes *= _dark_corners(rng, height, width)
    planes += rng.standard_normal((height, width), np.float32) * np.float32(0.008)
    planes *= 255
    picture = np.clip(planes, 0, 255, out=planes).astype(np.uint8)
    return np.ascontiguousarray(picture.transpose(1, 2, 0))


def _grid(height: int, width: int) -> tuple[Plane, Plane]:
    y = (np.arange(height, dtype=np.float32)[:, None] - height / 2) / (height / 2)
    x = (np.arange(width, dtype=np.float32)[None] - width / 2) / (height / 2)
    return x, y


def _illumination(rng: Random, height: int, width: int) -> Plane:
    x, y = _grid(height, width)
    angle, fall = rng.uniform(0, 2 * math.pi), rng.uniform(0.0, 0.10)
    gradient = np.float32(fall * math.cos(angle)) * x + np.float32(fall * math.sin(angle)) * y
    vignette = np.float32(rng.uniform(0.02, 0.12)) * (x * x + y * y)
    return (np.float32(rng.normal(1.03, 0.05)) + gradient - vignette).astype(np.float32)


def _dark_corners(rng: Random, height: int, width: int) -> Plane:
    x, y = _grid(height, width)
    away = np.hypot(x - np.float32(rng.normal(0, 0.06)), y - np.float32(rng.normal(0, 0.06)))
    radius, softness = rng.uniform(1.1, 1.5), rng.uniform(0.03, 0.12)
    return 1 - np.float32(0.96) * smooth_step(away.astype(np.float32), radius, radius + softness)


def _bubbles(rng: Random, canvas: Canvas) -> None:
    """Air in the gel: bright rings with a glint, near the edges of the picture."""
    rings, glints = Marks(canvas.view), Marks(canvas.view)
    for place in rng.uniform(-1.3, 1.3, (int(rng.integers(2, 12)), 2)):
        radius = rng.uniform(0.015, 0.08)
        angles = np.linspace(0, 2 * math.pi, 25)
        rings.line(place + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.007, 0.6)
        glints.dot(place + radius * rng.uniform(-0.5, 0.5, 2), radius * 0.18)
    canvas.tint(rings.plane(0.002) * np.float32(0.7), (0.97, 0.93, 0.92))
    canvas.tint(glints.plane(), (1.0, 1.0, 1.0))


def _glints(rng: Random, canvas: Canvas) -> None:
    """Reflections of the lamp on wet skin: small white specks and dashes."""
    marks = Marks(canvas.view)
    for place in rng.normal(rng.normal(0, 0.4, 2), 0.35, (int(rng.integers(4, 30)), 2)):
        marks.line(wander(rng, place, rng.uniform(0, 7), rng.uniform(0.005, 0.05), 1.0, 4), 0.007, rng.uniform(0.4, 1))
    canvas.tint(marks.plane() * np.float32(0.8), (1.0, 0.98, 0.97))


def _ruler(rng: Random, canvas: Canvas) -> None:
    """A scale along one side of the picture: long and short ticks."""
    marks, inverse = Marks(canvas.view), np.linalg.inv(canvas.view.matrix)
    height, width = canvas.view.height, canvas.view.width
    step, at_top = height * rng.uniform(0.04, 0.06), rng.random() < 0.5
    for number in range(int(width / step) + 1):
        long = height * (0.06 if number % 5 == 0 else 0.035)
        start, end = (0.0, long) if at_top else (float(height), height - long)
        tick = np.array([[number * step, start], [number * step, end]])
        marks.line((tick - canvas.view.centre_px) @ inverse.T, 0.010)
    canvas.tint(marks.plane() * np.float32(0.85), (0.12, 0.12, 0.16))
