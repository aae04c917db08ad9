"""The ISIC archive's own tables (`isic metadata download`), and ISIC 2024, whose table has their columns under other names.

A diagnosis stands in up to five levels, from `diagnosis_1` (Benign, Indeterminate, Malignant) down; the deepest that a taxonomy
knows is taken. What the archive knows and the taxonomy does not is set aside by name; rows without diagnosis are, too.
"""

from pathlib import Path

import pandas as pd

from lesionlab.data.layouts.findings import finding
from lesionlab.data.layouts.reading import Options, Reading, joined
from lesionlab.data.layouts.rows import Rows, Rules, read_rows
from lesionlab.data.layouts.scan import Scan
from lesionlab.data.layouts.tables import ROW, read_table
from lesionlab.data.layouts.written_diagnoses import find_dx, find_in_levels
from lesionlab.data.stored_images import entry_path, hdf5_names
from lesionlab.taxonomy import HAM10000, Taxonomy, read_taxonomy

ARCHIVE_NEEDS = frozenset(("isic_id", "diagnosis_1"))
ISIC_2024_NEEDS = frozenset(("isic_id", "target", "tbp_tile_type"))
_ISIC_2024_TRUTH = frozenset(("isic_id", "malignant"))
_LEVELS = [f"diagnosis_{number}" for number in range(1, 6)]
_SETS = ("ham10000", "isic2019", "milk10k")  # tried in turn: the first that has every diagnosis of the table
# HAM10000 as the archive has it: these names alone, of the Vienna group. Its Bowen's disease is "Squamous cell carcinoma, NOS"
# there (197 of its 327 akiec), and its vascular lesions have no third level.
_HAM10000_NAMES = {
    "Nevus",
    "Melanoma, NOS",
    "Basal cell carcinoma",
    "Solar or actinic keratosis",
    "Squamous cell carcinoma, NOS",
    "Pigmented benign keratosis",
    "Dermatofibroma",
    "Benign soft tissue proliferations - Vascular",
}
_HAM10000_GROUP = "ViDIR Group"
_BOWEN = "Squamous cell carcinoma, NOS"
_NO_DIAGNOSIS = ""


def read_archive(scan: Scan, options: Options) -> Reading | None:
    """Read a download of the archive; None where no table is one."""
    paths = [path for path in scan.tables_with(ARCHIVE_NEEDS) if "dx" not in scan.tables[path][0]]
    if not paths:
        return None
    paths = scan.take(paths)
    tables = [read_table(path) for path in paths]
    of_tables = [_levels(table) for table in tables]
    levels = pd.concat(of_tables, ignore_index=True)
    groups = pd.concat([table.get("attribution", pd.Series("", table.index)) for table in tables])
    is_ham10000 = _is_ham10000(levels, groups)
    taxonomy = options.taxonomy or _taxonomy(levels, is_ham10000)
    parts = [
        _rows(table, of_table, path, taxonomy, options, is_ham10000)
        for table, of_table, path in zip(tables, of_tables, paths, strict=True)
    ]
    layout = "ISIC archive, HAM10000" if is_ham10000 else "ISIC archive"
    return Reading(layout, joined(parts, paths), taxonomy, paths[0])


def read_isic_2024(scan: Scan, options: Options) -> Reading | None:
    """Read ISIC 2024 (SLICE-3D): its metadata, and an HDF5 file with a JPEG an entry, or the same as files."""
    paths = scan.tables_with(ISIC_2024_NEEDS) or scan.tables_with(_ISIC_2024_TRUTH)
    if not paths:
        return None
    taxonomy = options.taxonomy or read_taxonomy("isic2024")
    paths = scan.take(paths)
    parts = []
    for path in paths:
        table = _with_target(scan, read_table(path)).rename(
            columns={f"iddx_{number}": f"diagnosis_{number}" for number in range(1, 6)}
        )
        if taxonomy.name == "isic2024":
            levels = pd.DataFrame({"target": table["target"].replace({"0.0": "0", "1.0": "1"})})
        else:
            levels = _levels(table)
        parts.append(_rows(table, levels, path, taxonomy, options, False))
    root = scan.folder.resolve()
    stored: dict[str, str] = {}
    for file in scan.hdf5:
        start = str(entry_path(root / file.relative_to(scan.folder), ""))
        stored |= {name: start + name for name in hdf5_names(file) if name not in scan.images}
    return Reading("ISIC 2024", joined(parts, paths), taxonomy, paths[0], stored)


