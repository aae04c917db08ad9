"""Read a table that a person may have saved from anything: any encoding, any separator, and say where it is wrong.

In: a text file. Out: strings, as rows (`read_rows`, without pandas) or as a table. Rows are named by their line in the file; the
header is line 1.
"""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lesionlab.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

ROW = "line in the file"  # kept beside each row; no header can hold it, since blanks in a header become "_"
IMAGE_COLUMNS = ("image_id", "isic_id", "image", "img_id", "image_name")  # of several, the first that is there
SEPARATORS = (",", ";", "\t", "|")
UNKNOWN_WORDS = ("", "unknown", "nan", "na", "n/a", "none", "null", "-", "?")
MAX_BYTES = 200_000_000  # HAM10000's table has 0.7 MB
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_START_BYTES = 4096
_SEPARATOR_LINE = re.compile(r'\A"?sep=.?"?[^\S\n]*\n', re.IGNORECASE)


def read_table(path: Path, header: Sequence[str] | None = None) -> "pd.DataFrame":
    """Read a table.

    Column names are stripped and lower-cased, blanks and hyphens in them become `_`; columns without a name are left out.
    Values are stripped. Lines without any value are passed over.

    Args:
        path: the file.
        header: names of the columns of a table that begins with its first row; None where the first row names them.

    Returns:
        A row per row of the file: strings, and the column `ROW` with the line it begins in.

    Raises:
        UsageError: as `read_rows`.
    """
    import pandas as pd

    names, rows = read_rows(path, tidy, header)
    table = pd.DataFrame([cells for _, cells in rows], columns=names, dtype=str)
    table = table.drop(columns=[name for name in names if not name])
    table[ROW] = [line for line, _ in rows]
    return table


def read_rows(
    path: Path,
    rename: Callable[[str], str] = str,
    names: Sequence[str] | None = None,
    *,
    without_header: Callable[[list[str]], Sequence[str]] | None = None,
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a table as it stands: the column names, renamed, and the line that each row begins in with its stripped cells.

    Args:
        path: of the table.
        rename: gives a column's name as the caller knows it.
        names: of the columns of a table that begins with its first row; None where the first row names them.
        without_header: to find that out: from the cells of the first row, gives the columns' names where that row is one of
            values, else nothing.

    Raises:
        UsageError: the file cannot be opened, is no text, is empty, has no rows, repeats a column, has a row of
            another length or an open quote.
    """
    rows = _split(_decode(_read(path), path), path)
    if not rows:
        raise UsageError(f"{path} is empty: it should hold a header and a row for each image.")
    if without_header:
        names = without_header(rows[0][1]) or None
    (number, first), *rows = rows if names is None else [(0, list(names)), *rows]
    header = [rename(name) for name in first]
    repeated = next((name for name in header if name and header.count(name) > 1), None)
    if repeated:
        raise UsageError(f"{path}, row {number}: the column {repeated!r} stands there twice. Keep one.")
    if not rows:
        raise UsageError(f"{path} has a header but no rows: there should be one for each image.")
    return header, [(line, _fit(cells, len(header), path, line)) for line, cells in rows]


def read_start(path: Path) -> tuple[list[str], list[str]]:
    """Give a table's column names as `read_table` does, and its first row; empty lists for what is not there."""
    found: list[list[str]] = []
    try:
        with path.open("rb") as file:
            text = _decode(file.read(_START_BYTES), path, is_whole=False)
        for _, cells in islice(_parse(text), 2):
            found.append(cells)
    except (UsageError, OSError, csv.Error):
        pass  # what stands before the fault is read
    header, first_row = (found + [[], []])[:2]
    return [tidy(name) for name in header], first_row


def number(text: str) -> float:
    """Read a number; a comma is its decimal point where there is one comma and no point.

    Raises:
        ValueError: it is no number.
    """
    if "_" in text:
        raise ValueError(f"{text!r} is no number.")
    return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)


def tidy(name: str) -> str:
    """Write a column's name as `read_table` does."""
    return re.sub(r"[\s-]+", "_", name.lower())


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} has more than {MAX_BYTES / 1e6:.0f} MB: that is too large for a table.")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be opened ({error.strerror}).") from error


def _decode(data: bytes, path: Path, *, is_whole: bool = True) -> str:
    """Decode UTF-8, UTF-16 with or without a mark, or else Windows-1252, which is what Excel writes as plain CSV.

    Where the data are not the whole file, a character that is cut at their end is left out.
    """
    if data.startswith(b"PK\x03\x04"):
        raise UsageError(f"{path} is an Excel workbook or a ZIP archive, not a text table: save it as CSV (UTF-8).")
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), None) or _guess_utf16(data) or "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data, is_whole)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise UsageError(f"{path} begins as UTF-16 but is not ({error.reason}): save it as UTF-8.") from error
        text = _decode_bytewise(data)
    header = text.lstrip().split("\n", 1)[0]
    if header.startswith("<"):
        raise UsageError(f"{path} is a web page, not a text table: download the file itself.")
    if re.search(r"[\x00-\x08\x0e-\x1f]", header):
        raise UsageError(f"{path} is not a text table: save it as CSV (UTF-8).")
    return text


def _decode_bytewise(data: bytes) -> str:
    """Decode Windows-1252, or Latin-1 where bytes stand that Windows-1252 lacks."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _guess_utf16(data: bytes) -> str | None:
    """Recognise UTF-16 that lacks its mark: in a header, every other byte is zero."""
    even, odd = data[0:64:2], data[1:64:2]
    if odd and not any(odd) and all(even):
        return "utf-16-le"
    return "utf-16-be" if even and not any(even) and all(odd) else None


def _split(text: str, path: Path) -> list[tuple[int, list[str]]]:
    """Split text into rows that hold something, as `_parse` does; open quotes are a fault of the file."""
    try:
        return list(_parse(text))
    except csv.Error as error:
        raise UsageError(f"{path}, {error}. Mend the quotes of this row.") from error


def _parse(text: str) -> Iterator[tuple[int, list[str]]]:
    """Give the line that each row begins in, and its stripped cells; Excel's first line `sep=;` is no row."""
    text = _SEPARATOR_LINE.sub("\n", text.replace("\r\n", "\n").replace("\r", "\n"))
    separator = max(SEPARATORS, key=text.lstrip("\n").split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield line, stripped
            line = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"row {line}: {error}") from error


def _fit(cells: list[str], number: int, path: Path, line: int) -> list[str]:
    """Take empty cells off a row's end where it is longer than the header; any other length is a fault."""
    if len(cells) == number or (len(cells) > number and not any(cells[number:])):
        return cells[:number]
    raise UsageError(
        f"{path}, row {line}: {len(cells)} values where the header has {number}. Mend the separators of this row."
    )
