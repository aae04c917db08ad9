"""The individual typology angle: of colours whose angle is known, and of skin with all that must not count."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from lesionlab.evaluation.corruptions import corrupt
from lesionlab.evaluation.skin_tone import group_of, lab, typology_angle, with_skin_tone

LIGHT, TAN, DARK = (228, 190, 170), (190, 140, 105), (85, 60, 45)


def angle(colour: tuple[int, int, int]) -> float:
    lightness, _, yellow = lab(np.array(colour, np.uint8))
    return float(np.degrees(np.arctan((lightness - 50) / yellow)))


def skin(colour: tuple[int, int, int]) -> np.ndarray:
    """Skin of a colour with grain and a lesion in the middle: uint8 (128, 128, 3)."""
    picture = Image.new("RGB", (128, 128), colour)
    ImageDraw.Draw(picture).ellipse([30, 34, 98, 94], fill=(70, 40, 30))
    grain = np.random.default_rng(0).normal(0, 3, (128, 128, 1))
    return np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)


def test_lab_of_known_colours() -> None:
    """Values of Lindbloom's calculator (sRGB, D65)."""
    known = {(255, 255, 255): (100, 0, 0), (255, 0, 0): (53.24, 80.09, 67.20), (0, 0, 255): (32.30, 79.19, -107.86),
             (128, 128, 128): (53.59, 0, 0), (0, 0, 0): (0, 0, 0)}  # fmt: skip
    for colour, expected in known.items():
        assert lab(np.array(colour, np.uint8)) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("colour", [LIGHT, TAN, DARK])
@pytest.mark.parametrize("artefact", ["none", "hair", "dark corners", "ruler", "gel bubbles"])
def test_lesion_hair_and_corners_do_not_count(colour: tuple[int, int, int], artefact: str) -> None:
    picture = skin(colour) if artefact == "none" else corrupt(skin(colour), artefact, 3, 0)
    assert typology_angle(picture) == pytest.approx(angle(colour), abs=4)


def test_groups_have_chardons_limits() -> None:
    angles = (60, 55, 41, 28, 10, -30, float("nan"))
    names = ["very light", "light", "intermediate", "tan", "brown", "dark", "unknown"]
    assert [group_of(value) for value in angles] == names
    assert angle(LIGHT) > angle(TAN) > angle(DARK)


def test_an_image_without_skin_is_unknown() -> None:
    assert np.isnan(typology_angle(np.zeros((64, 64, 3), np.uint8)))
    assert np.isnan(typology_angle(skin((150, 150, 200))))
    table = with_skin_tone(pd.DataFrame({"row": [1, 0]}), np.stack([skin(LIGHT), np.zeros((128, 128, 3), np.uint8)]))
    assert list(table["skin_tone"]) == ["unknown", group_of(angle(LIGHT))]
