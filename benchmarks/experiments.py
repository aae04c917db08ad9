"""What was tried for the model that comes with lesionlab: variants of a recipe, compared on validation lesions alone.

    python benchmarks/experiments.py --data ../shared/ham10000 --weights FILE.weights.h5 --out runs/experiments \
        --variant small --variant kept --seed 0

The test part of the split is never predicted here. Each variant leaves `NAME-SEED.json` (figures) and `.npz`
(validation probabilities); one that is there already is not trained again, one that was stopped goes on.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lesionlab.evaluation.metrics import headline
from lesionlab.files import write_json
from lesionlab.lifecycle import prepare, values
from lesionlab.lifecycle.train import say_epoch
from lesionlab.model import backend
from lesionlab.model.architectures import build_network
from lesionlab.model.batches import predict
from lesionlab.model.pretrained import load_pretrained
from lesionlab.model.train import Part, for_use, train
from lesionlab.recipe import Recipe, read_recipe

# What a variant changes of the recipe `bundled`. The first model: 192 px, images as they are, the first block frozen, rare
# diagnoses not drawn more often but weighing more.
_WEIGHTED = {"class_weights": "sqrt-inverse", "sampling": "none"}
_FIRST_MODEL: dict[str, dict] = {
    "image": {"height": 192, "width": 192},
    "augment": {"degrade": 0.0},
    "model": {"frozen_until": "conv_pw_1_relu"},
    "optimizer": {"epochs": 16},
    "loss": _WEIGHTED,
    "training": {"first_side": 0, "precision": "float32"},
}
VARIANTS: dict[str, dict[str, dict]] = {
    "small": _FIRST_MODEL
    | {
        "image": {"height": 128, "width": 128},
        "augment": {"degrade": 0.0, "mixup": 0.0},
        "model": {"frozen_until": ""},
        "optimizer": {"learning_rate": 3e-4, "epochs": 12},
    },
    "first": _FIRST_MODEL
    | {
        "augment": {"degrade": 0.0, "mixup": 0.0},
        "model": {"frozen_until": "conv_pw_3_relu"},
        "optimizer": {"learning_rate": 1e-3, "epochs": 24},
    },
    "kept": _FIRST_MODEL,
    "kept-40": _FIRST_MODEL | {"optimizer": {"epochs": 40}, "training": {"first_side": 128, "precision": "float32"}},
    "present": {},
    "images-as-they-are": {"augment": {"degrade": 0.0}},
    "no-colour": {"augment": {"colour": 0.0}},
    "no-mixup": {"augment": {"mixup": 0.0}},
    "192-px": {"image": {"height": 192, "width": 192}},
    "light": {"augment": {"degrade": 0.2, "colour": 0.1}},
    "weighted": {"loss": _WEIGHTED},
    "weighted-as-they-are": {
        "augment": {"degrade": 0.0, "colour": 0.05},
        "model": {"frozen_until": "conv_pw_1_relu"},
        "loss": _WEIGHTED,
    },
    "neither": {"loss": {"sampling": "none"}},
}


def main() -> None:
    """Train the variants that were asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", action="append", choices=VARIANTS, required=True)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.variant:
        recipe = read_recipe("bundled").with_changes("model", weights=asked.weights)
        for section, changes in VARIANTS[name].items():
            recipe = recipe.with_changes(section, **changes)
        figures = asked.out / f"{name}-{asked.seed}.json"
        if not figures.exists():
            write_json(figures, {"variant": name, "seed": asked.seed} | _try(recipe, asked.data, figures, asked.seed))
        print(json.dumps(json.loads(figures.read_text())), flush=True)


def _try(recipe: Recipe, data: Path, figures: Path, seed: int) -> dict:
    folder = figures.with_suffix("")
    folder.mkdir(exist_ok=True)
    run = values.Run(values.Request(recipe, data, folder, seed=seed))
    prepared = prepare.prepare(run)
    divided = prepare.divide(run, prepared)
    backend.seed_everything(seed)
    network = build_network(recipe, divided.mean, divided.std, n_diagnoses=7, for_training=True, seed=seed)
    load_pretrained(network, recipe)
    training, validation = (Part(divided.rows(part), divided.labels_of(part)) for part in ("train", "validation"))
    started = time.perf_counter()
    history = train(
        network, recipe, prepared.pixels, training, validation, seed=seed, checkpoint=folder / "checkpoint.npz",
        report=say_epoch,
    )  # fmt: skip
    network.save(folder / "model.keras")
    plain = predict(network, prepared.pixels, validation.rows)
    used = for_use(network, recipe, divided.mean, divided.std)
    views = predict(used, prepared.pixels, validation.rows)
    np.savez(figures.with_suffix(".npz"), labels=validation.labels, plain=plain, views=views)
    results: dict[str, Any] = {"epochs": len(history), "minutes": round((time.perf_counter() - started) / 60, 1)}
    for way, probabilities in (("plain", plain), ("views", views)):
        corrected = _without_priors(probabilities, training.labels)
        results[way] = msgspec.structs.asdict(headline(validation.labels, probabilities)) | {
            "balanced_accuracy_corrected": headline(validation.labels, corrected).balanced_accuracy
        }
    return results


def _without_priors(probabilities: np.ndarray, training_labels: np.ndarray) -> np.ndarray:
    """Divide probabilities (n, k) by the shares of the diagnoses in the training part; rows sum to 1."""
    counts = np.bincount(training_labels, minlength=probabilities.shape[1]) + 0.5  # an absent one gets a small share
    shifted = probabilities * (counts.sum() / counts)
    return shifted / shifted.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
