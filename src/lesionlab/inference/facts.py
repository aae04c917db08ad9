"""What a model file says of itself, written into it as metadata: read with a scan, checked before anything of it is run.

In: the bytes of a `.onnx` file. Out: `Facts`. Each field is one entry of the file's metadata, as JSON.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from lesionlab._version import NOT_A_DEVICE, __version__
from lesionlab.data.isic_ids import is_written
from lesionlab.errors import UsageError
from lesionlab.evaluation.patient_terms import PatientTerms
from lesionlab.evaluation.prediction_sets import Conformal
from lesionlab.evaluation.values import ChosenThreshold
from lesionlab.inference.onnx_scan import scan
from lesionlab.taxonomy import HAM10000, Taxonomy, from_facts

FORMAT = "lesionlab-1"
_LATER = ("ood", "diagnosis_counts", "training_ids", "patient")  # facts that older files lack
_MAY_LACK = ("conformal", "ood", "patient")  # facts that a model may be without: `{}` in its file
_HAM10000_TASK = "ISIC 2018 Task 3"  # as files without a taxonomy name it
ON_ALL = (
    "; all of them, those too that the card's figures were measured on"  # ends the training data of a refitted model
)

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Side = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Count = Annotated[float, msgspec.Meta(ge=0)]


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `predict` decides by, see `lesionlab.inference.predictions.decide`: shares, None where the run could choose none."""

    malignant: Share | None = None
    uncertainty: Share | None = None


@dataclass(frozen=True)
class Ood:
    """The out-of-distribution score of a file that has one: an image above `threshold` is rejected.

    `refused_share` of the `images` of the validation part lies above it; `score` says what it is made of.
    """

    threshold: float
    score: str = ""
    refused_share: float = 0.0
    images: int = 0


@dataclass(frozen=True)
class Facts:
    """What a model file says of itself.

    Attributes:
        name: of the model; `lesionlab` is the version that wrote it.
        height: of the input, in pixels; likewise `width`.
        crop: `centre` or `stretch`, see `lesionlab.data.images.read_image`.
        temperature: that the logits are divided by, already in the graph.
        decision: of the run, as in its `metrics.json`: the rule, what calibrates (both already in the graph), and `operating`,
            see there.
        thresholds: what `predict` decides by.
        conformal: the promise of prediction sets, in the order of the taxonomy; None where the file promises nothing.
        training_data: a sentence; `licence` that of the data, which the weights carry on.
        card: the model card, in Markdown.
        ood: None where the file has no such score.
        taxonomy: the diagnoses, in the order of the outputs; HAM10000's where an older file names none.
        diagnosis_counts: images of each diagnosis in whose mix the probabilities are right: those of training, or, after a
            correction without labels, as they were estimated; empty where a file does not tell.
        training_ids: ISIC ids of the images that it was trained on or chosen by (training and validation part), as
            `lesionlab.data.isic_ids.written_ids` writes them; empty where a file does not tell or no image has one.
        patient: how far age, sex and site speak for each diagnosis; None where the run's data did not tell, or that did not help.

    """

    name: str
    lesionlab: str
    height: Side
    width: Side
    crop: Literal["centre", "stretch"]
    temperature: float
    decision: dict[str, Any]
    thresholds: Thresholds
    conformal: Conformal | None
    training_data: str
    licence: str
    notice: str
    card: str
    taxonomy: Taxonomy
    ood: Ood | None = None
    diagnosis_counts: tuple[Count, ...] = ()
    training_ids: str = ""
    patient: PatientTerms | None = None

    @property
    def operating(self) -> tuple[ChosenThreshold, ...]:
        """Thresholds that were chosen in the model's run, for `lesionlab evaluate` to measure on other images."""
        return msgspec.convert(self.decision.get("operating", []), tuple[ChosenThreshold, ...])

    def to_json(self) -> dict[str, object]:
        """Give every entry of the file's metadata, plain enough for JSON; `{}` stands for what the model has not."""
        values = {f.name: msgspec.to_builtins(getattr(self, f.name)) for f in dataclasses.fields(self)}
        own = {
            "task": _task_of(self.taxonomy),
            "classes": list(self.taxonomy.dx),
            "class_names": [d.name for d in self.taxonomy.diagnoses],
            "conformal": values["conformal"] or {},
            "ood": values["ood"] or {},
            "patient": values["patient"] or {},
            "taxonomy": self.taxonomy.to_facts(),
        }
        return {"format": FORMAT} | values | own


def make_facts(
    *,
    name: str,
    taxonomy: Taxonomy,
    height: int,
    width: int,
    crop: str,
    decision: Mapping[str, Any],
    training_data: str,
    licence: str,
    card: str = "",
    temperature: float = 1.0,
    thresholds: Mapping[str, float] | None = None,
    conformal: Mapping[str, Any] | None = None,
    diagnosis_counts: Sequence[int] = (),
    training_ids: str = "",
    patient: Mapping[str, Any] | None = None,
) -> Facts:
    """Put together the facts of a model that this lesionlab writes; see `Facts` for their meaning."""
    values = {
        "name": name,
        "lesionlab": __version__,
        "height": height,
        "width": width,
        "crop": crop,
        "temperature": temperature,
        "decision": dict(decision),
        "thresholds": dict(thresholds or {}),
        "conformal": dict(conformal or {}),
        "training_data": training_data,
        "licence": licence,
        "notice": NOT_A_DEVICE,
        "card": card,
        "diagnosis_counts": list(diagnosis_counts),
        "training_ids": training_ids,
        "patient": dict(patient or {}),
    }
    return _converted(values, taxonomy, f"the model {name!r}")


