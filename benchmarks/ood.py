"""How well a model tells what is no dermatoscopic image.

    python benchmarks/ood.py MODEL.onnx --data FOLDER [--data FOLDER ...] --split splits.csv

A run's `model.onnx`, or the packaged one, trained on the training part alone and with the score that its export gave it, sees
its held-out test part against `ood_images.negatives("final")`. The score was chosen on other negatives (`--part
development`). Of each kind: AUROC, the share rejected at the model's own threshold, and true negatives at 95 % true positives.

Then the score is fitted anew with some of its looks alone, on all images and on those of one folder, whose threshold the images
of the other folders are held against. For a left-out diagnosis the score is fitted without it; the network itself still knows
the diagnosis, so that this is no more than an approximation of a diagnosis left out of training. Needs scikit-image,
scikit-learn and matplotlib.
"""

import argparse
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import roc_auc_score

from held_out import add_model_arguments, drawn, images_of_split
from lesionlab.data.images import read_image
from lesionlab.data.statistics import encode_labels
from lesionlab.evaluation.ood import fit_ood_score, ood_scores, see_image
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.facts import Facts
from lesionlab.model.degrade import some_degraded
from lesionlab.model.export.ood_score import DEGRADED, MOST_REFERENCE, MOST_TRAINING, see_by_network
from lesionlab.taxonomy import Taxonomy
from ood_images import negatives

FEWEST = 5  # test images of a diagnosis that is left out
SOME_LOOKS = (
    ("features", "thumbnail", "texture"),
    ("middle",),
    ("middle", "thumbnail", "texture"),
    ("features", "middle", "thumbnail", "texture"),
)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    parser.add_argument("--part", choices=("final", "development"), default="final", help="of the negatives")
    parser.add_argument("--images", type=Path, nargs="*", default=(), help="folders of further negatives")
    options = parser.parse_args()
    bundle = open_bundle(options.model)
    if not bundle.has_ood_score:
        raise SystemExit(f"{options.model} has no score: export the run again.")
    table = images_of_split(options.data, options.split, bundle.facts.taxonomy)
    pixels, labels, folder = read_parts(table, bundle.facts)
    lesions = list(pixels["test"][np.random.default_rng(0).permutation(len(pixels["test"]))[:60]])
    kinds = {
        kind: read_all(images, bundle.facts)
        for kind, images in negatives(options.part, lesions, options.images).items()
    }
    print_rejected(bundle, pixels["test"], folder["test"], options.data)
    print_kinds(bundle, pixels["test"], kinds)
    for part in ("train", "validation"):  # as the export fits it
        pixels[part] = some_degraded(pixels[part], DEGRADED, np.random.default_rng(0))
    pixels["none"] = np.concatenate(list(kinds.values()))
    looks = {part: see_by_network(options.model, images) | see_image(images) for part, images in pixels.items()}
    print_looks(looks, folder, options.data)
    for chosen in SOME_LOOKS[-2:]:
        print(f"by {', '.join(chosen)}:")
        seen = [{look: looks[part][look] for look in chosen} for part in ("train", "validation", "test")]
        print_left_out(seen, labels["train"], labels["validation"], labels["test"], bundle.facts.taxonomy)


def read_parts(table: pd.DataFrame, facts: Facts) -> tuple[dict[str, np.ndarray], ...]:
    """Read the images of each part of a split, as many as the score was fitted to: pixels, labels, folder by part."""
    pixels, labels, folder = {}, {}, {}
    for part, most in (("train", MOST_TRAINING), ("validation", MOST_REFERENCE), ("test", len(table))):
        rows = drawn(table[table["part"] == part], most)
        pixels[part] = np.stack([read_image(Path(at), facts.height, facts.width, facts.crop) for at in rows["path"]])
        labels[part], folder[part] = encode_labels(rows["dx"], facts.taxonomy), rows["folder"].to_numpy()
    return pixels, labels, folder


def print_rejected(bundle: Bundle, test: np.ndarray, folder: np.ndarray, data: Sequence[Path]) -> None:
    """Print how many held-out images of each folder are rejected."""
    assert bundle.facts.ood
    is_rejected = scores_of(bundle, test) > bundle.facts.ood.threshold
    for number, name in enumerate(data):
        own = is_rejected[folder == number]
        print(f"{name}: {own.sum()} of {len(own)} held-out images rejected, {own.mean():.1%}")


