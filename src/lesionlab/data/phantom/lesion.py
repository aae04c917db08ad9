"""A generated lesion before its structures: which traits its diagnosis gives it, its outline, its pigment.

Each diagnosis has a range for each trait, and a chance for each structure. A lesion is drawn between its own
diagnosis' habits and those of one that it mimics, by its typicality: bland melanomas and odd nevi exist, so the
diagnoses overlap as they do in a clinic.
"""

import math
from dataclasses import dataclass

import numpy as np

from lesionlab.data.phantom.canvas import Canvas, Plane, Points, View, clouds, smooth_step
from lesionlab.taxonomy import HAM10000

TYPICALITY = (9.0, 1.5)  # of a beta distribution: its mean, 0.86, sets how far the diagnoses overlap
TRAITS = {
    # The range of each trait in each diagnosis, in the order of DX: mel, nv, bcc, akiec, bkl, df, vasc.
    # mean radius, in lesion units
    "radius": ((0.5, 1), (0.28, 0.75), (0.35, 0.8), (0.5, 0.95), (0.4, 0.9), (0.35, 0.75), (0.18, 0.65)),
    # long over short axis
    "stretch": ((1, 1.5), (1, 1.4), (1, 1.5), (1, 1.6), (1, 1.6), (1, 1.4), (1, 1.5)),
    # waviness of the outline, share of the radius
    "waves": ((0.1, 0.28), (0.02, 0.09), (0.06, 0.2), (0.1, 0.26), (0.08, 0.22), (0.02, 0.1), (0.02, 0.1)),
    # raggedness of the edge, share of the radius
    "fray": ((0.1, 0.3), (0.04, 0.12), (0.1, 0.3), (0.2, 0.45), (0.04, 0.16), (0.06, 0.18), (0.06, 0.2)),
    # width of the fading border, share of the radius
    "edge": ((0.08, 0.3), (0.25, 0.65), (0.25, 0.6), (0.4, 0.8), (0.04, 0.16), (0.5, 0.9), (0.06, 0.2)),
    # absorption by melanin: at 1 a middling brown
    "melanin": ((1, 2.2), (0.35, 1.7), (0.05, 0.3), (0.1, 0.55), (0.4, 1.6), (0.3, 0.8), (0, 0.15)),
    # absorption by blood: at 1 a full red
    "blood": ((0, 0.4), (0, 0.45), (0.3, 0.7), (0.4, 0.9), (0, 0.3), (0.25, 0.55), (0.5, 1.5)),
    # patchiness of the pigment
    "mottle": ((0.35, 0.8), (0.1, 0.35), (0.2, 0.5), (0.4, 0.8), (0.25, 0.6), (0.1, 0.3), (0.1, 0.35)),
    # how much heavier the pigment lies on one side
    "skew": ((0.2, 0.8), (0, 0.15), (0, 0.4), (0, 0.4), (0, 0.3), (0, 0.2), (0, 0.2)),
    # darker (+) or paler (-) in the middle
    "core": ((-0.2, 0.4), (0, 0.6), (-0.3, 0.2), (-0.3, 0.2), (-0.3, 0.2), (-0.5, -0.1), (-0.2, 0.3)),
}
STRUCTURES = {
    "mel": {"patches": 0.85, "broken_network": 0.6, "veil": 0.65, "streaks": 0.5, "regression": 0.35, "globules": 0.3},
    "nv": {"network": 0.75, "globules": 0.35},
    "bcc": {"arborising_vessels": 0.8, "nests": 0.65, "ulcer": 0.3, "white_lines": 0.3},
    "akiec": {"strawberry": 0.75, "scale": 0.75, "crust": 0.25},
    "bkl": {"cysts": 0.8, "openings": 0.5, "ridges": 0.45, "rim": 0.4},
    "df": {"white_patch": 0.85, "network": 0.6, "white_lines": 0.4},
    "vasc": {"lacunae": 0.9, "septa": 0.4},
}
"""The chance of each structure in a typical lesion; `lesionlab.data.phantom.structures.PAINTERS` paints them."""
MIMICS = {
    "mel": ("nv", "nv", "bkl"),
    "nv": ("mel", "nv", "df"),
    "bcc": ("akiec", "bkl", "nv"),
    "akiec": ("bkl", "bcc", "nv"),
    "bkl": ("mel", "nv", "akiec"),
    "df": ("nv", "bkl"),
    "vasc": ("df", "bcc", "mel"),
}
"""Whom an untypical lesion looks like; one named twice does so twice as often."""


