"""Values of one row of a table to be scored, read strictly: each fault names its row and column.

Raises, in all of them: UsageError, a value that is missing, is no number or is out of range.
"""

import math
from pathlib import Path

from lesionlab.data.layouts.tables import number
from lesionlab.errors import UsageError
from lesionlab.evaluation.isic_challenges import DIAGNOSES, Challenge
from lesionlab.taxonomy import HAM10000

MARKS = {"benign": 0.0, "malignant": 1.0}  # as ISIC 2016 and 2020 write them
_IN_WORDS = {6: "six", 8: "eight", 10: "ten"}


def metadata_row(path: Path, line: int, row: dict[str, str], challenge: Challenge) -> list[float]:
    """The truth in the column `dx`, as one 1 and zeros in the challenge's columns."""
    column = challenge.column_of(row["dx"])
    if column is None:
        known = HAM10000.index_of if challenge is DIAGNOSES else challenge.columns
        raise UsageError(f"{path}, row {line}: dx {row['dx']!r} is not one of {', '.join(known)}.")
    return [float(column == own) for own in challenge.columns]


def one_hot_row(path: Path, line: int, row: dict[str, str], challenge: Challenge) -> list[float]:
    """The truth as the challenge's table has it: one 1, else zeros."""
    key = challenge.key_column
    values = [share(path, line, row, column, key) for column in challenge.columns]
    zeros = len(values) - 1
    if sorted(values) != [0.0] * zeros + [1.0]:
        raise UsageError(
            f"{path}, row {line} ({row[key]}): the truth needs one 1 and {_IN_WORDS[zeros]} 0 in ISIC's columns."
        )
    return values


def marks_row(path: Path, line: int, row: dict[str, str], challenge: Challenge) -> list[float]:
    """The truth about marks, each 0 or 1, in numbers or in words."""
    key, values = challenge.key_column, []
    for column in challenge.columns:
        mark = MARKS.get(row[column].lower())
        values.append(_number(path, line, row, column, key) if mark is None else mark)
        if values[-1] not in (0, 1):
            raise UsageError(f"{path}, row {line} ({row[key]}), column {column}: {row[column]} is neither 0 nor 1.")
    return values


def share(path: Path, line: int, row: dict[str, str], column: str, key: str) -> float:
    """A probability, 0 to 1."""
    value = _number(path, line, row, column, key)
    if not 0 <= value <= 1:
        raise UsageError(f"{path}, row {line} ({row[key]}), column {column}: {row[column]} is outside 0 to 1.")
    return value


def weight(path: Path, line: int, row: dict[str, str], column: str) -> float:
    """A weight, 0 or more; 1 where the table has none."""
    if column not in row:
        return 1.0
    value = _number(path, line, row, column)
    if not 0 <= value < math.inf:
        raise UsageError(f"{path}, row {line}, column {column}: the weight {row[column]} is not 0 or more.")
    return value


def _number(path: Path, line: int, row: dict[str, str], column: str, key: str = "") -> float:
    text = row[column].strip()
    try:
        value = number(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        what = "the value is missing" if text.lower() in ("", "nan", "na", "null") else f"{text!r} is no number"
        of = f" ({row[key]})" if key else ""
        raise UsageError(f"{path}, row {line}{of}, column {column}: {what}.")
    return value
