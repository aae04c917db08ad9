"""How light the skin around a lesion looks: individual typology angle (ITA), from the pixels alone.

In: the pixels of dermatoscopic images. Out: an angle an image, and its group. ITA = atan((L* - 50) / b*) in degrees, of CIELAB
(Chardon, Cretois, Hourseau, Int. J. Cosmet. Sci. 13, 1991, doi:10.1111/j.1467-2494.1991.tb00561.x), as Kinyanjui et al. (MICCAI
2020, doi:10.1007/978-3-030-59725-2_31) estimate it on the same data: the median of the skin outside of the lesion.

What it is not: a measurement. ITA is defined for a colorimeter; a dermatoscope's light and polarisation, the camera's white
balance, gel, pressure and a tan move it, and a lesion that fills the image leaves no skin. HAM10000 has no label of skin tone to
check it against, and its patients are mostly light-skinned, so that no group's figure is a claim of fairness.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import grey_closing

from lesionlab.data.colour_spaces import decoded
from lesionlab.evaluation.corruptions import disc
from lesionlab.files import release_pages
from lesionlab.progress import track

COLUMN = "skin_tone"
GROUPS = ((55.0, "very light"), (41.0, "light"), (28.0, "intermediate"), (10.0, "tan"), (-30.0, "brown"))  # above these
DARKEST = "dark"
UNKNOWN = "unknown"
_INSIDE = 0.6  # share of the image, in the middle, that is left to the lesion
_LEAST = 0.02  # share of the image that has to be left as skin
_DARK_CORNER, _GLARE = 20.0, 97.0  # L*
_HAIR = 6.0  # L* below what a closing gives
_WIDEST_HAIR = 0.06  # of the side
_RELEASED = 1000  # images, after which the memory that their pixels took is let go
_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def with_skin_tone(table: pd.DataFrame, pixels: np.ndarray) -> pd.DataFrame:
    """Give a table a column `skin_tone`, the group of each image.

    Args:
        table: `row`, the image's place in `pixels`.
        pixels: uint8 (n, height, width, 3).

    """
    groups = []
    for place, row in enumerate(track(table["row"], "estimating skin tones", total=len(table))):
        groups.append(group_of(typology_angle(np.asarray(pixels[row]))))
        if place % _RELEASED == 0:
            release_pages(pixels)
    return table.assign(**{COLUMN: groups})


def typology_angle(pixels: np.ndarray) -> float:
    """Estimate the ITA of the skin around a lesion.

    Taken is what lies outside of the middle 60 % of the image, without dark corners, glare and hair (what a morphological
    closing makes lighter), and of that what lies within a standard deviation of the median of L* and of b*.

    Args:
        pixels: uint8 (height, width, 3), sRGB.

    Returns:
        Degrees, -90 to 90; NaN where less than 2 % of the image is left, or where that is no skin's colour but bluish (b* not
        above 0), as a white balance that is off makes it.

    """
    lightness, _, yellow = np.moveaxis(lab(pixels), -1, 0)
    width = 2 * round(_WIDEST_HAIR * min(lightness.shape) / 2) + 1
    is_hair = grey_closing(lightness, size=(width, width)) - lightness > _HAIR
    is_skin = ~disc(pixels.shape, _INSIDE) & (lightness > _DARK_CORNER) & (lightness < _GLARE) & ~is_hair
    for values in (lightness, yellow):
        if is_skin.any():
            centre, spread = np.median(values[is_skin]), max(values[is_skin].std(), 1.0)
            is_skin &= np.abs(values - centre) <= spread
    if is_skin.mean() < _LEAST or np.median(yellow[is_skin]) <= 0:
        return float("nan")
    return float(np.degrees(np.arctan((np.median(lightness[is_skin]) - 50) / np.median(yellow[is_skin]))))


def group_of(angle: float) -> str:
    """Name the group of an ITA in degrees, by Chardon's limits; `unknown` of NaN."""
    if np.isnan(angle):
        return UNKNOWN
    return next((name for limit, name in GROUPS if angle > limit), DARKEST)


def lab(pixels: np.ndarray) -> np.ndarray:
    """Convert sRGB uint8 (..., 3) to CIELAB under D65: float64 (..., 3), L* 0 to 100 (CIE 15:2004, IEC 61966-2-1)."""
    relative = decoded(pixels / 255.0) @ _TO_XYZ.T / _WHITE
    curved: Any = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(curved, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
