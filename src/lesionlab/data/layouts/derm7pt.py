"""derm7pt (seven-point checklist): `meta.csv` with a dermoscopic and a clinical picture a case, and tables of official parts."""

from pathlib import Path

import pandas as pd

from lesionlab.data.layouts.metadata import IMAGE_TYPE, PART
from lesionlab.data.layouts.reading import Options, Reading
from lesionlab.data.layouts.rows import Rules, read_rows
from lesionlab.data.layouts.scan import Scan, one_of, part_of
from lesionlab.data.layouts.tables import ROW, read_table
from lesionlab.errors import UsageError
from lesionlab.taxonomy import read_taxonomy

NEEDS = frozenset(("case_num", "diagnosis", "derm", "clinic"))
_KINDS = {"derm": "dermoscopic", "clinic": "clinical: close-up"}


def read_derm7pt(scan: Scan, options: Options) -> Reading | None:
    """Read derm7pt's release; None where no table is its `meta.csv`."""
    paths = scan.tables_with(NEEDS)
    if not paths:
        return None
    scan.take(paths)
    path = one_of(scan.folder, paths, "Keep the whole one, meta.csv.")
    taxonomy = options.taxonomy or read_taxonomy("derm7pt")
    cases = read_table(path)
    cases[PART] = _parts(scan, len(cases))
    cases = cases.rename(columns={"diagnosis": "dx", "location": "localization"}).assign(
        lesion_id="case_" + cases["case_num"], dataset="derm7pt"
    )
    both = [
        cases.assign(image_id=[Path(name).stem for name in cases[column]], file=cases[column], **{IMAGE_TYPE: kind})
        for column, kind in _KINDS.items()
    ]
    table = pd.concat(both, ignore_index=True)
    table = table[table["image_id"] != ""].drop(columns=["derm", "clinic", "case_num"]).reset_index(drop=True)
    files = dict(zip(table["image_id"], table.pop("file"), strict=True))
    rows = read_rows(table, path, taxonomy, Rules(options.image_types))
    return Reading("derm7pt", rows, taxonomy, path, _paths(scan, files))


def _parts(scan: Scan, number: int) -> list[str]:
    """The official part of each case: train_indexes.csv, valid_indexes.csv and test_indexes.csv count rows from 0."""
    parts = [""] * number
    for path in scan.take(scan.tables_with(("indexes",))):
        table = read_table(path)
        for index, row in table[["indexes", ROW]].itertuples(index=False, name=None):
            if not index.isdigit() or int(index) >= number:
                raise UsageError(f"{path}, row {row}: {index!r} is no row of meta.csv, which has {number} (from 0).")
            parts[int(index)] = part_of(path.stem)
    return parts


def _paths(scan: Scan, files: dict[str, str]) -> dict[str, str]:
    """Where each image lies: as `meta.csv` names it, below any folder; names differ by capitals in the release."""
    by_name: dict[str, Path] = {}
    for path in (*scan.images.values(), *scan.twice):
        by_name["/".join(path.parts[-2:]).lower()] = path
    root = scan.folder.resolve()
    found = {image_id: by_name.get("/".join(Path(name).parts[-2:]).lower()) for image_id, name in files.items()}
    return {image_id: str(root / path.relative_to(scan.folder)) for image_id, path in found.items() if path}
