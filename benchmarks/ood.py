"""How well a run's model tells what is no dermatoscopic image: `python benchmarks/ood.py RUN`.

The run's own network, trained on the training part alone, is given the score in a temporary copy; its held-out test part
stands against `ood_images.negatives("final")`. The score was chosen on other negatives (`--part development`). Of each kind:
AUROC, the share refused at the model's own threshold, and true negatives at 95 % true positives.

For a left-out diagnosis the score is fitted without it; the network itself still knows the diagnosis, so that this is no more
than an approximation of a diagnosis left out of training. Needs scikit-image, scikit-learn and matplotlib.
"""

import argparse
import shutil
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from lesionlab.bundle import open_bundle
from lesionlab.data.images import read_image
from lesionlab.diagnosis import DX
from lesionlab.model.export_run import _read_run
from lesionlab.model.ood_export import MOST_REFERENCE, MOST_TRAINING, _see, add_ood_score
from lesionlab.trust.ood import fit_ood_score, ood_scores
from ood_images import negatives


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run, with its images where they were")
    parser.add_argument("--part", choices=("final", "development"), default="final", help="of the negatives")
    parser.add_argument("--images", type=Path, nargs="*", default=(), help="folders of further negatives")
    options = parser.parse_args()
    run = _read_run(options.run)
    training, training_labels = run.pixels("train", MOST_TRAINING)
    reference, reference_labels = run.pixels("validation", MOST_REFERENCE)
    test, labels = run.pixels("test")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        shutil.copy(options.run / "model.onnx", path)
        size = path.stat().st_size
        rows = np.arange(len(training) + len(reference))
        score = add_ood_score(path, np.concatenate([training, reference]), rows[: len(training)], rows[len(training) :])
        if score is None:
            raise SystemExit("The run has too few training or validation images.")
        print(f"The score takes {(path.stat().st_size - size) / 1e3:.0f} KB of {size / 1e6:.1f} MB.")
        facts = open_bundle(path).facts
        lesions = list(test[np.random.default_rng(0).permutation(len(test))[:60]])
        kinds = negatives(options.part, lesions, options.images)
        print_kinds(path, facts, score.threshold, test, kinds)
        seen = [_see(path, pixels) for pixels in (training, reference, test)]
        print_left_out(seen, training_labels, reference_labels, labels)


def print_kinds(path: Path, facts: object, threshold: float, test: np.ndarray, kinds: dict) -> None:
    """Print a row for each kind of negative, scored by the file itself."""
    positive = scores_of(path, test)
    print(f"{len(positive)} held-out dermatoscopic images: {(positive > threshold).mean():.1%} refused")
    print(
        "| what | images | AUROC | refused | true negatives at 95 % true positives |\n| --- | --- | --- | --- | --- |"
    )
    found = {kind: scores_of(path, read_all(images, facts)) for kind, images in kinds.items()}
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
        scores = ood_scores(fit_ood_score(*kept), seen[2])
        out = test == index
        share = (scores[out] > np.quantile(scores[~out], 0.95)).mean()
        print(f"| {dx} | {out.sum()} | {roc_auc_score(out, scores):.3f} | {share:.3f} |")


def scores_of(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Give `ood_score` of uint8 images (n, h, w, 3), by the file."""
    session = open_bundle(path).session
    starts = range(0, len(pixels), 16)
    return np.concatenate([session.run(["ood_score"], {"image": pixels[at : at + 16]})[0] for at in starts])


def read_all(images: list[np.ndarray], facts: object) -> np.ndarray:
    """Bring images the way that files go: through PNG, cropped and scaled."""
    pixels = []
    for image in images:
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG")
        pixels.append(read_image(file.getvalue(), facts.height, facts.width, facts.crop))
    return np.stack(pixels)


if __name__ == "__main__":
    main()