def print_kinds(bundle: Bundle, test: np.ndarray, kinds: dict) -> None:
    """Print a row for each kind of negative, scored by the file itself."""
    ood = bundle.facts.ood
    assert ood
    positive, threshold = scores_of(bundle, test), ood.threshold
    print(f"{len(positive)} held-out dermatoscopic images: {(positive > threshold).mean():.1%} rejected")
    print(
        "| what | images | AUROC | rejected | true negatives at 95 % true positives |\n| --- | --- | --- | --- | --- |"
    )
    found = {kind: scores_of(bundle, images) for kind, images in kinds.items()}
    found = {"all": np.concatenate(list(found.values()))} | found
    at_95 = np.quantile(positive, 0.95)
    for kind, negative in found.items():
        truth = np.r_[np.zeros(len(positive)), np.ones(len(negative))]
        auroc = roc_auc_score(truth, np.r_[positive, negative])
        print(f"| {kind} | {len(negative)} | {auroc:.4f} | {(negative > threshold).mean():.3f} ", end="")
        print(f"| {(negative > at_95).mean():.3f} |")


def print_looks(looks: dict[str, dict], folder: dict[str, np.ndarray], data: Sequence[Path]) -> None:
    """Print a row for each choice of looks and of the folders that it is fitted to."""
    print(
        "| looks | fitted to | AUROC | rejected | rejected of each folder's test images |\n| --- | --- | --- | --- | --- |"
    )
    for chosen in SOME_LOOKS:
        for name, numbers in {"all": range(len(data)), **{one.name: [n] for n, one in enumerate(data)}}.items():
            fitted, held = (
                {look: looks[part][look][np.isin(folder[part], numbers)] for look in chosen}
                for part in ("train", "validation")
            )
            origin = folder["validation"][np.isin(folder["validation"], numbers)]
            score = fit_ood_score(fitted, held, origin)
            positive, negative = ood_scores(score, looks["test"]), ood_scores(score, looks["none"])
            auroc = roc_auc_score(np.r_[0 * positive, 0 * negative + 1], np.r_[positive, negative])
            own = [f"{(positive[folder['test'] == n] > score.threshold).mean():.3f}" for n in range(len(data))]
            rejected = (negative > score.threshold).mean()
            print(f"| {', '.join(chosen)} | {name} | {auroc:.4f} | {rejected:.3f} | {', '.join(own)} |")


def print_left_out(
    seen: list[dict], training: np.ndarray, reference: np.ndarray, test: np.ndarray, taxonomy: Taxonomy
) -> None:
    """Print, for each diagnosis, how well a score fitted without it tells its test images from the others."""
    print("| fitted without | test images | AUROC | true negatives at 95 % true positives |\n| --- | --- | --- | --- |")
    for index, dx in enumerate(taxonomy.dx):
        parts = zip(seen[:2], (training, reference), strict=True)
        kept = [{name: values[labels != index] for name, values in part.items()} for part, labels in parts]
        scores = ood_scores(fit_ood_score(kept[0], kept[1]), seen[2])
        out = test == index
        if out.sum() < FEWEST:
            continue
        share = (scores[out] > np.quantile(scores[~out], 0.95)).mean()
        print(f"| {dx} | {out.sum()} | {roc_auc_score(out, scores):.3f} | {share:.3f} |")


def scores_of(bundle: Bundle, pixels: np.ndarray) -> np.ndarray:
    """Give `ood_score` of uint8 images (n, h, w, 3), by the file."""
    starts = range(0, len(pixels), 16)
    return np.concatenate([bundle.session.run(["ood_score"], {"image": pixels[at : at + 16]})[0] for at in starts])


def read_all(images: list[np.ndarray], facts: Facts) -> np.ndarray:
    """Bring images the way that files go: through PNG, cropped and scaled."""
    pixels = []
    for image in images:
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG")
        pixels.append(read_image(file.getvalue(), facts.height, facts.width, facts.crop))
    return np.stack(pixels)


if __name__ == "__main__":
    main()
