"""How well a run's model tells what is no dermatoscopic image: `python benchmarks/ood.py RUN`.

The run's own `model.onnx`, trained on the training part alone and with the score that its export gave it, sees its held-out
test part against `ood_images.negatives("final")`. The score was chosen on other negatives (`--part development`). Of each
kind: AUROC, the share refused at the model's own threshold, and true negatives at 95 % true positives.

For a left-out diagnosis the score is fitted without it; the network itself still knows the diagnosis, so that this is no more
than an approximation of a diagnosis left out of training. Needs scikit-image, scikit-learn and matplotlib.
"""

import argparse
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import roc_auc_score

from lesionlab.data.images import read_image
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.data.statistics import encode_labels
from lesionlab.evaluation.ood import fit_ood_score, ood_scores
from lesionlab.inference.bundle import Bundle, open_bundle
from lesionlab.inference.facts import Facts
from lesionlab.model.export.ood_score import MOST_REFERENCE, MOST_TRAINING, _see
from lesionlab.taxonomy import DX, HAM10000
from ood_images import negatives


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run, with its images where they were")
    parser.add_argument("--part", choices=("final", "development"), default="final", help="of the negatives")
    parser.add_argument("--images", type=Path, nargs="*", default=(), help="folders of further negatives")
    options = parser.parse_args()
    path = options.run / "model.onnx"
    bundle = open_bundle(path)
    if not bundle.has_ood_score:
        raise SystemExit(f"{path} has no score: export the run again.")
    pixels, labels = read_parts(options.run, bundle.facts)
    lesions = list(pixels["test"][np.random.default_rng(0).permutation(len(pixels["test"]))[:60]])
    kinds = negatives(options.part, lesions, options.images)
    print_kinds(bundle, pixels["test"], kinds)
    seen = [_see(path, pixels[part]) for part in ("train", "validation", "test")]
    print_left_out(seen, labels["train"], labels["validation"], labels["test"])


def read_parts(run: Path, facts: Facts) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read the images of each part of a run, as many as its score was fitted to: pixels and labels by part."""
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    split = pd.read_csv(run / "splits.csv", dtype=str)
    table = split.merge(read_collection(Path(manifest["data"]["folder"])).table[["image_id", "path"]], on="image_id")
    pixels, labels = {}, {}
    for part, most in (("train", MOST_TRAINING), ("validation", MOST_REFERENCE), ("test", len(table))):
        rows = table[table["part"] == part]
        rows = rows.sample(most, random_state=0) if len(rows) > most else rows
        pixels[part] = np.stack([read_image(Path(at), facts.height, facts.width, facts.crop) for at in rows["path"]])
        labels[part] = encode_labels(rows["dx"], HAM10000)
    return pixels, labels


def print_kinds(bundle: Bundle, test: np.ndarray, kinds: dict) -> None:
    """Print a row for each kind of negative, scored by the file itself."""
    ood = bundle.facts.ood
    assert ood
    positive, threshold = scores_of(bundle, test), ood.threshold
    print(f"{len(positive)} held-out dermatoscopic images: {(positive > threshold).mean():.1%} refused")
    print(
        "| what | images | AUROC | refused | true negatives at 95 % true positives |\n| --- | --- | --- | --- | --- |"
    )
    found = {kind: scores_of(bundle, read_all(images, bundle.facts)) for kind, images in kinds.items()}
    found = {"all": np.concatenate(list(found.values()))} | found
    at_95 = np.quantile(positive, 0.95)
    for kind, negative in found.items():
        truth = np.r_[np.zeros(len(positive)), np.ones(len(negative))]
        auroc = roc_auc_score(truth, np.r_[positive, negative])
        print(f"| {kind} | {len(negative)} | {auroc:.4f} | {(negative > threshold).mean():.3f} ", end="")
        print(f"| {(negative > at_95).mean():.3f} |")


def print_left_out(seen: list[dict], training: np.ndarray, reference: np.ndarray, test: np.ndarray) -> None:
    """Print, for each diagnosis, how well a score fitted without it tells its test images from the others."""
    print("| fitted without | test images | AUROC | true negatives at 95 % true positives |\n| --- | --- | --- | --- |")
    for index, dx in enumerate(DX):
        parts = zip(seen[:2], (training, reference), strict=True)
        kept = [{name: values[labels != index] for name, values in part.items()} for part, labels in parts]
        scores = ood_scores(fit_ood_score(kept[0], kept[1]), seen[2])
        out = test == index
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
