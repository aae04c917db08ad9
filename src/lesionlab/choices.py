"""Names that an option, a recipe or a call chooses from, each list once. Nothing heavy is imported: `--help` reads them."""

from pathlib import Path
from typing import Literal, get_args

Calibration = Literal["none", "temperature", "vector"]
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)
ENGINES = ("local", "ray")
EXPORT_FORMATS = (
    "onnx",
    "onnx-int8",
    "litert",
    "savedmodel",
    "keras",
)  # of a run's network; a page, "web", is no such file
RECIPES = sorted(file.stem for file in (Path(__file__).parent / "recipes").glob("*.toml"))
SHARD_FORMATS = ("parquet", "csv")
TRACKERS = ("mlflow", "tensorboard")
