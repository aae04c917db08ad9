"""`manifest.json`: what was asked for, on what machine and data, and what each step found; docs/commands.md has the keys.

Short (`lesionlab.runs.identity.Head`) when a run begins, whole (`Manifest`) when it is done, `EvaluationManifest` elsewhere.
"""

from msgspec import Struct

from lesionlab.data.layouts.findings import Finding
from lesionlab.data.split_proof import SplitProof
from lesionlab.evaluation.prediction_sets import Conformal
from lesionlab.evaluation.values import ChosenThreshold
from lesionlab.inference.facts import Thresholds
from lesionlab.runs.identity import Identity, Kind
from lesionlab.runs.stages import StepTime
from lesionlab.taxonomy import HAM10000, Taxonomy


class Environment(Struct, frozen=True, kw_only=True):
    """Step 1: what it ran on.

    Attributes:
        python: its version; likewise `platform`.
        platform: operating system.
        processor: its name.
        cores: those that the process may use.
        memory_gib: memory of the machine in GiB; null where it is not known.
        packages: the version of each library.
        backend: of Keras.
        device: the devices that it trained on.
    """

    python: str
    platform: str
    processor: str
    cores: int
    memory_gib: float | None
    packages: dict[str, str]
    backend: str
    device: str


class Patients(Struct, frozen=True):
    """Patients that the data name.

    Attributes:
        known: how many.
        images_without: images of which none is known.
    """

    known: int
    images_without: int


class DataFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Steps 2 to 4: where the images lie and how many there are.

    Attributes:
        folder: of the images, or several.
        layout: that it was read as.
        rows: of its table, one an image.
        images: those that were used.
        lesions: that they show.
        fingerprint: SHA-256 of their ids, lesions, diagnoses and contents.
        is_generated: whether the images were drawn by a program.
        taxonomy: the diagnoses; absent in older files, which are HAM10000's.
        patients: absent where the data name none.
        kept: images that could be used, before `--limit`; absent in an evaluation.
    """

    folder: str | tuple[str, ...]
    layout: str
    rows: int
    images: int
    lesions: int
    fingerprint: str
    is_generated: bool
    taxonomy: Taxonomy | None = None
    patients: Patients | None = None
    kept: int | None = None

    @property
    def diagnoses(self) -> Taxonomy:
        """`taxonomy`, of older files too."""
        return self.taxonomy or HAM10000


class SetAside(Struct, frozen=True):
    """An image that was not used.

    Attributes:
        image_id: its id.
        reason: why.
    """

    image_id: str
    reason: str


class PartCounts(Struct, frozen=True):
    """How large a part is.

    Attributes:
        images: in it.
        lesions: that they show.
    """

    images: int
    lesions: int


class SplitFacts(Struct, frozen=True, kw_only=True):
    """Step 7: who is trained, validated and tested on.

    Attributes:
        name: the rule: `lesion`, `kaggle`, `official`, `source` or `file`.
        parts: images and lesions of `train`, `validation` and `test`.
        proof: what lies on two sides, counted anew on the result.
        untrained: diagnoses that are tested and never trained on.
        unseen: what the proof cannot see, a sentence; empty in manifests of older versions.
    """

    name: str
    parts: dict[str, PartCounts]
    proof: SplitProof
    untrained: tuple[str, ...] = ()
    unseen: str = ""


class PixelFacts(Struct, frozen=True, kw_only=True):
    """Steps 6 and 8: how a file becomes pixels.

    Attributes:
        height: in px.
        width: in px.
        crop: the rule, `centre` or `stretch`.
        normalisation: the rule, inside the network.
        channels_mean: of red, green and blue in the training part, 0 to 255.
        channels_std: standard deviations, likewise.
    """

    height: int
    width: int
    crop: str
    normalisation: str
    channels_mean: tuple[float, ...]
    channels_std: tuple[float, ...]


class ModelFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Steps 11 and 12: the network and its optimizer.

    Attributes:
        architecture: its name; of an ensemble those of its members.
        parameters: how many.
        weights: that training started from.
        teacher: another model, and which share of each label it gave; of an ensemble those of its members; absent where labels
            are the truth alone.
        devices: that trained together; absent in an ensemble.
        optimizer: with its annealer, in words.
    """

    architecture: str
    parameters: int
    weights: str
    teacher: str = ""
    devices: int | None = None
    optimizer: str


class ExportFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Step 14: `model.onnx`, held against `model.keras`.

    Attributes:
        onnx: its name; null where it could not be written.
        reason: why it could not be written.
        largest_difference: in probability.
        images: that it was taken on.
    """

    onnx: str | None
    reason: str | None = None
    largest_difference: float | None = None
    images: int | None = None


class Manifest(Struct, frozen=True, kw_only=True):
    """A finished run or ensemble.

    Attributes:
        lesionlab: the version that wrote it.
        command: the command line.
        request: what makes a run this one: the same goes on, another is refused.
        seed: of everything random.
        started: when it was begun, UTC.
        finished: when it was done, UTC; null until then.
        environment: step 1: what it ran on.
        data: steps 2 to 4: where the images lie and how many there are.
        findings: what was found to be wrong with the data, and what was done about it.
        set_aside: images that were not used.
        split: step 7: who is trained, validated and tested on.
        pixels: steps 6 and 8: how a file becomes pixels.
        model: steps 11 and 12: the network and its optimizer.
        evaluated: when the figures were taken, UTC.
        export: step 14: `model.onnx`, held against `model.keras`.
        stages: how long each step took.
    """

    lesionlab: str
    command: str
    request: Identity
    seed: int
    started: str
    finished: str | None
    environment: Environment
    data: DataFacts
    findings: tuple[Finding, ...]
    set_aside: tuple[SetAside, ...]
    split: SplitFacts
    pixels: PixelFacts
    model: ModelFacts
    evaluated: str
    export: ExportFacts
    stages: tuple[StepTime, ...]


class EvaluatedSplit(Struct, frozen=True, kw_only=True):
    """The split that an evaluation was asked to keep to.

    Attributes:
        file: its table.
        images: of `train`, `validation` and `test`.
        proof: what lies on two sides.
    """

    file: str
    images: dict[str, int]
    proof: SplitProof


class EvaluatedModel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was evaluated.

    Attributes:
        name: of the model, or of the file of predictions.
        sha256: of a file of predictions.
        training_data: what a model says of it; empty for predictions.
        training_data_is_all: whether it was trained on all parts.
        thresholds: that the model carries, 0 to 1.
        conformal: the promise of its sets of diagnoses; null where it has none.
        operating: its operating points.
        uses_metadata: whether age, sex and site are in its probabilities.
    """

    name: str
    sha256: str | None = None
    training_data: str
    training_data_is_all: bool
    thresholds: Thresholds
    conformal: Conformal | None
    operating: tuple[ChosenThreshold, ...]
    uses_metadata: bool = False


class EvaluationManifest(Struct, frozen=True, kw_only=True):
    """An evaluation of a model on other data.

    Attributes:
        kind: `evaluation`.
        lesionlab: the version that wrote it.
        command: the command line.
        evaluated: when the figures were taken, UTC.
        finished: when it was done, UTC; null until then.
        seed: of everything random.
        model: what was evaluated.
        data: where the images lie and how many there are.
        findings: what was found to be wrong with the data, and what was done about it.
        set_aside: images that were not used, and predictions of images that are not there.
        overlap_with_training: `trained`: on these lesions; `some`: on some; `none`: on none, by their ISIC ids; `split`: on data
            that their split keeps apart, if it is the model's own; empty: on other data, as far as can be told.
        images_trained_on: those whose lesion it was trained on; null where ISIC ids do not tell.
        split: null where every image was evaluated.
    """

    kind: Kind = Kind.EVALUATION
    lesionlab: str
    command: str
    evaluated: str
    finished: str | None
    seed: int
    model: EvaluatedModel
    data: DataFacts
    findings: tuple[Finding, ...]
    set_aside: tuple[SetAside, ...]
    overlap_with_training: str
    images_trained_on: int | None = None
    split: EvaluatedSplit | None
