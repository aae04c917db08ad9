"""What a model is trained on that is to be held against the foundation models of ../shared/benchmark: see docs/benchmark.md.

The 7,734 HAM10000 images of lesions that none of the 1,503 test images shows, and these; and a split of them for `--split`: the
1,503 to test on, a share of the other lesions to validate on, the rest to train on. Images that look like one of a test
image's lesion, though they have another lesion's id, are left out.

    python benchmarks/clean_training.py --out build/benchmark
    lesionlab run --data build/benchmark/ham10000 --split build/benchmark/split.csv --taxonomy ham10000 --recipe bundled \
        --weights build/packaged/mobilenet_v2.weights.h5 --out runs/benchmark
    lesionlab predict build/benchmark/ham10000/HAM10000_images --model runs/benchmark --out ours.csv
    python benchmarks/foundation_models.py --predictions ours.csv
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import lesionlab
from lesionlab.data.groups import groups_by_dx, part_size, shuffled
from lesionlab.lifecycle.prepare import inspect
from lesionlab.taxonomy import HAM10000
from packaged import SHARED, lay_out


def main() -> None:
    """Make both, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    data, folder = options.shared / "ham10000", options.out / "ham10000"
    published = pd.read_csv(options.shared / "benchmark" / "split.csv")
    tested = set(pd.read_csv(options.shared / "benchmark" / "CLIP-Large.csv")["image"])
    wanted = tested | set(published.loc[published["part"] == "train", "image_id"])
    table = without_like_tested(data, folder, wanted, tested)
    parts = divide(table, tested)
    parts.to_csv(options.out / "split.csv", index=False)
    print(f"{folder}: {len(parts):,} images; {len(wanted) - len(parts)} that look like a test image's lesion left out")
    print(parts["part"].value_counts().to_string())


def without_like_tested(data: Path, folder: Path, wanted: set[str], tested: set[str]) -> pd.DataFrame:
    """Lay the images out, without those that look like a test image's lesion, and give their table with its groups.

    Which images are compared depends on which others there are, so that the search goes on until it finds none.
    """
    left = wanted
    while True:
        lay_out(data, folder, left.__contains__)
        table = inspect(lesionlab.read_collection(folder)).table
        is_tested = table["image_id"].isin(tested)
        is_like_tested = table["group"].isin(table.loc[is_tested, "group"]) & ~is_tested
        if not is_like_tested.any():
            return table
        left = left - set(table.loc[is_like_tested, "image_id"])


def divide(table: pd.DataFrame, tested: set[str]) -> pd.DataFrame:
    """Give `image_id` and `part` of each image: validation takes the recipe's share of each diagnosis' lesions."""
    is_tested = table["image_id"].isin(tested)
    rest = table[~is_tested]
    share = lesionlab.read_recipe("bundled").split.validation_share
    validated = [
        group
        for groups in groups_by_dx(rest, HAM10000).values()
        for group in shuffled(groups, 0)[: part_size(share, len(groups), most=len(groups) - 1)]
    ]
    part = np.select([is_tested, table["group"].isin(validated)], ["test", "validation"], "train")
    return table.assign(part=part)[["image_id", "part"]]


if __name__ == "__main__":
    main()
