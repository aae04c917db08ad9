"""The split that the packaged model was trained on, made anew without training: see docs/experiments.md.

It follows from the two sets, the recipe `bundled` and the seed. Finding what lesions they share takes minutes of both cores, and
is kept in the cache (LESIONLAB_CACHE).

    python benchmarks/packaged.py --out build/packaged
    python benchmarks/packaged_split.py --data build/packaged/ham10000 --data ../shared/milk10k --out build/packaged/splits.csv
"""

import argparse
from pathlib import Path

from lesionlab.data.layouts.joined import read_data
from lesionlab.data.split import SPLIT_COLUMNS, describe_parts, split
from lesionlab.lifecycle.prepare import fingerprint, inspect
from lesionlab.recipe import read_recipe
from lesionlab.taxonomy import read_taxonomy


def main() -> None:
    """Write the table, and say what came of it, to be held against docs/model-card.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    recipe = read_recipe("bundled")
    collection = read_data(tuple(options.data), read_taxonomy(recipe.taxonomy))
    table = inspect(collection).table
    parts = split(table, recipe.split, collection.taxonomy, seed=0)
    table.assign(part=parts)[list(SPLIT_COLUMNS)].to_csv(options.out, index=False)
    print(f"{options.out}: {len(table):,} images, fingerprint {fingerprint(table)[:16]}")
    for part, counts in describe_parts(table, parts).items():
        print(f"  {part}: {counts}")


if __name__ == "__main__":
    main()