@dataclass(frozen=True)
class Body:
    """A lesion: its traits by name, and its outline: middle, turn (radians), sizes and phases of waves 2 to 8."""

    traits: dict[str, float]
    middle: Points
    angle: float
    wave_sizes: Points
    wave_phases: Points

    def rim(self, angles: Points) -> Points:
        """Give the radius of the outline, in lesion units, at angles about the middle."""
        turned, root = angles - self.angle, math.sqrt(self.traits["stretch"])
        ellipse = self.traits["radius"] / np.hypot(np.cos(turned) / root, np.sin(turned) * root)
        waves = sum(
            size * np.cos(wave * angles + phase)
            for wave, size, phase in zip(range(2, 9), self.wave_sizes, self.wave_phases, strict=True)
        )
        return ellipse * np.exp(waves)

    def places(self, rng: np.random.Generator, count: int, inner: float = 0.0, outer: float = 0.9) -> Points:
        """Draw places, (count, 2), between the shares `inner` and `outer` of the way to the rim."""
        angles = rng.uniform(0, 2 * math.pi, count)
        shares = np.sqrt(rng.uniform(inner**2, outer**2, count))
        return self.at(angles, shares)

    def at(self, angles: Points, shares: Points | float) -> Points:
        """Give the places at these angles and shares of the way to the rim."""
        away = self.rim(angles) * shares
        return self.middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * away[:, None]

    def depth(self, view: View) -> Plane:
        """Give for each pixel how deep inside it lies: 1 in the middle, 0 on the rim, negative outside."""
        x, y = view.places()
        x, y = x - np.float32(self.middle[0]), y - np.float32(self.middle[1])
        table = np.linspace(-math.pi, math.pi, 361)
        rim = np.interp(np.arctan2(y, x), table, self.rim(table))
        return view.enlarge((1 - np.hypot(x, y) / rim).astype(np.float32))


@dataclass(frozen=True)
class Scene:
    """A lesion on a canvas: how deep each pixel lies in it (1 middle, 0 rim), and how much it is inside (0 to 1)."""

    canvas: Canvas
    body: Body
    depth: Plane
    inside: Plane


def draw_body(rng: np.random.Generator, dx: str) -> tuple[Body, tuple[str, ...]]:
    """Draw a lesion of diagnosis `dx`, and the names of the structures that it shows."""
    other = MIMICS[dx][rng.integers(len(MIMICS[dx]))]
    typicality = float(rng.beta(*TYPICALITY))
    traits = {}
    for name, ranges in TRAITS.items():
        own, mimic = (np.array(ranges[HAM10000.index_of[one]]) for one in (dx, other))
        low, high = typicality * own + (1 - typicality) * mimic
        traits[name] = float(low + rng.beta(1.6, 1.6) * (high - low))
    chances = {name: chance * (1 - typicality) for name, chance in STRUCTURES[other].items()}
    for name, chance in STRUCTURES[dx].items():
        chances[name] = chances.get(name, 0) + chance * min(1, typicality * 1.3)
    shown = tuple(name for name, chance in chances.items() if rng.random() < chance)
    decay = np.arange(2, 9) ** -1.1
    body = Body(
        traits=traits,
        middle=rng.normal(0, 0.06, 2),
        angle=rng.uniform(0, math.pi),
        wave_sizes=traits["waves"] * rng.standard_normal(7) * decay,
        wave_phases=rng.uniform(0, 2 * math.pi, 7),
    )
    return body, shown


def lay_body(rng: np.random.Generator, canvas: Canvas, body: Body) -> Scene:
    """Put the lesion's pigment and blood on the canvas, without any structure."""
    traits, view = body.traits, canvas.view
    depth = body.depth(view)
    frayed = depth + np.float32(traits["fray"]) * clouds(rng, view, 3.5 / traits["radius"], 3) * np.float32(0.22)
    frayed += np.float32(traits["fray"] * 0.14) * canvas.grain
    inside = smooth_step(frayed, -traits["edge"] / 2, traits["edge"] / 2)
    pigment = np.exp(np.float32(traits["mottle"]) * clouds(rng, view, 1.6 / traits["radius"], 3) * np.float32(0.7))
    lean = rng.uniform(0, 2 * math.pi)
    x, y = view.places()
    heavy = ((x - body.middle[0]) * math.cos(lean) + (y - body.middle[1]) * math.sin(lean)) / traits["radius"]
    pigment *= np.maximum(0.15, 1 + np.float32(traits["skew"]) * view.enlarge(heavy.astype(np.float32)))
    pigment *= np.maximum(0.1, 1 + np.float32(traits["core"]) * (np.clip(depth, 0, 1) * 2 - np.float32(0.8)))
    flush = np.exp(np.float32(0.3) * clouds(rng, view, 1.2 / traits["radius"]))
    pigment *= np.maximum(0.3, 1 + np.float32(0.16) * canvas.grain)
    canvas.melanin += np.float32(traits["melanin"]) * inside * pigment
    canvas.blood += np.float32(traits["blood"]) * inside * flush
    return Scene(canvas, body, depth, inside)
