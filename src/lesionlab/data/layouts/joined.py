"""Several folders in, one collection out: what has one id in two of them is kept together, and each image has an id of its own.

Ids say little between folders: HAM10000's lesion ids mean the same wherever they stand, and a clinic's numbers do not. So an
image or lesion of a later folder whose id an earlier one has gets the folder's name before its id. Where nine in ten of such
ids have one diagnosis in both folders, they are taken for the same, and those that do are joined for the split. The pictures
themselves are compared afterwards, as those of one folder are (`lesionlab.data.clean`).
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesionlab.data.layouts.findings import Finding, finding
from lesionlab.data.layouts.metadata import UNKNOWN
from lesionlab.data.layouts.recognise import TABLE_COLUMNS, Collection, index_images, read_collection
from lesionlab.errors import UsageError
from lesionlab.folders import Data, each, short_names
from lesionlab.taxonomy import Diagnosis, Taxonomy, from_facts, plain

_AGREE = 0.9  # of shared ids, from which they are of the same images or lesions; of unrelated numbers under half agree
_TOLD = "the later folder's name is put before it"
_SAME = "taken for the same, and kept on one side of a split"
_OTHER = "taken for numbers of other pictures, unless these are alike"


def read_data(data: Data, taxonomy: Taxonomy | None = None, image_types: tuple[str, ...] | None = None) -> Collection:
    """Read one folder, or several as one; the others as of `read_collection`. No taxonomy: of several, the diagnoses of all.

    Raises:
        UsageError: as `read_collection`; or a folder is given twice, or lies in another.
    """
    folders = each(data)
    if not folders:
        raise UsageError("Give a folder of images: the list of them is empty.")
    _refuse_nested(folders)
    collections = [read_collection(folder, taxonomy, image_types) for folder in folders]
    return collections[0] if len(collections) == 1 else _joined(collections)


def count_images(data: Data) -> int:
    """Count the image files of the folders.

    Raises:
        UsageError: as `index_images`; or a folder is given twice, or lies in another.
    """
    _refuse_nested(each(data))
    return sum(len(index_images(folder)) for folder in each(data))


def folder_of_row(collection: Collection) -> pd.Series:
    """The number of the folder, from 0, that each row of a collection's table was read from."""
    numbers = [number for number, size in enumerate(collection.sizes) for _ in range(size)]
    return pd.Series(numbers or 0, index=collection.table.index)


def _refuse_nested(folders: Sequence[Path]) -> None:
    for number, folder in enumerate(folders):
        for other in folders[:number]:
            one, two = folder.resolve(), other.resolve()
            if one == two:
                raise UsageError(f"{folder} is given twice. Give each folder once.")
            if one.is_relative_to(two) or two.is_relative_to(one):
                raise UsageError(f"Of {other} and {folder} one lies in the other: its images would be read twice.")


def _joined(collections: Sequence[Collection]) -> Collection:
    names = short_names([one.folder for one in collections], "-")
    table = _with_dataset(collections[0].table, names[0])
    same: list[tuple[str, str]] = []
    renamed: list[Finding] = []
    for one, name in zip(collections[1:], names[1:], strict=True):
        other, pairs, found = _told_apart(table, _with_dataset(one.table, name), name)
        table = pd.concat([table, other], ignore_index=True)
        same += pairs
        renamed += found
    further = table.columns.difference(list(TABLE_COLUMNS))
    table[further] = table[further].fillna(UNKNOWN)
    found = [_prefixed(single, name) for one, name in zip(collections, names, strict=True) for single in one.findings]
    return Collection(
        collections[0].folder,
        " and ".join(dict.fromkeys(one.layout for one in collections)),
        table,
        (*found, *renamed),
        _united([one.taxonomy for one in collections]),
        pd.concat([one.set_aside for one in collections], ignore_index=True),
        others=tuple(one.folder for one in collections[1:]),
        sizes=tuple(len(one.table) for one in collections),
        same=tuple(same),
    )


def _united(taxonomies: Sequence[Taxonomy]) -> Taxonomy:
    """The diagnoses of all: the first one's, and behind them those that only others have, without synonyms that are taken.

    Raises:
        UsageError: a name stands for different diagnoses in two of them.

    """
    first = taxonomies[0]
    diagnoses = {one.dx: one for several in reversed(taxonomies) for one in several.diagnoses}
    order = dict.fromkeys(one.dx for several in taxonomies for one in several.diagnoses)
    if set(order) == set(first.dx):
        return first
    name = "-".join(dict.fromkeys(one.name for one in taxonomies))
    united: list[Diagnosis] = []
    taken: set[str] = set()
    for dx in order:
        one = diagnoses[dx]
        united.append(dataclasses.replace(one, synonyms=tuple(way for way in one.synonyms if plain(way) not in taken)))
        taken |= {plain(way) for way in (one.dx, one.column, one.name, *one.synonyms)}
    try:
        return from_facts(dataclasses.replace(first, name=name, diagnoses=tuple(united)).to_facts(), name)
    except UsageError as error:
        raise UsageError(
            f"The folders have different sets of diagnoses ({', '.join(dict.fromkeys(one.name for one in taxonomies))}), which "
            f"cannot be taken together: {error} Give one set for all of them by --taxonomy."
        ) from error


def _with_dataset(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Where a table names no clinic, its folder stands for one, so that `--split source:FOLDER` can hold it out."""
    return table.assign(dataset=table["dataset"].where(table["dataset"] != UNKNOWN, name.lower()))


def _told_apart(
    table: pd.DataFrame, other: pd.DataFrame, name: str
) -> tuple[pd.DataFrame, list[tuple[str, str]], list[Finding]]:
    """Give ids of `other` that stand in `table` too the folder's name; pair the images that belong together by id."""
    told, found, pairs = other.copy(), [], []
    for column, what in (("image_id", "An image id"), ("lesion_id", "A lesion id")):
        is_shared = other[column].isin(table[column])
        told[column] = other[column].where(~is_shared, name + "-" + other[column])
        first = table.drop_duplicates([column, "dx"]).set_index([column, "dx"], drop=False)["image_id"]
        twins = first.reindex(pd.MultiIndex.from_frame(other[[column, "dx"]])).to_numpy(dtype=object)
        agrees = pd.notna(twins)
        is_same = agrees.sum() >= _AGREE * is_shared.sum()
        pairs += list(zip(twins[agrees], told["image_id"][agrees], strict=True)) if is_same else []
        how = f"in {agrees.sum():,} of {is_shared.sum():,} images the diagnosis agrees: " + (
            _SAME if is_same else _OTHER
        )
        items = told.loc[is_shared, column].unique()
        found += finding(
            f"{column.removesuffix('_id')}-shared", f"{what} stands in two folders", f"{_TOLD}; {how}", items
        )
    clash = told["image_id"][told["image_id"].duplicated() | told["image_id"].isin(table["image_id"])]
    if len(clash):
        raise UsageError(
            f"The image id {clash.iloc[0]!r} would stand twice among the folders: rename the folder {name}."
        )
    return told, pairs, found


def _prefixed(found: Finding, name: str) -> Finding:
    return dataclasses.replace(found, items=tuple(f"{name}: {item}" for item in found.items))
