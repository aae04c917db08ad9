"""What `lesionlab adapt` brings on n lesions of a clinic that the model never saw, tested on the others.

MILK10k (../shared/milk10k) without the lesions that HAM10000 shows too. Images go through the network once (cached); then n
lesions are drawn, adapted to, and the others are predicted, five times for each n. Prints a table, and writes JSON and a
figure:

    python benchmarks/adapt.py --model old.onnx --cache milk10k.npz --figure docs/your-clinic.png

The figures in docs/your-clinic.md are of the model file src/lesionlab/models/bundled.onnx at commit 50277b4, which was trained on
HAM10000 alone: a model that was trained on MILK10k too must not be measured here.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, roc_auc_score

from lesionlab.data.layouts.recognise import read_collection
from lesionlab.data.statistics import encode_labels
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.outputs import see
from lesionlab.lifecycle.adapt import in_clinic, mix_shift
from lesionlab.lifecycle.adapted_facts import ood_of, own_rule
from lesionlab.lifecycle.clinic_images import reader
from lesionlab.model.adapt.candidates import ClinicImages
from lesionlab.model.adapt.choose import choose
from lesionlab.model.adapt.start import start_from
from lesionlab.model.export.head import read_head
from lesionlab.report.style import BLUE, GREY, new_figure
from lesionlab.taxonomy import read_taxonomy

SIZES, DRAWS = (50, 100, 200, 500, 1000, 2000), 5
SEEN = "lesions_in_ham10000.csv"
FIGURES = (
    "balanced_accuracy_7",
    "balanced_accuracy_7_columns",
    "macro_f1_11",
    "log_loss_7",
    "malignant_auc",
    "rejected",
)


def embedded(bundle: Bundle, data: Path, cache: Path) -> dict[str, np.ndarray]:
    """Features, probabilities and ood scores of all images, with their labels; read from the cache where it is of this model."""
    if cache.exists():
        found = dict(np.load(cache))
        if str(found["model"]) == bundle.sha256:
            return found
    table = read_collection(data, None, None).table
    started = time.perf_counter()
    seen = see(bundle, len(table), reader(bundle, list(table["path"])), has_maps=False)
    print(f"embedded {len(table):,} images in {time.perf_counter() - started:.0f} s")
    if seen.features is None or seen.ood_scores is None:
        raise SystemExit(f"{bundle.facts.name} gives no features, or no score of what is not dermatoscopic.")
    made = {
        "features": seen.features,
        "probabilities": seen.probabilities,
        "ood_scores": seen.ood_scores,
        "lesions": table["lesion_id"].to_numpy(str),
        "dx": table["dx"].to_numpy(str),
        "model": np.array(bundle.sha256),
    }
    np.savez(cache, allow_pickle=False, **made)
    return made


def figures(labels: np.ndarray, found: np.ndarray, seven: list[int], malignant: np.ndarray) -> dict[str, float]:
    """Figures of probabilities (n, 11): of HAM10000's seven diagnoses by all eleven columns, and by their own seven alone."""
    predicted, own = found.argmax(axis=1), np.array(seven)[found[:, seven].argmax(axis=1)]
    in_seven = np.isin(labels, seven)
    of_seven = found[in_seven][:, seven] + 1e-12
    place = np.array([seven.index(label) for label in labels[in_seven]])
    losses = -np.log((of_seven / of_seven.sum(axis=1, keepdims=True))[np.arange(len(place)), place])
    return {
        "balanced_accuracy_7": float(
            np.mean([(predicted[labels == c] == c).mean() for c in seven if (labels == c).any()])
        ),
        "balanced_accuracy_7_columns": float(
            np.mean([(own[labels == c] == c).mean() for c in seven if (labels == c).any()])
        ),
        "macro_f1_11": float(
            f1_score(labels, predicted, labels=range(found.shape[1]), average="macro", zero_division=0)
        ),
        "log_loss_7": float(losses.mean()),
        "malignant_auc": float(roc_auc_score(malignant[labels], found[:, malignant].sum(axis=1))),
    }


