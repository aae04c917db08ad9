"""The structures of dermatoscopy, one painter each, by the names that `lesionlab.data.phantom.lesion.STRUCTURES` gives them.

Sources for what they look like: Kittler et al., J. Am. Acad. Dermatol. 74, 1093 (2016),
doi:10.1016/j.jaad.2015.12.038, the standard terms of dermatoscopy.
"""

import math
from collections.abc import Callable

import numpy as np

from lesionlab.data.phantom.canvas import Marks, Plane, Points, clouds, mesh, outline, smooth_step, wander
from lesionlab.data.phantom.lesion import Scene

Random = np.random.Generator
WHITE, CREAM, KERATIN = (0.95, 0.87, 0.88), (0.95, 0.89, 0.76), (0.88, 0.74, 0.50)
VEIL, SLATE, CRUST = (0.47, 0.44, 0.53), (0.37, 0.36, 0.44), (0.26, 0.09, 0.08)


def _network(scene: Scene, rng: Random) -> None:
    """Regular pigment network: thin brown lines, fading towards the rim."""
    lines = mesh(rng, scene.canvas.view, rng.uniform(0.035, 0.060), rng.uniform(1.0, 1.3))
    here = scene.inside * smooth_step(clouds(rng, scene.canvas.view, 2.5), -1.6, 0.6)
    _weave(scene, lines, here, rng.uniform(0.3, 0.7))


def _broken_network(scene: Scene, rng: Random) -> None:
    """Atypical network: wide cells, thick dark lines, missing in places."""
    view = scene.canvas.view
    lines = mesh(rng, view, rng.uniform(0.06, 0.10), rng.uniform(1.0, 1.5))
    here = smooth_step(clouds(rng, view, 2.0), -0.1, 0.9) * scene.inside
    _weave(scene, smooth_step(lines, 0.1, 0.7), here, rng.uniform(0.7, 1.2))


def _weave(scene: Scene, lines: Plane, here: Plane, strength: float) -> None:
    """Move pigment from the holes of a network onto its lines."""
    scene.canvas.melanin *= 1 + here * (np.float32(strength) * (lines - np.float32(0.35)))
    scene.canvas.melanin += np.float32(strength * 0.25) * here * lines


def _globules(scene: Scene, rng: Random) -> None:
    """Round brown globules, all of one kind, spread over the lesion or in a rim."""
    marks = Marks(scene.canvas.view)
    inner = 0.75 if rng.random() < 0.3 else 0.0
    size = rng.uniform(0.010, 0.018)
    for place in scene.body.places(rng, int(rng.integers(40, 130)), inner, 0.95):
        marks.dot(place, size * rng.uniform(0.7, 1.3), rng.uniform(0.5, 1))
    scene.canvas.melanin += np.float32(rng.uniform(0.5, 1.0)) * marks.plane(0.006)


def _patches(scene: Scene, rng: Random) -> None:
    """Several colours: off-centre blotches of black, red and tan."""
    view, radius = scene.canvas.view, scene.body.traits["radius"]
    for amount, layer in ((1.6, scene.canvas.melanin), (0.7, scene.canvas.blood), (-0.8, scene.canvas.melanin)):
        marks = Marks(view)
        for place in scene.body.places(rng, int(rng.integers(1, 4)), 0.3, 0.9):
            marks.blob(outline(rng, place, radius * rng.uniform(0.12, 0.35), 0.5))
        ragged = marks.plane(0.05) + np.float32(0.14) * clouds(rng, view, 6.0, 3)
        patch = smooth_step(ragged, 0.15, 0.85) * scene.inside
        layer += np.float32(amount) * patch if amount > 0 else np.float32(amount) * patch * np.minimum(layer, 1)


def _veil(scene: Scene, rng: Random) -> None:
    """Blue-white veil: a hazy, structureless, blue-grey area."""
    radius = scene.body.traits["radius"]
    marks = Marks(scene.canvas.view)
    for place in scene.body.places(rng, int(rng.integers(1, 4)), 0.0, 0.55):
        marks.blob(outline(rng, place, radius * rng.uniform(0.2, 0.42), 0.5))
    haze = marks.plane(0.09) + np.float32(0.18) * clouds(rng, scene.canvas.view, 5.0, 3)
    thin = np.float32(1) + np.float32(0.12) * scene.canvas.grain
    where = smooth_step(haze, 0.0, 1.2) * scene.inside * thin
    scene.canvas.tint(np.clip(where * np.float32(rng.uniform(0.5, 0.85)), 0, 1), VEIL)