def read_facts(data: bytes, where: str) -> Facts:
    """Scan an ONNX file and read its facts; nothing is run and no other file is opened.

    Args:
        data: the file's bytes.
        where: its name, for messages.

    Raises:
        UsageError: it reaches outside itself, or its facts are missing, of another task, newer or not valid.
        ValueError: it is not ONNX.

    """
    found, danger = scan(data)
    if danger:
        raise UsageError(f"{where} is refused: it {danger}.")
    if "format" not in found:
        raise UsageError(
            f"{where} is an ONNX model without lesionlab's facts: class order and preprocessing are not known. "
            "Give a file written by 'lesionlab run' or 'lesionlab export'."
        )
    return facts_from_json({key: _json_value(key, text, where) for key, text in found.items()}, where)


def facts_from_json(found: Mapping[str, Any], where: str) -> Facts:
    """Read what `Facts.to_json` gave; raises UsageError as `read_facts` does."""
    if found["format"] != FORMAT:
        raise UsageError(
            f"{where} has the format {found['format']!r}, this lesionlab ({__version__}) reads {FORMAT!r}. It was written "
            f"by lesionlab {found.get('lesionlab', '?')}: pip install --upgrade lesionlab."
        )
    taxonomy = _taxonomy(found, where)
    needed = [f.name for f in dataclasses.fields(Facts) if f.name not in ("taxonomy", *_LATER)]
    if missing := [name for name in needed if name not in found]:
        raise UsageError(f"{where} lacks the facts {', '.join(missing)}. Export it again with 'lesionlab export'.")
    return _converted({name: found[name] for name in [*needed, *_LATER] if name in found}, taxonomy, where)


def _json_value(key: str, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: its fact {key!r} is not JSON. Is it a model of lesionlab's?") from error


def _taxonomy(found: Mapping[str, Any], where: str) -> Taxonomy:
    """Read the taxonomy; files of before it was written are HAM10000's, in the order that they name."""
    written, task, classes = found.get("taxonomy"), found.get("task"), found.get("classes")
    is_written = isinstance(written, dict)
    taxonomy = from_facts(written or {}, f"{where}, its taxonomy") if is_written else HAM10000
    if task == _task_of(taxonomy) and classes == list(taxonomy.dx):
        return taxonomy
    needed = "its taxonomy is" if is_written else "without a taxonomy in its facts, needed is"
    raise UsageError(
        f"{where} is a model of another task: {task!r} with the classes {classes}; {needed} {_task_of(taxonomy)!r} with "
        f"{', '.join(taxonomy.dx)} in this order."
    )


def _task_of(taxonomy: Taxonomy) -> str:
    return _HAM10000_TASK if taxonomy.name == "ham10000" else taxonomy.name


def _converted(values: Mapping[str, object], taxonomy: Taxonomy, where: str) -> Facts:
    """Check types and ranges; the first fact that has no valid value is named."""
    given = {name: None if value == {} and name in _MAY_LACK else value for name, value in values.items()}
    checked: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        try:
            if name in given:
                checked[name] = msgspec.convert(given[name], kind, strict=True)
        except msgspec.ValidationError as error:
            raise UsageError(f"{where}: its fact {name!r} has no valid value: {values[name]!r}.") from error
    facts = Facts(**checked, taxonomy=taxonomy)
    if wrong := _invalid_fact(facts):
        raise UsageError(f"{where}: its fact {wrong!r} has no valid value: {values[wrong]!r}.")
    return facts


def _invalid_fact(facts: Facts) -> str | None:
    """Name a fact whose parts do not fit each other or the taxonomy, None where all do."""
    if set(facts.name) & set("/\\"):  # files are named by it
        return "name"
    try:
        facts.operating  # noqa: B018  converts
    except msgspec.ValidationError:
        return "decision"
    if facts.diagnosis_counts and (
        len(facts.diagnosis_counts) != len(facts.taxonomy) or not sum(facts.diagnosis_counts)
    ):
        return "diagnosis_counts"
    if not is_written(facts.training_ids):
        return "training_ids"
    if facts.patient and not facts.patient.is_of(len(facts.taxonomy)):
        return "patient"
    promise = facts.conformal
    if promise is None:
        return None
    are_fit = len(promise.thresholds) == len(promise.images) == len(facts.taxonomy)
    are_valid = all(0 <= value <= 1 for value in promise.thresholds) and all(n >= 0 for n in promise.images)
    return None if are_fit and are_valid else "conformal"


_KINDS = {f.name: f.type for f in dataclasses.fields(Facts) if f.name != "taxonomy"}
