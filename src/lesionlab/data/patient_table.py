"""What is known of each image's patient, from a table: one that `predict --metadata` names, or a collection's own.

Both know the same names of the columns, `lesionlab.data.layouts.metadata.ALIASES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesionlab.data.image_formats import without_suffix
from lesionlab.data.layouts.metadata import ALIASES
from lesionlab.data.layouts.tables import IMAGE_COLUMNS, UNKNOWN_WORDS, read_rows, tidy
from lesionlab.data.patient import Patient, read_patient
from lesionlab.errors import UsageError

_OWN = {"age": "age", "sex": "sex", "site": "localization"}
_NAMES = {value: (own, *(alias for alias, name in ALIASES.items() if name == own)) for value, own in _OWN.items()}


@dataclass(frozen=True)
class PatientTable:
    """The patient of each image, by image id; `columns`, in words, says what was read from which column."""

    patients: Mapping[str, Patient]
    columns: str


def read_patient_table(path: Path) -> PatientTable:
    """Read a table with a column of image ids and at least one of age, sex and site, by any of the names that data sets use.

    Of several columns for one value, the first counts whose cell says anything.

    Raises:
        UsageError: the table cannot be read, lacks these columns, or says two things of one image.

    """
    header, rows = read_rows(path, tidy)
    image_column = next((name for name in IMAGE_COLUMNS if name in header), None)
    columns = {value: [name for name in names if name in header] for value, names in _NAMES.items()}
    if image_column is None or not any(columns.values()):
        raise UsageError(
            f"{path} has the columns {', '.join(header)}; needed are one of {', '.join(IMAGE_COLUMNS)}, and one of "
            f"{', '.join(name for names in _NAMES.values() for name in names)}."
        )
    patients: dict[str, Patient] = {}
    for line, cells in rows:
        row = dict(zip(header, cells, strict=True))
        image = without_suffix(row[image_column])
        patient = read_patient(**{value: _first([row[name] for name in names]) for value, names in columns.items()})
        if image and patients.setdefault(image, patient) != patient:
            raise UsageError(f"{path}, row {line}: of image {image!r} a row above says something else. Keep one.")
    read = [f"{value} from {' or '.join(names)}" if names else f"no {value}" for value, names in columns.items()]
    return PatientTable(patients, f"{', '.join(read)}; images by {image_column}")


def _first(cells: Sequence[str]) -> str:
    return next((cell for cell in cells if cell.lower() not in UNKNOWN_WORDS), "")


def patients_of(table: pd.DataFrame) -> Sequence[Patient]:
    """Give the patient of each row of a collection's table: `age`, `sex` and `localization`, as far as it has them."""
    nothing = [None] * len(table)
    columns = (table[name].tolist() if name in table else nothing for name in _OWN.values())
    return [read_patient(*row) for row in zip(*columns, strict=True)]
