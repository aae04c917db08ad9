"""A recipe: every choice of a run in one frozen dataclass, written as one TOML file.

In: the name of a recipe that comes with lesionlab, or a TOML file. Out: a checked `Recipe`. A key that is unknown or
mistyped, a value of the wrong type or out of range is an error that names the file, the key and the nearest valid one.
"""

import dataclasses
import os
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args, get_origin

from lesionlab.errors import UsageError, nearest
from lesionlab.files import as_toml, read_toml
from lesionlab.recipes import RECIPES, Calibration

_LATER = {
    "later": True
}  # a key that older runs lack: written where it is not the default, so that these are known again


def _between(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class ImageChoice:
    """How a file becomes pixels, and how pixels are normalised.

    `normalisation`: `training` (mean and standard deviation per channel, of the training part), `training-global` (one
    mean and one standard deviation over all channels, as the notebook has it) or `architecture` (the range that the
    architecture's ImageNet weights were trained with).
    """

    height: int = _between(128, 16, 1024)
    width: int = _between(128, 16, 1024)
    crop: Literal["centre", "stretch"] = "centre"
    normalisation: Literal["training", "training-global", "architecture"] = "training"


@dataclass(frozen=True)
class SplitChoice:
    """Who is tested on: `lesion`, `kaggle` (leaks), `source` (a clinic), `official` (as published), `file` (of one's own)."""

    name: Literal["lesion", "kaggle", "source", "official", "file"] = "lesion"
    test_share: float = _between(0.15, 0.01, 0.9)
    validation_share: float = _between(0.15, 0.01, 0.9)
    source: str = ""
    file: str = ""


@dataclass(frozen=True)
class AugmentChoice:
    """Random changes of the training images, drawn anew at every step.

    `flips`, `rotation_degrees`, `zoom` and `shift` move the image (the latter two in shares of the side). `colour`: strength
    of changes of light, contrast, saturation and white balance. `degrade`: share of the images that are made worse: noise,
    and what `lesionlab.model.degrade` does.
    `mixup`: alpha of the Beta distribution that two images and their labels are mixed by (Zhang et al., "mixup: beyond
    empirical risk minimization", ICLR 2018); 0 for none.
    """

    flips: bool = True
    rotation_degrees: float = _between(180.0, 0, 180)
    zoom: float = _between(0.0, 0, 0.9)
    shift: float = _between(0.0, 0, 0.9)
    colour: float = _between(0.0, 0, 1)
    degrade: float = _between(0.0, 0, 1)
    mixup: float = _between(0.0, 0, 2)


@dataclass(frozen=True)
class ModelChoice:
    """The network: `notebook-cnn`, `small-cnn` or the name of any `keras.applications` model.

    `weights`: `imagenet` (Keras downloads them), `none`, or the path of a `.weights.h5` file of the network
    without top, or of one that Keras publishes (`…_no_top.h5`).
    `frozen_until`: the last layer of the pretrained part that stays as it is, such as `conv_pw_3_relu` of MobileNet;
    empty: all is trained. `views`: of how many flipped copies of an image the trained network takes the mean, in its
    logits; 1 is the image alone, 4 takes all.
    """

    architecture: str = "MobileNet"
    weights: str = "none"
    frozen_until: str = ""
    dropout: float = _between(0.2, 0, 0.9)
    views: int = _between(1, 1, 4)


@dataclass(frozen=True)
class OptimizerChoice:
    """Optimizer, batch, epochs and the annealer of the learning rate; `weight_decay` is of adamw alone."""

    name: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = _between(1e-3, 1e-8, 1)
    weight_decay: float = _between(0.0, 0, 1)
    batch_size: int = _between(32, 1, 4096)
    epochs: int = _between(10, 1, 10_000)
    annealer: Literal["none", "plateau", "cosine"] = "cosine"
    warmup_epochs: float = _between(0.5, 0, 100)
    plateau_patience: int = _between(3, 1, 1000)
    plateau_factor: float = _between(0.5, 0.01, 0.99)
    plateau_floor: float = _between(1e-5, 0, 1)


@dataclass(frozen=True)
class LossChoice:
    """Cross-entropy, what is done about rare diagnoses (they weigh more, or are drawn more often), and who teaches.

    `teacher`: a model file of the same diagnoses, such as a run's `model.onnx`; `teacher_share` of an image's label is what it
    makes of the image (`lesionlab.lifecycle.teach`). Empty: labels are the truth alone.
    """

    class_weights: Literal["none", "sqrt-inverse", "inverse"] = "none"
    sampling: Literal["none", "sqrt-inverse", "inverse"] = "none"
    label_smoothing: float = _between(0.0, 0, 0.5)
    teacher: str = field(default="", metadata=_LATER)
    teacher_share: float = field(default=0.5, metadata={"low": 0, "high": 1} | _LATER)


@dataclass(frozen=True)
class TrainingChoice:
    """Arithmetic of the training step, the size of its images, and which epoch's weights are kept.

    `precision`: `bfloat16` of every layer, for a GPU; `bfloat16-convolutions` of convolutions that are not depthwise, where
    TensorFlow trains on a CPU that has AVX512-BF16 or AMX, else float32. Variables, and the network that is saved, are float32
    in any.
    `first_side`: longer side in px of the images in the first third of the epochs; the second third has the mean of that
    and the full size, the last third the full size (progressive resizing; Tan and Le, "EfficientNetV2", ICML 2021). 0: full
    size from the start.
    """

    precision: Literal["float32", "bfloat16", "bfloat16-convolutions"] = "float32"
    first_side: int = _between(0, 0, 1024)
    keep: Literal["best", "last"] = "best"


@dataclass(frozen=True)
class DecisionChoice:
    """From probabilities to a diagnosis.

    `prior-corrected` divides the probabilities by the training priors to a power chosen on the validation part for
    balanced accuracy (Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, post-hoc form).
    `calibration`: a temperature, or a scale and an offset for each diagnosis, found on the validation part by log loss, comes
    first; see `lesionlab.evaluation.vector_scaling`.
    """

    rule: Literal["argmax", "prior-corrected"] = "argmax"
    calibration: Calibration = "none"


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run.

    `taxonomy`: the diagnoses that the data are read in, by the name of a taxonomy that comes with lesionlab or the path of a
    file; empty: those that the data folder has. `image_types`: kinds of image that are read, such as `dermoscopic,clinical`;
    empty: dermoscopic ones, or, of data that have none, the kind that they are of.
    """

    name: str = "unnamed"
    summary: str = ""
    taxonomy: str = ""
    image_types: str = ""
    image: ImageChoice = ImageChoice()
    split: SplitChoice = SplitChoice()
    augment: AugmentChoice = AugmentChoice()
    model: ModelChoice = ModelChoice()
    optimizer: OptimizerChoice = OptimizerChoice()
    loss: LossChoice = LossChoice()
    training: TrainingChoice = TrainingChoice()
    decision: DecisionChoice = DecisionChoice()

    def with_changes(self, section: str, **changes: Any) -> Self:
        """Copy the recipe with other values in one section, checked like those of a file."""
        part = getattr(self, section)
        checked = _read_section(type(part), dataclasses.asdict(part) | changes, f"recipe {self.name}", f"{section}.")
        return dataclasses.replace(self, **{section: checked})

    def with_full_paths(self) -> Self:
        """Copy the recipe with the paths of its files in full: who takes it up later may stand in another folder."""
        weights, split, taxonomy = self.model.weights, self.split.file, self.taxonomy
        recipe = self.with_changes("model", weights=os.path.abspath(weights)) if os.path.isfile(weights) else self
        if os.path.isfile(self.loss.teacher):
            recipe = recipe.with_changes("loss", teacher=os.path.abspath(self.loss.teacher))
        if taxonomy.endswith(".toml"):
            recipe = dataclasses.replace(recipe, taxonomy=os.path.abspath(taxonomy))
        return recipe.with_changes("split", file=os.path.abspath(split)) if split else recipe

    def sides(self) -> tuple[int, int, int]:
        """Longer side, in px, of the training images in each third of the epochs; 0 for their full size."""
        first = self.training.first_side
        return (first, (first + max(self.image.height, self.image.width)) // 2 if first else 0, 0)

    def to_toml(self) -> str:
        """Write every choice, defaults that older runs know too, as TOML that `read_recipe` reads back to an equal recipe."""
        lines = [f"name = {as_toml(self.name)}", f"summary = {as_toml(self.summary)}"]
        for key in ("taxonomy", "image_types"):
            lines += [f"{key} = {as_toml(value)}"] if (value := getattr(self, key)) else []
        for section in dataclasses.fields(self)[4:]:
            lines += ["", f"[{section.name}]"]
            part = getattr(self, section.name)
            for choice in dataclasses.fields(part):
                value = getattr(part, choice.name)
                if not (choice.metadata.get("later") and value == choice.default):
                    lines.append(f"{choice.name} = {as_toml(value)}")
        return "\n".join(lines) + "\n"


def recipe_names() -> list[str]:
    """Names of the recipes that come with lesionlab."""
    return list(RECIPES)


def read_recipe(name_or_file: str) -> Recipe:
    """Read a recipe that comes with lesionlab by its name, or any other by its path.

    Raises:
        UsageError: no such recipe (the nearest name is given), not TOML, or a key or value that is not valid.

    """
    values = read_toml(name_or_file, "recipes")
    if values is None:
        names = recipe_names()
        if name_or_file == "probe":
            raise UsageError("A probe trains no network and is a command of its own: lesionlab probe --data DIR.")
        raise UsageError(
            f"There is no recipe {name_or_file!r}{nearest(name_or_file, names)}. Recipes that come with lesionlab: "
            f"{', '.join(names)}; or give the path of a .toml file."
        )
    recipe: Recipe = _read_section(Recipe, values, name_or_file, "")
    _check_split(recipe.split, values.get("split", {}), name_or_file)
    if not recipe.name.strip() or set(recipe.name) & set("/\\") or recipe.name in (".", ".."):
        raise UsageError(f"{name_or_file}: name = {recipe.name!r} is no name of a folder, which runs are put into.")
    return recipe


def _check_split(choice: SplitChoice, given: Container[str], where: str) -> None:
    """Refuse a section [split] whose keys contradict each other, or would be passed over."""
    for name in ("file", "source"):
        value = getattr(choice, name)
        if value and "name" not in given:
            raise UsageError(f"{where}: split.{name} = {value!r} needs split.name = {name!r} beside it: add it.")
        if choice.name == name and not value:
            raise UsageError(f"{where}: split.name = {name!r} needs split.{name}: add it, or leave both to --split.")
    if choice.test_share + choice.validation_share >= 1:
        raise UsageError(
            f"{where}: split.test_share = {choice.test_share} and split.validation_share = {choice.validation_share} leave "
            "nothing to train on: their sum must be below 1."
        )


def _read_section(kind: Any, values: dict[str, Any], where: str, prefix: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise UsageError(f"{where}: unknown key {prefix}{key}{_home_of(key) or nearest(key, list(fields))}.")
    return kind(**{key: _checked(fields[key], value, where, prefix + key) for key, value in values.items()})


def _home_of(key: str) -> str:
    """Word a hint at the section that has this key, or nothing where none has."""
    homes = [name for name, part in dataclasses.asdict(Recipe()).items() if isinstance(part, dict) and key in part]
    return f" (it belongs to the section [{homes[0]}], as {homes[0]}.{key})" if homes else ""


def _checked(spec: dataclasses.Field, value: Any, where: str, key: str) -> Any:
    kind: Any = spec.type
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise UsageError(f"{where}: {key} must be a section [{key}], not the value {value!r}.")
        return _read_section(kind, value, where, f"{key}.")
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            allowed = [str(choice) for choice in get_args(kind)]
            raise UsageError(f"{where}: {key} = {value!r} is not one of {', '.join(allowed)}{nearest(value, allowed)}.")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise UsageError(f"{where}: {key} must be of type {kind.__name__}, not {value!r}.")
    low, high = spec.metadata.get("low"), spec.metadata.get("high")
    if low is not None and not low <= value <= high:
        raise UsageError(f"{where}: {key} = {value!r} is outside {low} to {high}.")
    return value
