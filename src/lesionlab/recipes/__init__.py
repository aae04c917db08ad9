"""The recipes that come with lesionlab, by name, and what one may choose for its calibration."""

from pathlib import Path
from typing import Literal, get_args

Calibration = Literal["none", "temperature", "vector"]
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)
RECIPES = sorted(file.stem for file in Path(__file__).parent.glob("*.toml"))
