"""What the manifest of an evaluation says of itself, whichever version wrote it."""

from msgspec import Struct

from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.identity import Kind


class _Model(Struct, frozen=True):
    name: str
    uses_metadata: bool = False


class _Data(Struct, frozen=True):
    images: int


class Evaluated(Struct, frozen=True):
    """What manifests of evaluations have had since the first of them, and, empty in older ones, what later ones have.

    Attributes:
        model: its name, and whether age, sex and site are in its probabilities.
        data: how many images it was evaluated on.
        acquaintance: `overlap_with_training`, as it was called at first.
        overlap_with_training: as in `lesionlab.runs.manifest.EvaluationManifest`.
        images_trained_on: likewise.

    """

    model: _Model
    data: _Data
    acquaintance: str = ""
    overlap_with_training: str = ""
    images_trained_on: int | None = None

    @property
    def is_trained_on(self) -> bool:
        """Whether the model was trained on all these lesions."""
        return "trained" in (self.overlap_with_training, self.acquaintance)


def read_evaluated(opened: RunDirectory) -> Evaluated | None:
    """Read it; None where the folder is of a run, or of another kind.

    Raises:
        LesionlabError: the manifest is damaged.

    """
    return opened.decoded(Evaluated) if opened.kind is Kind.EVALUATION else None
