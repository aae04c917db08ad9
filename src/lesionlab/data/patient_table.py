"""A table of what is known of each image's patient: `predict --metadata` reads it, and a run's own table has the same columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesionlab.data.image_formats import without_suffix
from lesionlab.data.layouts.tables import read_rows, tidy
from lesionlab.data.patient import Patient, read_patient
from lesionlab.errors import UsageError

_IMAGE = ("image_id", "isic_id", "image", "img_id", "image_name")
_NAMES = {  # of several for one value, the first that is there
    "age": ("age", "age_approx", "age_approximate"),
    "sex": ("sex", "gender"),
    "site": (
        "localization",
        "site",
        "anatom_site_general",
        "anatom_site_general_challenge",
        "location",
        "region",
    ),
}


@dataclass(frozen=True)
class PatientTable:
    """The patient of each image, by image id; `left_out` has what is not read, in words."""

    patients: Mapping[str, Patient]
    left_out: tuple[str, ...]


def read_patient_table(path: Path) -> PatientTable:
    """Read a table with a column of image ids and at least one of age, sex and site, by any of the names that data sets use.

    Raises:
        UsageError: the table cannot be read, lacks these columns, or says two things of one image.

    """
    header, rows = read_rows(path, tidy)
    image_column = next((name for name in _IMAGE if name in header), None)
    column_of = {value: next((name for name in names if name in header), None) for value, names in _NAMES.items()}
    if image_column is None or not any(column_of.values()):
        raise UsageError(
            f"{path} has the columns {', '.join(header)}; needed are one of {', '.join(_IMAGE)}, and age, sex or localization "
            "(site)."
        )
    at = {value: header.index(name) for value, name in column_of.items() if name}
    patients: dict[str, Patient] = {}
    left_out: list[str] = []
    for line, cells in rows:
        image = without_suffix(cells[header.index(image_column)])
        patient, unread = read_patient(**{value: cells[place] for value, place in at.items()})
        left_out += [f"{path}, row {line}: {words}" for words in unread]
        if image and patients.setdefault(image, patient) != patient:
            raise UsageError(f"{path}, row {line}: of image {image!r} a row above says something else. Keep one.")
    return PatientTable(patients, tuple(left_out))


def patients_of(table: pd.DataFrame) -> Sequence[Patient]:
    """Give the patient of each row of a collection's table: `age`, `sex` and `localization`, as far as it has them."""
    nothing = [None] * len(table)
    columns = (table[name].tolist() if name in table else nothing for name in ("age", "sex", "localization"))
    return [read_patient(*row)[0] for row in zip(*columns, strict=True)]