def _streaks(scene: Scene, rng: Random) -> None:
    """Radial streaks and pseudopods at a part of the rim."""
    marks = Marks(scene.canvas.view)
    middle, span = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 2.2)
    for angle in middle + rng.uniform(-span, span, int(rng.integers(14, 34))):
        start = scene.body.at(np.array([angle]), rng.uniform(0.8, 0.95))[0]
        length = scene.body.traits["radius"] * rng.uniform(0.12, 0.30)
        path, width = wander(rng, start, angle + rng.normal(0, 0.15), length, 0.4, 6), rng.uniform(0.010, 0.026)
        marks.line(path[:4], width, 0.9)
        marks.line(path[3:], width * 0.6, 0.8)
        if rng.random() < 0.4:
            marks.dot(path[-1], width * rng.uniform(0.5, 0.9))
    scene.canvas.melanin += np.float32(rng.uniform(1.0, 1.8)) * marks.plane()


def _regression(scene: Scene, rng: Random) -> None:
    """Regression: white, scar-like areas, peppered with grey."""
    radius = scene.body.traits["radius"]
    marks, pepper = Marks(scene.canvas.view), Marks(scene.canvas.view)
    place = scene.body.places(rng, 1, 0.2, 0.7)[0]
    marks.blob(outline(rng, place, radius * rng.uniform(0.25, 0.45), 0.6))
    for spot in rng.normal(place, radius * 0.2, (40, 2)):
        pepper.dot(spot, rng.uniform(0.004, 0.009))
    scar = marks.plane(0.07) + np.float32(0.2) * clouds(rng, scene.canvas.view, 4.0, 3)
    scene.canvas.tint(smooth_step(scar, 0.1, 1.2) * scene.inside * np.float32(0.75), (0.90, 0.78, 0.76))
    scene.canvas.tint(pepper.plane() * np.float32(0.6), SLATE)


def _cysts(scene: Scene, rng: Random) -> None:
    """Milia-like cysts: small, round, white to yellow, some of them glowing."""
    marks = Marks(scene.canvas.view)
    for place in scene.body.places(rng, int(rng.integers(10, 40)), 0.0, 0.9):
        marks.dot(place, 0.006 + rng.gamma(2.0, 0.005), rng.uniform(0.35, 0.95))
    scene.canvas.tint(marks.plane(0.008), CREAM)


def _openings(scene: Scene, rng: Random) -> None:
    """Comedo-like openings: sharp, dark, roundish plugs."""
    marks = Marks(scene.canvas.view)
    for place in scene.body.places(rng, int(rng.integers(6, 24)), 0.0, 0.85):
        marks.blob(outline(rng, place, rng.uniform(0.014, 0.038), 0.3, 10), rng.uniform(0.6, 1))
    plugs = marks.plane()
    scene.canvas.melanin += np.float32(1.3) * plugs


def _ridges(scene: Scene, rng: Random) -> None:
    """Fissures and ridges: a brain-like relief of light and dark."""
    relief = clouds(rng, scene.canvas.view, rng.uniform(9, 15), 1)
    furrows = smooth_step(relief, -0.4, 1.0)
    scene.canvas.melanin *= 1 + scene.inside * (furrows - np.float32(0.4)) * np.float32(rng.uniform(0.2, 0.7))
    scene.canvas.tint(scene.inside * (1 - furrows) * np.float32(rng.uniform(0.05, 0.25)), KERATIN)


def _rim(scene: Scene, rng: Random) -> None:
    """A stuck-on, moth-eaten edge: pigment stops at once, darkest there."""
    edge = smooth_step(scene.depth, 0.0, 0.05) * smooth_step(-scene.depth, -0.22, -0.04)
    scene.canvas.melanin += np.float32(rng.uniform(0.25, 0.6)) * edge * scene.inside


def _arborising_vessels(scene: Scene, rng: Random) -> None:
    """Arborising vessels: thick, sharp, bright red trunks that branch into fine twigs."""
    marks = Marks(scene.canvas.view)
    for angle in rng.uniform(0, 2 * math.pi, int(rng.integers(3, 7))):
        start = scene.body.at(np.array([angle]), rng.uniform(0.7, 1.0))[0]
        inward = angle + math.pi + rng.normal(0, 0.5)
        _branch(
            marks, rng, start, inward, scene.body.traits["radius"] * rng.uniform(0.8, 1.4), rng.uniform(0.010, 0.022)
        )
    scene.canvas.blood += np.float32(rng.uniform(0.6, 1.3)) * marks.plane()


