"""Sets of diagnoses that hold the truth as often as promised, whatever it is: class-conditional conformal prediction.

The score of a diagnosis is the probability of all likelier ones and half its own (APS: Romano, Sesia, Candes,
"Classification with valid and adaptive coverage", NeurIPS 2020, its random number set to one half, which keeps the promise
and gives every image one answer). RAPS (Angelopoulos et al., "Uncertainty sets for image classifiers using conformal
prediction", ICLR 2021) adds a penalty for each rank beyond the second, which keeps sets small where the tail is noise. Each
diagnosis has a threshold of its own (Vovk, "Conditional validity of inductive conformal predictors", ACML 2012): a promise
over all diagnoses together is kept on nevi and broken on melanomas. A diagnosis with too few calibration lesions for one takes
that of all lesions together, as the null cluster of Ding et al. ("Class-conditional conformal prediction with many classes",
NeurIPS 2023): nothing is promised of it alone. To have it in every set instead would promise it, and say nothing.

The promise holds for images that come from where the calibration images came from, and for no others; and on average over
calibration parts: a single one of n images keeps it to about 1 / sqrt(n). It supposes images that nothing else was chosen on: a
run calibrates on its validation part, which has also chosen the epoch and the decision rule; the scaling is fitted to other
lesions in turn (`lesionlab.model.decision_rule.out_of_fold`). What counts is the coverage measured on the test part.
"""

import numpy as np

from lesionlab.evaluation.intervals import effective_number, folds, wilson_interval
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.prediction_sets import Conformal, images_needed, largest_score, prediction_sets, scores
from lesionlab.evaluation.set_values import DiagnosisSets, RepeatedDiagnosisSets, RepeatedSets, SetFigures
from lesionlab.evaluation.values import Interval

COVERAGE = 0.9
RAPS_PENALTY = 0.01  # for each rank beyond the second; fixed beforehand, not tuned
REPEATS = 200


def calibrate(part: LabelledPredictions, coverage: float = COVERAGE, *, penalty: float = 0.0) -> Conformal:
    """Find the thresholds on images that the network was not trained on.

    A diagnosis has its own where its lesions are enough (`images_needed`), else that of all lesions together; of too few lesions
    in all, the largest score, so that every set holds everything.

    The promise counts lesions, which alone are exchangeable (Dunn, Wasserman, Ramdas, "Distribution-free prediction sets for
    two-layer hierarchical models", JASA 118, 2023): of several images of one lesion, the first does.

    Args:
        part: these images, with their diagnoses.
        coverage: promised share of sets that hold the truth, of each diagnosis, 0 to 1.
        penalty: of RAPS; 0 for APS.

    """
    part = part.take(np.sort(np.unique(part.lesions, return_index=True)[1]))
    own = scores(part.probabilities, penalty)[np.arange(len(part)), part.labels]
    largest, counts = largest_score(part.n_diagnoses, penalty), np.bincount(part.labels, minlength=part.n_diagnoses)
    is_enough = counts >= images_needed(coverage)
    thresholds = [
        _threshold(own[part.labels == index] if is_enough[index] else own, coverage, largest)
        for index in range(part.n_diagnoses)
    ]
    return Conformal(coverage, tuple(thresholds), tuple(counts.tolist()), penalty)


def _threshold(found: np.ndarray, coverage: float, largest: float) -> float:
    """The score that a share of `coverage` of others does not exceed, by the scores `found`; `largest` where they are too few."""
    rank = int(np.ceil((len(found) + 1) * coverage - 1e-9))
    return min(float(np.sort(found)[rank - 1]), largest) if rank <= len(found) else largest


def measure(part: LabelledPredictions, conformal: Conformal) -> SetFigures:
    """Measure on other images how often the sets hold the truth, and how large they are, overall and by diagnosis.

    Args:
        part: other images than those of the calibration; intervals count lesions.
        conformal: as `calibrate` gives.

    Returns:
        `promised`, `coverage` (share of images) with its Wilson `interval`, `mean_size`, the share of sets of one diagnosis
        (`single`); `per_class`, where `is_promised` says whether the calibration images of a diagnosis were enough.

    """
    sets = prediction_sets(part.probabilities, conformal.thresholds, conformal.penalty)
    labels, lesions = part.labels, part.lesions
    holds, sizes = sets[np.arange(len(part)), labels], sets.sum(axis=1)
    per_class = {}
    for index, dx in enumerate(part.taxonomy.dx):
        of_class = labels == index
        calibrated_on, is_promised = conformal.images[index], conformal.promised[index]
        per_class[dx] = _of_class(holds[of_class], sizes[of_class], lesions[of_class], calibrated_on, is_promised)
    return SetFigures(
        promised=conformal.coverage,
        penalty=conformal.penalty,
        coverage=float(holds.mean()),
        interval=wilson_interval(float(holds.mean()), effective_number(lesions)),
        mean_size=float(sizes.mean()),
        single=float((sizes == 1).mean()),
        per_class=per_class,
    )


def repeated(part: LabelledPredictions, *, seed: int, repeats: int = REPEATS, penalty: float = 0.0) -> RepeatedSets:
    """Calibrate on a random half of the lesions, measure on the other half, many times.

    Halves of one whole are alike by construction, so that the promise is kept on average whatever the model: what this shows is
    how far a single calibration of this size strays, and how large its sets are.

    Returns:
        `repeats`, `mean_size`, and the mean `coverage` over all draws with the 5th and 95th percentile of single draws
        (`range`); `per_class` likewise, with `images` in all. NaN for a diagnosis that lacks images in every draw.

    """
    found, sizes = np.full((repeats, part.n_diagnoses + 1), np.nan), np.empty(repeats)
    for number in range(repeats):
        is_test = folds(part.lesions, 2, seed=seed + number) == 1
        promise = calibrate(part.take(~is_test), penalty=penalty)
        sets = prediction_sets(part.probabilities[is_test], promise.thresholds, penalty)
        tested = part.labels[is_test]
        holds = sets[np.arange(len(tested)), tested]
        sizes[number] = sets.sum(axis=1).mean()
        found[number, -1] = holds.mean()
        for index in np.unique(tested):
            found[number, index] = holds[tested == index].mean()
    counts = np.bincount(part.labels, minlength=part.n_diagnoses)
    per_class = {}
    for index, dx in enumerate(part.taxonomy.dx):
        coverage, spread = _summary(found[:, index])
        per_class[dx] = RepeatedDiagnosisSets(images=int(counts[index]), coverage=coverage, range=spread)
    coverage, spread = _summary(found[:, -1])
    return RepeatedSets(
        repeats=repeats, mean_size=float(sizes.mean()), coverage=coverage, range=spread, per_class=per_class
    )


def _of_class(
    holds: np.ndarray, sizes: np.ndarray, lesions: np.ndarray, calibrated_on: int, is_promised: bool
) -> DiagnosisSets:
    number = len(holds)
    return DiagnosisSets(
        images=number,
        coverage=float(holds.mean()) if number else float("nan"),
        interval=wilson_interval(float(holds.mean()), effective_number(lesions)) if number else None,
        mean_size=float(sizes.mean()) if number else float("nan"),
        calibrated_on=calibrated_on,
        is_promised=is_promised,
    )


def _summary(values: np.ndarray) -> tuple[float, Interval]:
    """Mean over the halves in which it is defined, with the 5th and 95th percentile of single ones."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), None
    return float(defined.mean()), [float(v) for v in np.percentile(defined, [5, 95])]
