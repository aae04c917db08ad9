"""What is in a data set, as tables, before anything is learnt from it.

In: the clean table and the pixels that its column `row` points into. Pixels are read in chunks, never all at once.
"""

import msgspec
import numpy as np
import pandas as pd

from lesionlab.files import release_pages
from lesionlab.taxonomy import Taxonomy

AGE_BANDS_YEARS = (0, 20, 30, 40, 50, 60, 70, 80, 121)
_CHUNK = 256


class Counts(msgspec.Struct, frozen=True):
    """Images and lesions of a diagnosis, and its share of all images, 0 to 1."""

    images: int
    lesions: int
    share: float


class Missing(msgspec.Struct, frozen=True):
    """Images whose value in a column is not known, and their share, 0 to 1."""

    images: int
    share: float


class Explored(msgspec.Struct, frozen=True, kw_only=True):
    """What `exploration.json` holds.

    Attributes:
        images: counted, and `lesions`.
        by_diagnosis: counts of each diagnosis, by code.
        by_column: of age (in bands), sex, site, source and confirmation: images of each value, by diagnosis.
        age_years: the 5th, 25th, 50th, 75th and 95th percentile of each diagnosis; None where no age is known.
        images_per_lesion: how many lesions have one image, two, and so on.
        missing: of each column.
        mean_colour: RGB, 0 to 255, of each diagnosis; None where it has no image.

    """

    images: int
    lesions: int
    by_diagnosis: dict[str, Counts]
    by_column: dict[str, dict[str, dict[str, int]]]
    age_years: dict[str, list[float] | None]
    images_per_lesion: dict[str, int]
    missing: dict[str, Missing]
    mean_colour: dict[str, list[float] | None]


def explore(table: pd.DataFrame, means: dict[str, np.ndarray], taxonomy: Taxonomy) -> Explored:
    """Counts by diagnosis and of each column against it, images per lesion, missing values, mean colour.

    Args:
        table: columns of `Cleaned.table`.
        means: from `mean_images`.
        taxonomy: of the table's diagnoses.

    """
    bands = pd.cut(table["age"], AGE_BANDS_YEARS, right=False, labels=age_band_names())
    columns = {name: table[name] for name in ("sex", "localization", "dataset", "dx_type")}
    columns = {"age": bands.astype(object).where(bands.notna(), "unknown")} | columns
    per_lesion = table.groupby("lesion_id").size().value_counts().sort_index()
    return Explored(
        images=len(table),
        lesions=int(table["lesion_id"].nunique()),
        by_diagnosis={
            dx: Counts(images=len(rows), lesions=int(rows["lesion_id"].nunique()), share=len(rows) / len(table))
            for dx, rows in ((dx, table[table["dx"] == dx]) for dx in taxonomy.dx)
        },
        by_column={name: _against_dx(values, table["dx"], taxonomy) for name, values in columns.items()},
        age_years={dx: _quartiles(table.loc[table["dx"] == dx, "age"]) for dx in taxonomy.dx},
        images_per_lesion={str(number): int(count) for number, count in per_lesion.items()},
        missing={name: _missing(table[name]) for name in ("age", *list(columns)[1:])},
        mean_colour={dx: means[dx].mean(axis=(0, 1)).tolist() if dx in means else None for dx in taxonomy.dx},
    )


def age_band_names() -> list[str]:
    """Names of the age bands, such as "20-29"; the last is open."""
    pairs = zip(AGE_BANDS_YEARS[:-2], AGE_BANDS_YEARS[1:-1], strict=True)
    return [f"{low}-{high - 1}" for low, high in pairs] + [f"{AGE_BANDS_YEARS[-2]}+"]


def mean_images(table: pd.DataFrame, pixels: np.ndarray, taxonomy: Taxonomy) -> dict[str, np.ndarray]:
    """Mean image of each diagnosis that occurs: float64 (height, width, 3), 0 to 255."""
    means = {}
    for dx in taxonomy.dx:
        rows = np.sort(table.loc[table["dx"] == dx, "row"].to_numpy())
        if not len(rows):
            continue
        total = np.zeros(pixels.shape[1:], np.uint64)
        for start in range(0, len(rows), _CHUNK):
            total += pixels[rows[start : start + _CHUNK]].sum(axis=0, dtype=np.uint64)
            release_pages(pixels)
        means[dx] = total / len(rows)
    return means


def _against_dx(values: pd.Series, dx: pd.Series, taxonomy: Taxonomy) -> dict[str, dict[str, int]]:
    counts = pd.crosstab(values, dx).reindex(columns=list(taxonomy.dx), fill_value=0)
    return {str(value): {name: int(row[name]) for name in taxonomy.dx} for value, row in counts.iterrows()}


def _quartiles(ages: pd.Series) -> list[float] | None:
    known = ages.dropna()
    return [float(q) for q in np.percentile(known, [5, 25, 50, 75, 95])] if len(known) else None


def _missing(values: pd.Series) -> Missing:
    count = int(values.isna().sum() if values.dtype.kind == "f" else (values == "unknown").sum())
    return Missing(count, count / len(values))
