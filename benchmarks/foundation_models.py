"""Eight foundation models on HAM10000, from their published answers: on their test images, and on those that do not leak.

Of the 1,503 test images of the publishers' split (linear probes on frozen features; ../shared/benchmark/README.md has the
source) 613 show a lesion that other images, free for training, show too. Prints a row a model: accuracy, balanced accuracy and
macro AUC on all, and on the other 890, with 95 % intervals over lesions. `--predictions` adds a model of ours, trained on
the `train` rows of `split.csv` alone, and its paired differences on the 890 (theirs less ours).

    python benchmarks/foundation_models.py [--predictions FILE.csv]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from lesionlab.data.statistics import encode_labels
from lesionlab.evaluation.compare import compare
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import evaluate_part
from lesionlab.taxonomy import HAM10000

SHARED = Path(__file__).parents[2] / "shared"
FIGURES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_auc": "macro AUC"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--predictions", type=Path, help="of a model of ours: image, then ISIC's seven columns")
    options = parser.parse_args()
    truth = pd.read_csv(options.shared / "ham10000" / "HAM10000_metadata.csv").set_index("image_id")
    split = pd.read_csv(options.shared / "benchmark" / "split.csv")
    clean = set(split.loc[split["part"] == "test", "image_id"])
    files = sorted(file for file in (options.shared / "benchmark").glob("*.csv") if file.name != "split.csv")
    everywhere = set(pd.read_csv(files[0])["image"])
    ours = read(options.predictions, truth, clean) if options.predictions else None
    named = {file.stem: file for file in files} | ({"lesionlab": options.predictions} if options.predictions else {})
    print(
        f"| model | all {len(everywhere):,}: {', '.join(FIGURES.values())} | clean {len(clean)}: the same | paired, on these |"
    )
    print("| --- | --- | --- | --- |")
    for name, file in named.items():
        apart = read(file, truth, clean)
        paired = difference(ours, apart) if ours is not None and name != "lesionlab" else ""
        print(f"| {name} | {figures(read(file, truth, everywhere))} | {figures(apart)} | {paired} |")


def read(file: Path, truth: pd.DataFrame, wanted: set[str]) -> LabelledPredictions:
    """The answers of a file for the wanted images, in the order of their ids; every one must be there."""
    table = pd.read_csv(file).rename(columns={"image": "image_id"}).set_index("image_id")
    ids = sorted(wanted)
    rows = truth.loc[ids]
    values = table.loc[ids, list(HAM10000.columns)].to_numpy(float)
    return LabelledPredictions(
        encode_labels(rows["dx"], HAM10000),
        values / values.sum(axis=1, keepdims=True),
        rows["lesion_id"].to_numpy(),
        HAM10000,
    )


def figures(part: LabelledPredictions) -> str:
    """Each figure with its interval."""
    found = evaluate_part(part, seed=0)
    cells = []
    for name in FIGURES:
        low, high = found.intervals[name] or (np.nan, np.nan)
        cells.append(f"{getattr(found, name):.3f} ({low:.3f} to {high:.3f})")
    return ", ".join(cells)


def difference(ours: LabelledPredictions, theirs: LabelledPredictions) -> str:
    """Their figures less ours, on the same images."""
    found = compare(ours, theirs).figures
    parts = [
        f"{found[name].difference:+.3f} ({found[name].interval[0]:+.3f} to {found[name].interval[1]:+.3f})"
        for name in FIGURES
    ]
    return ", ".join(parts)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