def _branch(marks: Marks, rng: Random, start: Points, angle: float, length: float, width: float) -> None:
    path = wander(rng, start, angle, length, 0.9)
    marks.line(path, width, 1.0)
    if width < 0.004:
        return
    for step in rng.integers(3, len(path), int(rng.integers(2, 4))):
        side = rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
        heading = math.atan2(*(path[step] - path[step - 1])[::-1])
        _branch(marks, rng, path[step], heading + side, length * rng.uniform(0.35, 0.65), width * 0.55)


def _nests(scene: Scene, rng: Random) -> None:
    """Blue-grey ovoid nests and globules."""
    marks, radius = Marks(scene.canvas.view), scene.body.traits["radius"]
    for place in scene.body.places(rng, int(rng.integers(3, 11)), 0.1, 0.95):
        shape = outline(rng, np.zeros(2), radius * rng.uniform(0.06, 0.20), 0.25)
        turn = rng.uniform(0, math.pi)
        squeeze = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * [1.0, 0.65]
        marks.blob(place + shape @ squeeze.T, rng.uniform(0.4, 0.95))
    uneven = np.clip(np.float32(0.85) + np.float32(0.18) * clouds(rng, scene.canvas.view, 8.0, 2), 0, 1)
    scene.canvas.tint(marks.plane(rng.uniform(0.012, 0.03)) * uneven, SLATE)


def _ulcer(scene: Scene, rng: Random) -> None:
    """Ulceration: a dark red, wet, crusted hollow."""
    marks, view = Marks(scene.canvas.view), scene.canvas.view
    for place in scene.body.places(rng, int(rng.integers(1, 3)), 0.0, 0.6):
        marks.blob(outline(rng, place, scene.body.traits["radius"] * rng.uniform(0.12, 0.28), 0.5))
    hollow = smooth_step(marks.plane(0.015) + np.float32(0.12) * clouds(rng, view, 9.0, 3), 0.3, 0.7)
    scene.canvas.blood += np.float32(1.2) * hollow
    scene.canvas.tint(hollow * smooth_step(clouds(rng, view, 6.0, 2), -0.5, 1.0) * np.float32(0.9), CRUST)


def _white_lines(scene: Scene, rng: Random) -> None:
    """Shiny white lines: short, straight, crossing at right angles under polarised light."""
    marks, turn = Marks(scene.canvas.view), rng.uniform(0, math.pi)
    for place in scene.body.places(rng, int(rng.integers(14, 36)), 0.0, 0.75):
        angle = turn + rng.choice([0, math.pi / 2]) + rng.normal(0, 0.1)
        marks.line(wander(rng, place, angle, rng.uniform(0.05, 0.16), 0.2, 4), 0.009, rng.uniform(0.4, 0.9))
    scene.canvas.tint(marks.plane(0.003) * np.float32(0.8), WHITE)


def _strawberry(scene: Scene, rng: Random) -> None:
    """Strawberry pattern: a red mesh around pale follicles with a yellow plug."""
    view = scene.canvas.view
    lines = mesh(rng, view, rng.uniform(0.10, 0.15))
    here = scene.inside * smooth_step(clouds(rng, view, 2.5), -1.2, 0.3)
    scene.canvas.blood *= 1 - np.float32(0.45) * here * (1 - smooth_step(lines, 0.0, 0.35))
    scene.canvas.blood += np.float32(rng.uniform(0.4, 0.8)) * smooth_step(lines, 0.02, 0.5) * here
    halos, plugs = Marks(view), Marks(view)
    for place in scene.body.places(rng, int(rng.integers(20, 60)), 0.0, 0.95):
        radius = rng.uniform(0.013, 0.026)
        halos.dot(place, radius, rng.uniform(0.3, 0.7))
        plugs.dot(place, radius * 0.45, rng.uniform(0.2, 0.7))
    scene.canvas.tint(halos.plane(0.005) * scene.inside, WHITE)
    scene.canvas.tint(plugs.plane(), KERATIN)


