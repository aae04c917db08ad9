"""What the benchmarks of a trained model look at: the images of each part of its split."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesionlab.data.layouts.joined import folder_of_row, read_data
from lesionlab.taxonomy import Taxonomy


def add_model_arguments(parser: argparse.ArgumentParser, *, needs_split: bool = True) -> None:
    """Add what names a model, its images and its split."""
    parser.add_argument("model", type=Path, help="a .onnx file")
    parser.add_argument("--data", type=Path, action="append", required=True, help="of its run, in the same order")
    parser.add_argument("--split", type=Path, required=needs_split, help="splits.csv of its run")


def images_of_split(data: Sequence[Path], split: Path, taxonomy: Taxonomy) -> pd.DataFrame:
    """Give a row an image of a split, as the folders are read, with its `part`, `group` and the number of its `folder`."""
    collection = read_data(tuple(data) if len(data) > 1 else data[0], taxonomy)
    table = collection.table.assign(folder=folder_of_row(collection).to_numpy())
    parts = pd.read_csv(split, dtype=str)[["image_id", "group", "part"]]
    found = table.merge(parts, on="image_id", validate="one_to_one")
    if len(found) != len(parts):
        raise SystemExit(f"{split} names {len(parts) - len(found)} images that are not in {', '.join(map(str, data))}.")
    return found


def drawn(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Draw `most` rows of more, the same each time."""
    return table.sample(most, random_state=0) if len(table) > most else table
