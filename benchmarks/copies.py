"""How many lesions of two photographs are found, how many are joined wrongly: `python benchmarks/copies.py HAM10000 MILK10K`.

HAM10000 and MILK10k share lesions, often in another photograph; `lesions_in_ham10000.csv` in MILK10k's folder lists those that
were found by an earlier search (lesion_id, isic_id, ham_lesion_id). Measured are: how many of the listed are joined, over any
number of pictures; how many images of HAM10000's lesions with several images are joined to another image of theirs; and the
pairs of different lesions that are joined and not listed, with what their metadata agree in (diagnosis, sex, age to 5 years),
since a false join agrees in them by chance alone. Then copies made of images: turned, mirrored, stretched, cropped, saved anew.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lesionlab.data.duplicates import near_duplicates
from lesionlab.data.layouts.joined import read_data
from lesionlab.data.point_matches import point_matches
from lesionlab.lifecycle.prepare import LOOK_PX, decode

Pairs = list[tuple[str, str]]
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "turned by 17 degrees": lambda image: image.rotate(17, Image.Resampling.BICUBIC),
    "turned by 73 degrees": lambda image: image.rotate(73, Image.Resampling.BICUBIC),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "mirrored, a quarter turn": lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    "stretched by 4 : 3": lambda image: image.resize((image.width * 4 // 3, image.height)),
    "the middle 60 %": lambda image: image.crop(
        (image.width // 5, image.height // 5, image.width * 4 // 5, image.height * 4 // 5)
    ).resize(image.size),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ham10000", type=Path)
    parser.add_argument("milk10k", type=Path, help="with lesions_in_ham10000.csv")
    parser.add_argument("--texture", action="store_true", help="the search that needs no OpenCV, for comparison")
    parser.add_argument(
        "--others", type=int, help="beside the listed lesions, at most so many other images, for a quick try"
    )
    parser.add_argument(
        "--pairs", type=Path, help="write the joined pairs of different lesions into this .csv file, to look at"
    )
    options = parser.parse_args()
    listed = pd.read_csv(options.milk10k / "lesions_in_ham10000.csv", dtype=str)
    collection = read_data((options.ham10000, options.milk10k))
    table = taken(collection.table[collection.table["path"] != ""], listed, options.others)
    started, busy = time.perf_counter(), time.process_time()
    pairs = searched(collection, table, options.texture)
    print(
        f"{len(table):,} images of {table['lesion_id'].nunique():,} lesions: {time.perf_counter() - started:.0f} s, ",
        end="",
    )
    print(f"{time.process_time() - busy:.0f} s of the processor; {len(pairs):,} pairs of images")
    judged(table, pairs, listed, options.pairs)
    if not options.texture:
        altered(table)


def taken(table: pd.DataFrame, listed: pd.DataFrame, others: int | None) -> pd.DataFrame:
    """All images, or those of the listed lesions and some others."""
    if others is None:
        return table
    is_listed = table["lesion_id"].isin([*listed["lesion_id"], *listed["ham_lesion_id"]])
    more = table[~is_listed].sample(min(others, int((~is_listed).sum())), random_state=0)
    return pd.concat([table[is_listed], more])


def searched(collection: object, table: pd.DataFrame, is_texture: bool) -> Pairs:
    """Pairs of image ids."""
    ids = table["image_id"].tolist()
    if is_texture:
        pixels = decode(collection, LOOK_PX, LOOK_PX, "centre").pixels  # type: ignore[arg-type]
        found = near_duplicates(pixels, list(collection.table["image_id"]))  # type: ignore[attr-defined]
        return [(pair.image_id_a, pair.image_id_b) for pair in found if {pair.image_id_a, pair.image_id_b} <= set(ids)]
    return [(pair.image_id_a, pair.image_id_b) for pair in point_matches(table["path"].tolist(), ids)]


def judged(table: pd.DataFrame, pairs: Pairs, listed: pd.DataFrame, out: Path | None) -> None:
    """Print what was found of what is known, and what was joined beside it."""
    rows = table.set_index("image_id")
    lesion = rows["lesion_id"].to_dict()
    joined = pd.DataFrame(pairs, columns=["a", "b"])
    joined = joined.assign(lesion_a=joined["a"].map(lesion), lesion_b=joined["b"].map(lesion))
    names = {name: number for number, name in enumerate(sorted(set(lesion.values())))}
    ends = np.column_stack([joined["lesion_a"].map(names), joined["lesion_b"].map(names)]).astype(int)
    shape = (len(names), len(names))
    _, group = connected_components(coo_array((np.ones(len(ends)), ends.T), shape=shape), directed=False)
    there = listed[listed["lesion_id"].isin(names) & listed["ham_lesion_id"].isin(names)]
    found = [
        group[names[a]] == group[names[b]] for a, b in zip(there["lesion_id"], there["ham_lesion_id"], strict=True)
    ]
    print(f"listed lesions that are joined: {sum(found)} of {len(found)} ({np.mean(found):.1%})")
    own = joined[joined["lesion_a"] == joined["lesion_b"]]
    several = table[table["lesion_id"].duplicated(keep=False)]["image_id"]
    share = several.isin([*own["a"], *own["b"]]).mean()
    print(f"images of lesions with several images, joined to another of theirs: {share:.1%} of {len(several):,}")
    known = set(zip(there["ham_lesion_id"], there["lesion_id"], strict=True))
    beside = joined[joined["lesion_a"] != joined["lesion_b"]]
    beside = beside[[pair not in known for pair in zip(beside["lesion_a"], beside["lesion_b"], strict=True)]]
    beside = beside.assign(
        agree=[agreement(rows.loc[a], rows.loc[b]) for a, b in zip(beside["a"], beside["b"], strict=True)]
    )
    lesions = beside.groupby(["lesion_a", "lesion_b"])["agree"].max()
    print(
        f"other lesions joined: {len(lesions)} pairs of lesions; metadata agree in, of 3: {lesions.value_counts().to_dict()}"
    )
    if out:
        beside.to_csv(out, index=False)


def agreement(one: pd.Series, other: pd.Series) -> int:
    """In how many of diagnosis, sex and age two images agree, or have no value."""
    sexes, ages = {one["sex"], other["sex"]} - {"unknown"}, abs(one["age"] - other["age"])
    return int(one["dx"] == other["dx"]) + int(len(sexes) < 2) + int(not ages > 5)


def altered(table: pd.DataFrame, number: int = 100) -> None:
    """Print how many copies made of images are joined to their image, and with how many other images."""
    sample = table.drop_duplicates("lesion_id").sample(min(number, table["lesion_id"].nunique()), random_state=0)
    print("| copies | joined to their image | to another |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, alter in COPIES.items():
            files = []
            for row in sample.itertuples():
                files.append(Path(folder) / f"{name}-{row.image_id}.jpg")
                alter(Image.open(str(row.path)).convert("RGB")).save(files[-1], quality=90)
            ids = [*sample["image_id"], *(f"copy {image_id}" for image_id in sample["image_id"])]
            pairs = point_matches([*sample["path"], *map(str, files)], ids)
            right = sum(pair.image_id_b == f"copy {pair.image_id_a}" for pair in pairs)
            print(f"| {name} | {right} of {len(sample)} | {len(pairs) - right} |", flush=True)


if __name__ == "__main__":
    main()