def _scale(scene: Scene, rng: Random) -> None:
    """Scale: white to yellow flakes with sharp, torn edges."""
    view = scene.canvas.view
    where = smooth_step(clouds(rng, view, 2.2, 2), -0.2, 1.2) * scene.inside
    torn = clouds(rng, view, rng.uniform(7, 11), 2) + np.float32(0.5) * scene.canvas.grain
    flakes = smooth_step(torn, 0.9, 1.5) * where
    scene.canvas.tint(where * np.float32(0.3), CREAM)
    flakes *= np.clip(np.float32(0.65) + np.float32(0.25) * scene.canvas.grain, 0, 1)
    scene.canvas.tint(flakes * np.float32(rng.uniform(0.6, 1.0)), WHITE if rng.random() < 0.6 else CREAM)


def _crust(scene: Scene, rng: Random) -> None:
    """Crust: brown-yellow keratin, dried blood in it."""
    view = scene.canvas.view
    where = smooth_step(clouds(rng, view, 3.0, 3) + scene.depth + np.float32(0.2) * scene.canvas.grain, 0.9, 1.9)
    scene.canvas.blood += np.float32(0.4) * where * scene.inside
    patchy = where * scene.inside * np.clip(np.float32(0.55) + np.float32(0.3) * scene.canvas.grain, 0, 1)
    scene.canvas.tint(patchy, KERATIN if rng.random() < 0.6 else CRUST)


def _white_patch(scene: Scene, rng: Random) -> None:
    """Central white patch, scar-like, with pigment left around it."""
    size = rng.uniform(0.35, 0.6)
    ragged = scene.depth + np.float32(0.09) * clouds(rng, scene.canvas.view, 4.0, 3)
    patch = smooth_step(ragged, 1 - size * 1.3, 1.0)
    scene.canvas.melanin *= 1 - np.float32(0.7) * patch
    scene.canvas.tint(patch * np.float32(rng.uniform(0.4, 0.75)), (0.93, 0.80, 0.80))


def _lacunae(scene: Scene, rng: Random) -> None:
    """Red, purple and blue lacunae: round, well-bordered lakes of blood."""
    view, radius = scene.canvas.view, scene.body.traits["radius"]
    dark = rng.random() < 0.25
    red, blue = Marks(view), Marks(view)
    for place in scene.body.places(rng, int(rng.integers(12, 40)), 0.0, 0.92):
        lake = outline(rng, place, max(0.02, radius * rng.uniform(0.08, 0.24)), 0.2)
        (blue if rng.random() < (0.6 if dark else 0.2) else red).blob(lake, rng.uniform(0.5, 1))
    scene.canvas.blood += np.float32(rng.uniform(0.5, 1.3)) * red.plane(0.008)
    lakes = blue.plane(0.010)
    scene.canvas.blood += np.float32(1.0) * lakes
    scene.canvas.melanin += np.float32(0.35) * lakes
    scene.canvas.tint(lakes * np.float32(0.45), (0.28, 0.16, 0.36))


def _septa(scene: Scene, rng: Random) -> None:
    """Pale septa between the lacunae, under a whitish haze."""
    lines = smooth_step(mesh(rng, scene.canvas.view, rng.uniform(0.12, 0.2)), 0.1, 0.7)
    scene.canvas.tint(lines * scene.inside * np.float32(rng.uniform(0.15, 0.4)), (0.90, 0.70, 0.76))


PAINTERS: dict[str, Callable[[Scene, Random], None]] = {
    "patches": _patches,
    "broken_network": _broken_network,
    "network": _network,
    "globules": _globules,
    "streaks": _streaks,
    "openings": _openings,
    "ridges": _ridges,
    "rim": _rim,
    "lacunae": _lacunae,
    "nests": _nests,
    "strawberry": _strawberry,
    "veil": _veil,
    "regression": _regression,
    "white_patch": _white_patch,
    "crust": _crust,
    "ulcer": _ulcer,
    "arborising_vessels": _arborising_vessels,
    "septa": _septa,
    "scale": _scale,
    "cysts": _cysts,
    "white_lines": _white_lines,
}
"""From what lies deepest to what lies on top."""


def paint_structures(rng: Random, scene: Scene, shown: tuple[str, ...]) -> None:
    """Paint the structures named in `shown`, deepest first."""
    for name in PAINTERS:
        if name in shown:
            PAINTERS[name](scene, np.random.default_rng(rng.integers(2**63)))
