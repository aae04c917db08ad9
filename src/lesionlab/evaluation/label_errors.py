"""Labels that may be wrong: images whose given diagnosis a model finds unlikely, ranked.

Confident learning (Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels", J. Artif.
Intell. Res. 70, 2021, doi:10.1613/jair.1.12125): a diagnosis is confidently held of an image where its probability
reaches the mean that images labelled with it get. An image is suspect where the likeliest of these is not its label. The rank
is the normalised margin. The formula is a few lines and is tested against cleanlab, which is therefore not needed.

Of a diagnosis with few lesions the mean says nothing: below `FEWEST` it is never suggested. Margins as small as those that the
decision rule makes between two diagnoses are ties, and raise no question.

A suspect is a question to a person, not an answer: where the model is wrong, the label is right.
"""

from collections.abc import Sequence

import numpy as np

from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics_file import Suspect

FEWEST = 10  # lesions of a diagnosis that is suggested
_TIE = 0.01


def suspects(part: LabelledPredictions, images: Sequence[str]) -> list[Suspect]:
    """Find suspect labels, the most suspect first.

    Args:
        part: of a model that was not trained on these images.
        images: (n,) their ids.

    """
    labels, probabilities, dx = part.labels, part.probabilities, part.taxonomy.dx
    held = confidently_held(part)
    rows = np.flatnonzero((held >= 0) & (held != labels))
    margins = probabilities[rows, labels[rows]] - probabilities[rows, held[rows]]
    order = np.argsort(margins, kind="stable")
    return [
        Suspect(
            row=int(rows[i]),
            image=str(images[rows[i]]),
            given=dx[labels[rows[i]]],
            suggested=dx[held[rows[i]]],
            margin=float(margins[i]),
        )
        for i in order
        if margins[i] < -_TIE
    ]


def confidently_held(part: LabelledPredictions) -> np.ndarray:
    """Give the diagnosis confidently held of each image: integers (n,), -1 where none is."""
    labels, probabilities, diagnoses = part.labels, part.probabilities, range(part.n_diagnoses)
    are_enough = [len(np.unique(part.lesions[labels == c])) >= FEWEST for c in diagnoses]
    thresholds = np.array([probabilities[labels == c, c].mean() if are_enough[c] else np.inf for c in diagnoses])
    reaches = probabilities >= thresholds - 1e-6
    return np.where(reaches.any(axis=1), np.where(reaches, probabilities, -1).argmax(axis=1), -1)
