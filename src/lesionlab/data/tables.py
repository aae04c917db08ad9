"""Read a table that a person may have saved from anything: any encoding, any separator, and say where it is wrong.

Rows are named by their line in the file; the header is line 1.
"""

import csv
import difflib
import io
import re
from pathlib import Path

import pandas as pd

from lesionlab.diagnosis import DIAGNOSES, DX
from lesionlab.errors import UsageError

ROW = "_row"  # the line in the file, kept beside each row until the table is checked
# Encodings in the order in which they are tried; Latin-1 reads anything.
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_DX_OF_NAME = {d.name: d.dx for d in DIAGNOSES} | {
    "nevus": "nv",
    "basal cell carcinoma": "bcc",
    "actinic keratosis": "akiec",
    "bowen's disease": "akiec",
    "benign keratosis-like lesions": "bkl",
    "melanocytic nevi": "nv",
    "vascular lesions": "vasc",
}


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of strings; column names are stripped and lower-cased, `_row` holds each row's line in the file.

    Raises:
        UsageError: the file is empty, has no rows, repeats a column, or has a row of another length.
    """
    text = decode_text(path)
    lines = [(number, line) for number, line in _rows(text, path) if any(cell.strip() for cell in line)]
    if not lines:
        raise UsageError(f"{path} is empty. It should hold a header and a row for each image.")
    header = [cell.strip().lower() for cell in lines[0][1]]
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise UsageError(f"{path}, line 1: the column {repeated[0]!r} stands there twice. Keep one.")
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise UsageError(
                f"{path}, row {number}: {len(cells)} values where the header has {len(header)}. "
                "Mend the separators of this row."
            )
    if len(lines) == 1:
        raise UsageError(f"{path} has a header but no rows.")
    table = pd.DataFrame([[cell.strip() for cell in cells] for _, cells in lines[1:]], columns=header, dtype=str)
    table[ROW] = [number for number, _ in lines[1:]]
    return table.drop(columns=[name for name in header if not name])


def decode_text(path: Path) -> str:
    """Read a text file as UTF-8, UTF-16 where it says so, or else Latin-1.

    Raises:
        UsageError: the file is binary.
    """
    data = path.read_bytes()
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                raise UsageError(
                    f"{path} begins as {encoding} but is not ({error.reason}). Save it as UTF-8."
                ) from error
    if b"\x00" in data:
        raise UsageError(f"{path} is not a text table: it holds zero bytes. Save it as CSV in UTF-8.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def require(table: pd.DataFrame, columns: list[str], path: Path) -> None:
    """Raise UsageError where a column is missing; the nearest that is there is named."""
    for column in columns:
        if column not in table.columns:
            there = [name for name in table.columns if name != ROW]
            near = difflib.get_close_matches(column, there, n=1, cutoff=0.6)
            hint = f" (is it {near[0]!r}?)" if near else ""
            raise UsageError(f"{path} has no column {column!r}{hint}; it has {', '.join(there)}.")


def read_dx(value: str, where: str) -> str:
    """Give the code of a diagnosis written as code or name, in any case.

    Raises:
        UsageError: not one of the seven; the nearest is named.
    """
    text = value.strip().lower()
    if text in DX:
        return text
    if text in _DX_OF_NAME:
        return _DX_OF_NAME[text]
    near = difflib.get_close_matches(text, [*DX, *_DX_OF_NAME], n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise UsageError(f"{where}: unknown diagnosis {value!r}{hint}. Known are {', '.join(DX)}.")


def check_image_id(value: str, where: str) -> str:
    """Give an image id without a suffix; refuse one that is empty or could lead out of the folder."""
    image_id = re.sub(r"\.(jpe?g|png|bmp|tiff?|webp)$", "", value.strip(), flags=re.IGNORECASE)
    if not image_id:
        raise UsageError(f"{where}: image_id is empty.")
    if re.search(r"[/\\\x00]", image_id) or image_id in (".", ".."):
        raise UsageError(f"{where}: image_id {value!r} is a path. It must be a file name without folder.")
    return image_id


def _rows(text: str, path: Path) -> list[tuple[int, list[str]]]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    header = text.lstrip("\n").split("\n", 1)[0]
    separator = max((",", ";", "\t"), key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        for cells in reader:
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise UsageError(f"{path}, row {reader.line_num}: {error}. Mend the quotes of this row.") from error
    return rows