def one_draw(
    bundle: Bundle, images: dict[str, np.ndarray], n: int, seed: int, *, is_tested: np.ndarray
) -> tuple[dict[str, float], dict[str, float], str, float]:
    """Adapt to n lesions, test on the other ones of `is_tested`: figures before and after, what was chosen, seconds."""
    clinic = read_taxonomy("milk10k")
    head = read_head(bundle.data, own_rule(bundle.facts), bundle.facts.name)
    start = start_from(head, bundle.facts.taxonomy, clinic)
    labels, malignant = encode_labels(images["dx"], clinic), np.array(clinic.is_malignant)
    order = np.random.default_rng(seed).permutation(len(labels))
    train, test = order[:n], order[n:]
    test = test[is_tested[test]]
    shifts = [in_clinic(values, start) for values in (own_rule(bundle.facts), mix_shift(bundle.facts))]
    lesions = images["lesions"][train]
    given = ClinicImages(images["features"][train], labels[train], lesions, lesions, start, shifts[0], shifts[1])
    started = time.perf_counter()
    choice = choose(given, seed=seed)
    seconds = time.perf_counter() - started
    seven = [clinic.index_of[dx] for dx in read_taxonomy("ham10000").dx]
    before = figures(labels[test], start.probabilities_of(images["probabilities"][test]), seven, malignant)
    after = figures(labels[test], choice.head.probabilities(images["features"][test]), seven, malignant)
    for found, ood in ((before, bundle.facts.ood), (after, ood_of(bundle.facts.ood, images["ood_scores"][train]))):
        found["rejected"] = float((images["ood_scores"][test] > ood.threshold).mean()) if ood else float("nan")
    return before, after, f"{choice.name} / {choice.exponent}", seconds


def draw_figure(rows: list[dict[str, float]], path: Path) -> None:
    """Plot the figures against the number of lesions: single draws as points, their means as a line, and the model as it is."""
    titles = {
        "balanced_accuracy_7": "balanced accuracy of seven",
        "macro_f1_11": "macro F1 of eleven",
        "malignant_auc": "AUC of malignant against benign",
        "log_loss_7": "log loss of seven",
    }
    table, figure = pd.DataFrame(rows), new_figure(7.5, 5.2)
    for place, (name, title) in enumerate(titles.items(), start=1):
        axes = figure.add_subplot(2, 2, place, xscale="log", xlabel="labelled lesions", title=title)
        mean = table.groupby("n").mean(numeric_only=True)
        axes.scatter(table["n"], table[f"after_{name}"], s=9, color=BLUE, alpha=0.6)
        axes.plot(mean.index, mean[f"after_{name}"], color=BLUE, label="adapted")
        axes.plot(mean.index, mean[f"before_{name}"], color=GREY, label="as it was")
        axes.set_xticks(SIZES, [str(n) for n in SIZES], minor=False)
        axes.minorticks_off()
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="model file (default: the model that comes with lesionlab)")
    parser.add_argument("--data", type=Path, default=Path("../shared/milk10k"))
    parser.add_argument("--cache", type=Path, default=Path("milk10k.npz"))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    bundle = open_bundle(options.model).with_features()
    images = embedded(bundle, options.data, options.cache)
    known = set(pd.read_csv(options.data / SEEN)["lesion_id"])
    is_new = np.array([lesion not in known for lesion in images["lesions"]])
    images = {name: values[is_new] if values.ndim else values for name, values in images.items()}
    rows: list[dict[str, float]] = []
    for n in options.sizes:
        for draw in range(options.draws):
            before, after, chosen, seconds = one_draw(bundle, images, n, draw, is_tested=np.ones(is_new.sum(), bool))
            values = {f"before_{k}": v for k, v in before.items()} | {f"after_{k}": v for k, v in after.items()}
            rows.append({"n": n, "seconds": seconds, **values})
            print(f"n {n:5} draw {draw}: {chosen}, {seconds:.1f} s", flush=True)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1))
        if options.figure:
            draw_figure(rows, options.figure)
    mean = pd.DataFrame(rows).groupby("n").mean(numeric_only=True)
    for name in FIGURES:
        print(
            name, *(f"{n}: {r[f'before_{name}']:.3f} -> {r[f'after_{name}']:.3f}" for n, r in mean.iterrows()), sep="  "
        )


if __name__ == "__main__":
    main()
