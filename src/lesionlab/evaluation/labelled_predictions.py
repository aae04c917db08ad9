"""The value that every statistic takes: what a model says of n images, what is true of them, and whose lesions they show."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lesionlab.errors import UsageError
from lesionlab.evaluation.answers import answers_of
from lesionlab.taxonomy import Taxonomy


@dataclass(frozen=True, eq=False)
class LabelledPredictions:
    """Predictions of n images with their labels.

    Attributes:
        labels: integers (n,), the true diagnosis of each image by its place in `taxonomy`, 0 to k - 1.
        probabilities: float64 (n, k), rows sum to 1, or nearly where a table has rounded them; the largest is the prediction.
        lesions: (n,) lesion ids: images of one lesion are not independent, so that intervals count lesions.
        taxonomy: the k diagnoses in the order of `labels` and `probabilities`; their names, and which are malignant.

    Raises:
        UsageError: arrays that do not fit each other or the taxonomy, or a label out of range.

    """

    labels: np.ndarray
    probabilities: np.ndarray
    lesions: np.ndarray
    taxonomy: Taxonomy

    def __post_init__(self) -> None:
        """Take lists for arrays, and check that they fit each other and the taxonomy."""
        for name in ("labels", "probabilities", "lesions"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        n, k = len(self.labels), len(self.taxonomy)
        if self.probabilities.shape != (n, k) or len(self.lesions) != n:
            raise UsageError(
                f"{n} labels of the {k} diagnoses of {self.taxonomy.name} need probabilities ({n}, {k}) and {n} lesion ids; "
                f"given are {self.probabilities.shape} and {len(self.lesions)}."
            )
        if n and not 0 <= self.labels.min() <= self.labels.max() < k:
            raise UsageError(
                f"Labels of {self.taxonomy.name} are 0 to {k - 1}; given are {self.labels.min()} to {self.labels.max()}."
            )

    def __len__(self) -> int:
        """Count the images."""
        return len(self.labels)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The likeliest diagnosis of each image: integers (n,); `UNDECIDED` for a tie, which is none and wrong."""
        return answers_of(self.probabilities)

    @cached_property
    def is_right(self) -> np.ndarray:
        """Whether the likeliest diagnosis is the true one: bool (n,)."""
        return self.predicted == self.labels

    @property
    def n_diagnoses(self) -> int:
        """How many diagnoses there are, k."""
        return self.probabilities.shape[1]

    @cached_property
    def n_lesions(self) -> int:
        """How many lesions the images show."""
        return len(np.unique(self.lesions))

    def take(self, chosen: np.ndarray) -> "LabelledPredictions":
        """Take some of the images: bool (n,) or integers (m,)."""
        return replace(
            self, labels=self.labels[chosen], probabilities=self.probabilities[chosen], lesions=self.lesions[chosen]
        )

    def with_probabilities(self, probabilities: np.ndarray) -> "LabelledPredictions":
        """The same images, predicted otherwise: float (n, k)."""
        return replace(self, probabilities=probabilities)

    def joined(self, other: "LabelledPredictions") -> "LabelledPredictions":
        """These images and then others, of the same diagnoses."""
        return replace(
            self,
            labels=np.concatenate([self.labels, other.labels]),
            probabilities=np.concatenate([self.probabilities, other.probabilities]),
            lesions=np.concatenate([self.lesions, other.lesions]),
        )