def _with_target(scan: Scan, table: pd.DataFrame) -> pd.DataFrame:
    """Of the challenge's own download, whose truth is a table of `isic_id` and `malignant`: join the metadata beside it."""
    if "target" in table:
        return table
    table = table.rename(columns={"malignant": "target"})
    for path in scan.take(scan.tables_with(("isic_id", "tbp_tile_type"))):
        more = read_table(path).drop(columns=ROW).drop_duplicates("isic_id")
        new = [name for name in more.columns if name == "isic_id" or name not in table]
        table = table.merge(more[new], on="isic_id", how="left").fillna("")
    return table


def _levels(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of levels that the table has, from level 1 on."""
    return table[[name for name in _LEVELS if name in table]]


def _deepest(levels: pd.DataFrame) -> pd.Series:
    """The name of each row's deepest level that is not empty."""
    return levels.replace("", pd.NA).ffill(axis=1).iloc[:, -1].fillna("")


def _is_ham10000(levels: pd.DataFrame, groups: pd.Series) -> bool:
    names = set(_deepest(levels).unique()) - {""}
    return names <= _HAM10000_NAMES and _BOWEN in names and bool(groups.str.startswith(_HAM10000_GROUP).all())


def _taxonomy(levels: pd.DataFrame, is_ham10000: bool) -> Taxonomy:
    """Give the first set that has all diagnoses; the last, which has most of the archive's, where none has."""
    if is_ham10000:
        return HAM10000
    rows = [row for row in set(levels.itertuples(index=False, name=None)) if any(row[1:])]
    for name in _SETS:
        taxonomy = read_taxonomy(name)
        if all(find_in_levels(row, taxonomy) for row in rows):
            return taxonomy
    return read_taxonomy(_SETS[-1])


def _rows(
    table: pd.DataFrame, levels: pd.DataFrame, path: Path, taxonomy: Taxonomy, options: Options, is_ham10000: bool
) -> Rows:
    keys = list(levels.itertuples(index=False, name=None))
    dx_of = {key: _dx(key, taxonomy, is_ham10000) for key in set(keys)}
    deepest = _deepest(levels)
    table = table.drop(columns=[name for name in _LEVELS if name in table]).assign(dx=[dx_of[key] for key in keys])
    rules = Rules(options.image_types, frozenset((_NO_DIAGNOSIS,)), needs_lesions=False)
    rows = read_rows(table, path, taxonomy, rules)
    names = dict(zip(table["isic_id"], deepest, strict=True))
    reasons = [
        _reason(reason, names.get(name, ""), taxonomy) for name, reason in rows.set_aside.itertuples(index=False)
    ]
    findings = list(rows.findings)
    if is_ham10000:
        lines = dict(zip(table[ROW], deepest, strict=True))
        bowen = [str(row) for row in rows.table[ROW] if lines[row] == _BOWEN]
        decision = "read as akiec: HAM10000's Bowen's disease, which the archive calls so"
        findings += finding("dx-bowen", f"A diagnosis is {_BOWEN!r}", decision, bowen if "akiec" in taxonomy.dx else [])
    return Rows(rows.table, findings, rows.set_aside.assign(reason=reasons))


def _dx(levels: tuple[str, ...], taxonomy: Taxonomy, is_ham10000: bool) -> str:
    if is_ham10000 and taxonomy.name == "ham10000" and _BOWEN in levels:
        return "akiec"
    named = [level for level in levels if level]
    return find_in_levels(levels, taxonomy) or (find_dx(named[-1], taxonomy) if named else None) or _NO_DIAGNOSIS


def _reason(reason: str, name: str, taxonomy: Taxonomy) -> str:
    """Name the diagnosis of a row that is set aside for it."""
    if not reason.startswith("no diagnosis"):
        return reason
    return f"diagnosis {name!r} is none of {taxonomy.name}" if name else "the diagnosis is empty"
