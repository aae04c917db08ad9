"""A run's test part of MILK10k, with and without the lesions that HAM10000 shows too.

The lesions that both sets show are the easier ones, and are not among those of a clinic that HAM10000 never saw.

    python benchmarks/packaged_test.py runs/bundled
    python benchmarks/packaged_test.py runs/held-out-milk10k --among build/packaged/splits.csv  # the test lesions of runs/bundled

With --write FILE.csv the images of the last row are the test part of a split of MILK10k: `lesionlab evaluate MODEL --data
../shared/milk10k --split FILE.csv --out DIR` of two models, and `lesionlab compare` of both, say whether they differ there.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, roc_auc_score

from lesionlab.taxonomy import HAM10000, read_taxonomy

SHARED = Path(__file__).parents[2] / "shared"


def main() -> None:
    """Print a row for all test lesions of MILK10k, and one for those that HAM10000 does not show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--among", type=Path, help="splits.csv of another run: only images of its test part")
    parser.add_argument(
        "--write", type=Path, metavar="FILE.csv", help="a split whose test part are the images of the last row"
    )
    options = parser.parse_args()
    table = pd.read_csv(options.run / "predictions.csv")
    ham10000 = set(pd.read_csv(options.shared / "ham10000" / "HAM10000_metadata.csv")["image_id"])
    common = set(pd.read_csv(options.shared / "milk10k" / "lesions_in_ham10000.csv")["isic_id"])
    table = table[(table["part"] == "test") & ~table["image"].isin(ham10000)]
    if options.among:
        other = pd.read_csv(options.among, dtype=str)
        table = table[table["image"].isin(other.loc[other["part"] == "test", "image_id"])]
    if options.write:
        tested = table.loc[~table["image"].isin(common), "image"]
        images = pd.Series(sorted(path.stem for path in (options.shared / "milk10k").rglob("*.jpg")), name="image_id")
        parts = images.isin(tested).map({True: "test", False: "train"})
        pd.DataFrame({"image_id": images, "part": parts}).to_csv(options.write, index=False)
    print("| lesions | n | sensitivity, mean of seven | macro AUC of seven | macro F1 of eleven | malignant, AUC |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, part in (("all", table), ("not in HAM10000", table[~table["image"].isin(common)])):
        print(f"| {name} | {len(part)} | " + " | ".join(f"{value:.3f}" for value in figures(part)) + " |")


def figures(part: pd.DataFrame) -> list[float]:
    """The four figures; a diagnosis that the part lacks is left out of the means over seven."""
    taxonomy = read_taxonomy("milk10k")
    dx, truth = np.array(taxonomy.dx), part["truth"].str.lower().to_numpy()
    probabilities = part[list(taxonomy.columns)].to_numpy()
    predicted = dx[probabilities.argmax(axis=1)]
    places = [taxonomy.dx.index(one) for one in HAM10000.dx]
    is_seven = np.isin(truth, HAM10000.dx)
    seven = probabilities[is_seven][:, places]
    seven /= seven.sum(axis=1, keepdims=True)
    there = [number for number, one in enumerate(HAM10000.dx) if (truth == one).any()]
    areas = [roc_auc_score(truth[is_seven] == HAM10000.dx[number], seven[:, number]) for number in there]
    sensitivities = [(predicted[truth == HAM10000.dx[number]] == HAM10000.dx[number]).mean() for number in there]
    is_malignant = [one in taxonomy.malignant for one in taxonomy.dx]
    return [
        float(np.mean(sensitivities)),
        float(np.mean(areas)),
        f1_score(truth, predicted, average="macro", labels=dx, zero_division=0),
        roc_auc_score(np.isin(truth, list(taxonomy.malignant)), probabilities[:, is_malignant].sum(axis=1)),
    ]


if __name__ == "__main__":
    main()
