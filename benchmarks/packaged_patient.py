"""What age, sex and site add to the packaged model, and the writing of them into its file, as a run does since it was made.

    python benchmarks/packaged_patient.py src/lesionlab/models/bundled.onnx --data build/packaged/ham10000 \
        --data ../shared/milk10k --split build/packaged/splits.csv [--write]

Log odds are fitted on the training part, their share is chosen on the validation part; the test part is measured without and
with them. Then once more fitted and chosen on the first folder alone, for the lesions of the last one that the first does not
show: what they add at a clinic that they were not fitted to (the network was trained on others of its lesions). `--write` puts
them into the file, in place; nothing else of it is touched.
"""

import argparse
import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pandas as pd

from held_out import add_model_arguments, images_of_split
from lesionlab.data.patient_table import patients_of
from lesionlab.evaluation.compare import Difference, compare
from lesionlab.evaluation.intervals import bootstrap, percentile_interval
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import headline
from lesionlab.evaluation.patient_fit import KnownPatients, choose_patient_terms
from lesionlab.evaluation.patient_terms import PatientTerms, with_patients
from lesionlab.evaluation.prediction_sets import prediction_sets
from lesionlab.evaluation.tasks import is_malignant
from lesionlab.files import replacing
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.facts import Facts
from packaged_sets import labelled, see_all

_BEFORE = "### Operating points"
_ON_CARD = """\
The model file takes age, sex and site (`lesionlab predict --metadata`, and the page): log odds of each diagnosis, fitted on the
training part; a share of them was chosen by log loss on the validation part, and taken since its gain there is larger than its
standard error. Of another clinic that says little. All other figures here are of the image alone."""


def main() -> None:
    """Fit, measure, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    parser.add_argument("--write", action="store_true", help="put the log odds into the file")
    options = parser.parse_args()
    bundle = open_bundle(options.model)
    table = images_of_split(options.data, options.split, bundle.facts.taxonomy)
    rest = table[table["part"] != "train"].reset_index(drop=True)
    unseen = labelled(rest, see_all(bundle, rest).probabilities, bundle.facts.taxonomy)
    terms = _chosen(table, unseen)
    _print_header()
    for part in ("validation", "test"):
        is_part = (rest["part"] == part).to_numpy()
        for number, folder in enumerate(options.data):
            _print_row(f"{part}, {folder.name}", rest, unseen, is_part & (rest["folder"] == number).to_numpy(), terms)
        _print_row(f"{part}, both", rest, unseen, is_part, terms)
    print()
    for number, folder in enumerate(options.data):
        is_tested = ((rest["part"] == "test") & (rest["folder"] == number)).to_numpy()
        tested, patients = unseen.take(is_tested), patients_of(rest[is_tested])
        moved = tested.with_probabilities(with_patients(tested.probabilities, patients, terms))
        print(f"test, {folder.name}, without: {_decisions(tested, bundle.facts)}")
        print(f"test, {folder.name}, with:    {_decisions(moved, bundle.facts)}")
    first, is_first = table[table["folder"] == 0], (rest["folder"] == 0).to_numpy()
    elsewhere = _chosen(first, unseen.take(is_first))
    is_new = ~is_first & ~rest["group"].isin(set(first["group"])).to_numpy()
    print("\nfitted and chosen on the first folder alone:\n")
    _print_header()
    _print_row("validation and test, lesions that the first folder does not show", rest, unseen, is_new, elsewhere)
    if options.write:
        _write(options.model, terms)


def _chosen(table: pd.DataFrame, unseen: LabelledPredictions) -> PatientTerms:
    trained, rest = table[table["part"] == "train"], table[table["part"] != "train"]
    is_validated = (rest["part"] == "validation").to_numpy()
    labels = np.array([unseen.taxonomy.index_of[dx] for dx in trained["dx"]])
    known = KnownPatients(patients_of(trained), labels, trained["lesion_id"].to_numpy(), trained["dataset"].to_numpy())
    found = choose_patient_terms(known, unseen.take(is_validated), patients_of(rest[is_validated]))
    if found is None:
        raise SystemExit("age, sex and site do not help on the validation part")
    return found


def _decisions(part: LabelledPredictions, facts: Facts) -> str:
    """Say what the file's own thresholds and sets come to."""
    malignant = part.probabilities[:, list(part.taxonomy.is_malignant)].sum(axis=1)
    is_called, is_so = malignant >= (facts.thresholds.malignant or 0.5), is_malignant(part)
    assert facts.conformal
    sets = prediction_sets(part.probabilities, facts.conformal.thresholds)
    held = sets[np.arange(len(part)), part.labels].mean()
    return (
        f"malignant: sensitivity {is_called[is_so].mean():.3f}, specificity {(~is_called[~is_so]).mean():.3f}; sets hold the "
        f"truth in {held:.3f}, {sets.sum(axis=1).mean():.2f} diagnoses in a set"
    )


def _print_header() -> None:
    print("| images | n | log loss | balanced accuracy | macro AUC | malignant, AUC | accuracy |")
    print("| --- | --- | --- | --- | --- | --- | --- |")


def _print_row(
    name: str, table: pd.DataFrame, unseen: LabelledPredictions, chosen: np.ndarray, terms: PatientTerms
) -> None:
    part = unseen.take(chosen)
    moved = part.with_probabilities(with_patients(part.probabilities, patients_of(table[chosen]), terms))
    found = compare(part, moved)
    figures = found.figures | {"log_loss": _log_losses(part, moved), "malignant": found.malignant_auc}
    cells = [_cell(figures[key]) for key in ("log_loss", "balanced_accuracy", "macro_auc", "malignant", "accuracy")]
    print(f"| {name} | {len(part):,} | " + " | ".join(cells) + " |")


def _log_losses(part: LabelledPredictions, moved: LabelledPredictions) -> Difference:
    first, second = (headline(one.labels, one.probabilities).log_loss for one in (part, moved))
    before, after = (bootstrap(one, seed=0)["log_loss"] for one in (part, moved))
    low, high = percentile_interval(after - before)
    return Difference(first, second, second - first, (low, high))


def _cell(one: Difference) -> str:
    return f"{one.first:.3f}, {one.second:.3f} ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})"


def _write(path: Path, terms: PatientTerms) -> None:
    model = onnx.load(path)
    written = {prop.key: prop.value for prop in model.metadata_props}
    card = json.loads(written["card"])
    if _ON_CARD not in card:
        card = card.replace(_BEFORE, f"{_ON_CARD}\n\n{_BEFORE}", 1)
    written |= {"patient": json.dumps(msgspec.to_builtins(terms)), "card": json.dumps(card)}
    onnx.helper.set_model_props(model, written)
    with replacing(path) as temporary:
        onnx.save(model, temporary)
    print(f"\n{path} takes age, sex and site")


if __name__ == "__main__":
    main()
