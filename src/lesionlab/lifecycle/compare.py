"""`lesionlab compare`: runs or evaluations in, a table of differences and a verdict out."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesionlab.data.statistics import encode_labels
from lesionlab.errors import UsageError
from lesionlab.evaluation.compare import Comparison, compare
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.runs import directory
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.evaluated import read_evaluated
from lesionlab.taxonomy import Taxonomy


def compare_runs(first: Path, second: Path, *, seed: int = 0) -> Comparison:
    """Compare two finished runs, or evaluations of models, on the images of their test parts, which must be the same.

    Raises:
        UsageError: no finished run, other diagnoses, test parts that differ, or an image whose diagnosis differs.

    """
    runs = [directory.open_evaluated(folder) for folder in (first, second)]
    taxonomy = _common_taxonomy(*runs)
    tables = [_test_part(run) for run in runs]
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
    labels, lesions = encode_labels(a["truth"], taxonomy), a["lesion_id"].to_numpy()
    both = (LabelledPredictions(labels, t[list(taxonomy.columns)].to_numpy(float), lesions, taxonomy) for t in (a, b))
    return compare(*both, seed=seed)


def differing_inputs(folders: Sequence[Path]) -> list[str]:
    """Say which evaluations were predicted from age, sex and site too, where others were from the picture alone."""
    with_metadata = [folder for folder in folders if _uses_metadata(directory.open_evaluated(folder))]
    if len(with_metadata) in (0, len(folders)):
        return []
    named = ", ".join(map(str, with_metadata))
    return [f"Note: {named} was predicted from age, sex and site too; the others were not, as far as they say."]


def _uses_metadata(opened: RunDirectory) -> bool:
    found = read_evaluated(opened)
    return found is not None and found.model.uses_metadata


def _same_split(first: Path, second: Path) -> str:
    for run, other in ((first, second), (second, first)):
        if (run / "splits.csv").exists():
            return f"Give both one split: --split {run / 'splits.csv'} for {other}."
    return "Evaluate both models with one --split FILE.csv."


def _common_taxonomy(first: RunDirectory, second: RunDirectory) -> Taxonomy:
    """Give the diagnoses that both runs have, in one order; refuse runs that differ in them."""
    one, other = first.taxonomy, second.taxonomy
    if one.dx != other.dx or one.columns != other.columns:
        differing = sorted(set(one.dx) ^ set(other.dx)) or ["their order or columns"]
        raise UsageError(
            f"{first.folder} and {second.folder} have different diagnoses ({one.name}, {other.name}): {', '.join(differing)}. "
            "Only runs with the same diagnoses can be compared: train or evaluate both on data of one set."
        )
    return one


def _test_part(run: RunDirectory) -> pd.DataFrame:
    table = run.predictions()
    return table[table["part"] == "test"].set_index("image")
