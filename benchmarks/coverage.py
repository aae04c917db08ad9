"""How often the 95 % intervals hold the truth, where it is known: test parts drawn from a world of known figures.

    python benchmarks/coverage.py [--trials 400]

Each test part has 896 lesions in the mix of diagnoses of HAM10000; a made-up network finds melanomas in six of ten cases and
vascular lesions nearly always. The true figures are those of two million cases.
"""

import argparse

import numpy as np

from lesionlab.evaluation.intervals import bootstrap, percentile_interval
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import headline
from lesionlab.progress import track
from lesionlab.taxonomy import DX, HAM10000

LESIONS = np.array([74, 647, 40, 27, 87, 9, 12])  # of each diagnosis, in the order of DX
SKILL = np.array([1.6, 3.0, 3.0, 2.2, 2.4, 3.2, 4.0])  # by which the right logit is raised above noise
FIGURES = ("balanced_accuracy", "accuracy", "macro_auc")


def main() -> None:
    """Print the share of intervals that hold the truth, of each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    trials = parser.parse_args().trials
    truth = headline(*cases(2_000_000, np.random.default_rng(0)))
    number, held = int(LESIONS.sum()), dict.fromkeys(FIGURES, 0)
    for trial in track(range(1, trials + 1), "simulated test parts"):
        part = cases(number, np.random.default_rng(trial))
        draws = bootstrap(LabelledPredictions(*part, np.arange(number), HAM10000), seed=trial, resamples=400)
        for name in FIGURES:
            low, high = percentile_interval(draws[name])
            held[name] += low <= getattr(truth, name) <= high
    for name, count in held.items():
        print(f"{name:18} true {getattr(truth, name):.3f}, held by {count / trials:.3f} of {trials} intervals")


def cases(number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels (n,) and probabilities (n, 7)."""
    labels = rng.choice(len(DX), number, p=LESIONS / LESIONS.sum())
    logits = rng.normal(size=(number, len(DX)))
    logits[np.arange(number), labels] += SKILL[labels]
    weights = np.exp(logits)
    return labels, weights / weights.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
