"""Data sets that are one table of images or several (a part each), whose columns have names of their own.

ISIC 2016 Part 3, ISIC 2017 Part 3, ISIC 2020, PAD-UFES-20 and BCN20000: each is told by its columns, which are renamed to
HAM10000's; everything else is `read_rows`'.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lesionlab.data.layouts.metadata import IMAGE_TYPE, PART
from lesionlab.data.layouts.reading import Options, Reading, joined
from lesionlab.data.layouts.rows import Rows, Rules, read_rows
from lesionlab.data.layouts.scan import Scan, part_of
from lesionlab.data.layouts.tables import ROW, number, read_table
from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy, read_taxonomy

_ISIC_ID = re.compile(r"^isic_\d+(\.jpg)?$", re.IGNORECASE)
_TWO_CLASSES = {"0", "1", "0.0", "1.0", "benign", "malignant"}


@dataclass(frozen=True)
class Published:
    """A data set's table.

    Attributes:
        layout: its name, as in a report.
        needs: columns (lower case) that tell it.
        taxonomy: of its diagnoses.
        columns: its names of HAM10000's columns.
        prepare: further changes of the table, from the file and the taxonomy.
        no_diagnosis: see `Rules`.
        has_lesions: whether each row must have a lesion.
        beside: columns (lower case) that tell further tables, whose columns are added by image; empty for none.
    """

    layout: str
    needs: frozenset[str]
    taxonomy: str
    columns: dict[str, str]
    prepare: Callable[[pd.DataFrame, Path, Taxonomy], pd.DataFrame] = lambda table, path, taxonomy: table
    no_diagnosis: frozenset[str] = frozenset()
    has_lesions: bool = True
    beside: frozenset[str] = field(default_factory=frozenset)


def _isic_2017(table: pd.DataFrame, path: Path, taxonomy: Taxonomy) -> pd.DataFrame:
    """Two columns of marks; neither is a nevus."""
    marks = [_marks(table, column, path) for column in ("melanoma", "seborrheic_keratosis")]
    both = marks[0] & marks[1]
    if both.any():
        raise UsageError(f"{path}, row {table.loc[both, ROW].iloc[0]}: melanoma and seborrheic_keratosis are both 1.")
    dx = pd.Series("nevus", index=table.index).mask(marks[0], "melanoma").mask(marks[1], "seborrheic keratosis")
    return table.drop(columns=["melanoma", "seborrheic_keratosis"]).assign(dx=dx)


def _isic_2020(table: pd.DataFrame, path: Path, taxonomy: Taxonomy) -> pd.DataFrame:
    """The target, or, for a taxonomy of more than two, the column `diagnosis`."""
    is_target = len(taxonomy) == 2
    table = table.assign(dx=table["benign_malignant"] if is_target else table["diagnosis"].str.replace("unknown", ""))
    return table.drop(columns=["benign_malignant", "diagnosis"])


def _pad_ufes(table: pd.DataFrame, path: Path, taxonomy: Taxonomy) -> pd.DataFrame:
    """Smartphone photographs; a biopsy is histopathology, the others are agreed upon by dermatologists."""
    table = table.assign(**{IMAGE_TYPE: "clinical: close-up"})
    if "biopsed" in table:
        confirmed = {"true": "histo", "1": "histo", "false": "consensus", "0": "consensus"}
        table["dx_type"] = table["biopsed"].str.lower().map(confirmed).fillna("")
        table = table.drop(columns="biopsed")
    return table


PUBLISHED = (
    Published(
        "PAD-UFES-20",
        frozenset(("img_id", "diagnostic", "patient_id", "lesion_id")),
        "pad-ufes-20",
        {"img_id": "image_id", "diagnostic": "dx", "gender": "sex", "region": "localization"},
        _pad_ufes,
    ),
    Published(
        "BCN20000",
        frozenset(("bcn_filename", "diagnosis", "lesion_id")),
        "bcn20000",
        {"bcn_filename": "image_id", "diagnosis": "dx", "split": PART},
        no_diagnosis=frozenset(("", "ood", "unk")),
        has_lesions=False,
    ),
    Published(
        "ISIC 2020",
        frozenset(("image_name", "patient_id", "benign_malignant", "target")),
        "isic2020",
        {"image_name": "image_id", "anatom_site_general_challenge": "localization"},
        _isic_2020,
        no_diagnosis=frozenset(("",)),
        has_lesions=False,
    ),
    Published(
        "ISIC 2017 Part 3",
        frozenset(("image_id", "melanoma", "seborrheic_keratosis")),
        "isic2017",
        {"age_approximate": "age"},
        _isic_2017,
        has_lesions=False,
        beside=frozenset(("image_id", "age_approximate", "sex")),
    ),
)


def read_published(scan: Scan, options: Options) -> Reading | None:
    """Read a data set that is told by the columns of its table; None where none is."""
    for published in PUBLISHED:
        if paths := scan.tables_with(published.needs):
            return _read(scan, published, scan.take(paths), options)
    return None


def _read(scan: Scan, published: Published, paths: list[Path], options: Options) -> Reading:
    taxonomy = options.taxonomy or read_taxonomy(published.taxonomy)
    beside = [read_table(path) for path in scan.take(scan.tables_with(published.beside))] if published.beside else []
    if beside:
        known = pd.concat(beside).drop(columns=ROW).rename(columns=published.columns).drop_duplicates("image_id")
    parts = []
    for path in paths:
        table = published.prepare(read_table(path), path, taxonomy).rename(columns=published.columns)
        if beside:
            table = table.merge(known, on="image_id", how="left").fillna("")
        rules = Rules(options.image_types, published.no_diagnosis, published.has_lesions)
        parts.append(read_rows(_with_part(table, path), path, taxonomy, rules))
    rows = joined(parts, paths)
    return Reading(published.layout, _without_duplicates(scan, rows), taxonomy, paths[0])


def read_isic_2016(scan: Scan, options: Options) -> Reading | None:
    """Read ISIC 2016 Part 3: tables without header, an image and benign or malignant (0 or 1 in the test part) a row."""
    paths = [path for path, (header, _) in scan.tables.items() if _is_isic_2016(header)]
    if not paths:
        return None
    taxonomy = options.taxonomy or read_taxonomy("isic2020")
    words = {"0.0": "0", "1.0": "1"}
    parts = []
    for path in scan.take(paths):
        table = read_table(path, header=("image_id", "dx"))
        table["dx"] = table["dx"].str.lower().replace(words)
        parts.append(
            read_rows(_with_part(table, path), path, taxonomy, Rules(options.image_types, needs_lesions=False))
        )
    return Reading("ISIC 2016 Part 3", joined(parts, paths), taxonomy, paths[0])


def _is_isic_2016(header: list[str]) -> bool:
    return len(header) == 2 and bool(_ISIC_ID.match(header[0])) and header[1] in _TWO_CLASSES


def _with_part(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Name the part that a file is of, where its name says so and its rows do not."""
    part = part_of(path.stem)
    return table.assign(**{PART: part}) if part and PART not in table else table


