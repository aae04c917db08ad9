"""The files that predictions are written to: tables in ISIC's columns, CSV or Parquet, a row an image."""

import csv
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from pathlib import Path

from lesionlab.errors import UsageError, why_missing
from lesionlab.inference.predictions import Prediction, short

Writer = Callable[[Sequence[Prediction], Path], None]


def csv_header(columns: Sequence[str]) -> list[str]:
    """Give the header of ISIC's table for the columns of a taxonomy."""
    return ["image", *columns]


def csv_row(prediction: Prediction) -> list[str]:
    """Give a row of ISIC's table, its numbers `short`."""
    return [prediction.image, *(repr(short(value)) for value in prediction.probabilities.values())]


def csv_line(row: Iterable[str]) -> str:
    """Write a row as a line of CSV, its end included."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def csv_writer(columns: Sequence[str]) -> Writer:
    """Give a function that writes predictions of a taxonomy's `columns` as a CSV file."""

    def write(predictions: Sequence[Prediction], path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(csv_header(columns))
            writer.writerows(map(csv_row, predictions))

    return write


def parquet_writer(columns: Sequence[str]) -> Writer:
    """Give a function that writes predictions as a Parquet file: with path, diagnosis and decision too.

    Raises:
        UsageError: PyArrow is not installed.

    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        reason = why_missing("--shard-format parquet", "PyArrow", "stored")
        raise UsageError(f"{reason}. Or write --shard-format csv.") from error
    texts, numbers = ("image", "path", "dx", "decision"), (*columns, "malignant_probability", "uncertainty")
    schema = pa.schema(
        [(name, pa.string()) for name in texts[:2]]
        + [(name, pa.float64()) for name in numbers]
        + [(name, pa.string()) for name in texts[2:]]
    )

    def write(predictions: Sequence[Prediction], path: Path) -> None:
        rows = [
            dict(zip(columns, item.probabilities.values(), strict=True))
            | {"image": item.image, "path": item.source, "dx": item.dx, "decision": item.decision}
            | {"malignant_probability": item.malignant_probability, "uncertainty": item.uncertainty}
            for item in predictions
        ]
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)

    return write
