"""`lesionlab compare`: runs or evaluations in, a table of differences and a verdict out."""

from pathlib import Path

import pandas as pd

from lesionlab.data.statistics import encode_labels
from lesionlab.errors import UsageError
from lesionlab.evaluation.compare import Comparison, compare
from lesionlab.files import read_csv
from lesionlab.runs import directory
from lesionlab.taxonomy import HAM10000, ISIC_COLUMNS


def compare_runs(first: Path, second: Path, *, seed: int = 0) -> Comparison:
    """Compare two finished runs, or evaluations of models, on the images of their test parts, which must be the same.

    Raises:
        UsageError: no finished run, test parts that differ, or an image whose diagnosis differs.

    """
    tables = [_test_part(folder) for folder in (first, second)]
    images = [set(table.index) for table in tables]
    if images[0] != images[1]:
        differing = sorted(images[0] ^ images[1])
        raise UsageError(
            f"{first} and {second} were tested on different images: {len(differing):,} are in one test part only "
            f"({', '.join(differing[:3])}). {_same_split(first, second)}"
        )
    a, b = tables[0], tables[1].loc[tables[0].index]
    relabelled = a.index[a["truth"] != b["truth"]]
    if len(relabelled):
        raise UsageError(f"{first} and {second} give {len(relabelled):,} images another truth: {relabelled[0]} is one.")
    probabilities = [table[list(ISIC_COLUMNS)].to_numpy(float) for table in (a, b)]
    return compare(encode_labels(a["truth"], HAM10000), a["lesion_id"].to_numpy(), *probabilities, seed=seed)


def _same_split(first: Path, second: Path) -> str:
    for run, other in ((first, second), (second, first)):
        if (run / "splits.csv").exists():
            return f"Give both one split: --split {run / 'splits.csv'} for {other}."
    return "Evaluate both models with one --split FILE.csv."


def _test_part(folder: Path) -> pd.DataFrame:
    evaluation = directory.read_evaluation(folder)
    if evaluation is None:
        directory.read_finished(folder)
    elif not evaluation.get("finished"):
        raise UsageError(f"The evaluation in {folder} is not finished. The same 'lesionlab evaluate' makes it anew.")
    path, columns = folder / "predictions.csv", ["lesion_id", "truth", *ISIC_COLUMNS]
    try:
        table = read_csv(path, ISIC_COLUMNS)
        return table[table["part"] == "test"].set_index("image")[columns]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read as a run writes it ({error}). Take another, or make it anew."
        ) from error