def _without_duplicates(scan: Scan, rows: Rows) -> Rows:
    """Set aside what the published list of duplicates (ISIC 2020: image_name_1, image_name_2) names as another's picture."""
    first_of: dict[str, str] = {}
    for path in scan.take(scan.tables_with(("image_name_1", "image_name_2"))):
        for one, other in read_table(path)[["image_name_1", "image_name_2"]].itertuples(index=False, name=None):
            kept = first_of.get(one, one)
            if kept != other and first_of.get(other, other) != kept:
                first_of[other] = kept
    is_copy = rows.table["image_id"].isin(first_of)
    names = rows.table.loc[is_copy, "image_id"]
    reasons = [f"the same picture as {first_of[name]}, by the published list of duplicates" for name in names]
    copies = pd.DataFrame({"image_id": names, "reason": reasons}, dtype=object)
    set_aside = pd.concat([rows.set_aside, copies], ignore_index=True)
    return Rows(rows.table[~is_copy].reset_index(drop=True), rows.findings, set_aside)


def _marks(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """A column of 0 and 1 as bool."""
    for mark, row in table.drop_duplicates(column)[[column, ROW]].itertuples(index=False, name=None):
        try:
            is_mark = number(mark) in (0, 1)
        except ValueError:
            is_mark = False
        if not is_mark:
            raise UsageError(f"{path}, row {row}: {mark!r} in the column {column}; ground truth is 0 or 1.")
    return table[column].map(number) == 1
