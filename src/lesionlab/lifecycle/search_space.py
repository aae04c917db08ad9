"""A search space: which keys of a recipe are varied, in what range.

In: a TOML file with a recipe's sections, where a value is a list or a range. Out: checked ranges by `section.key`.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionlab.errors import UsageError, nearest
from lesionlab.recipe import Recipe

_FIXED = {
    "split": "trials would be evaluated on different lesions",
    "decision": "it is chosen after training, so no trial shows what it does",
    "model.views": "it is used after training, so no trial shows what it does",
    "training.keep": "of a trial every epoch is looked at",
    "optimizer.epochs": "trials are stopped early; set the most epochs with --epochs",
}


Value = str | int | float | bool


@dataclass(frozen=True)
class Choices:
    """Values to choose from, evenly."""

    choices: list[Value]


@dataclass(frozen=True)
class Range:
    """Two bounds to choose between, evenly in the logarithm where `log` is true; of a whole number both can be chosen."""

    low: float
    high: float
    log: bool
    whole: bool


Space = dict[str, Choices | Range]  # by `section.key`


def read_space(path: Path, recipe: Recipe) -> Space:
    """Read a search space: a recipe's sections, with a list of values or a range in place of a value.

    A list such as `batch_size = [16, 32]` gives `Choices`, `learning_rate = { low = 1e-4, high = 1e-2, log = true }` a `Range`.

    Raises:
        UsageError: no such file, not TOML, an unknown key, a value that the recipe cannot have, or one that is not tuned.

    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UsageError(f"There is no search space {path}.") from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The search space {path} cannot be read: {error}.") from error
    space: Space = {}
    for section, keys in values.items():
        if not isinstance(keys, dict):
            raise UsageError(f"{path}: {section} must be a section [{section}] of a recipe, not the value {keys!r}.")
        for key, given in keys.items():
            space[f"{section}.{key}"] = _read_range(path, recipe, section, key, given)
    if not space:
        raise UsageError(f"{path} varies nothing. Give at least one key, such as [optimizer] batch_size = [16, 32].")
    return space


def _read_range(path: Path, recipe: Recipe, section: str, key: str, given: Any) -> Choices | Range:
    name = f"{section}.{key}"
    reason = _FIXED.get(section) or _FIXED.get(name)
    if reason:
        raise UsageError(f"{path}: {name} is not tuned: {reason}.")
    is_range = isinstance(given, dict) and {"low", "high"} <= set(given) <= {"low", "high", "log"}
    if not is_range and not (isinstance(given, list) and given):
        raise UsageError(
            f"{path}: {name} must be a list of values or {{ low = …, high = …, log = true }}, not {given!r}."
        )
    ends = [given["low"], given["high"]] if is_range else given
    try:
        checked = [getattr(getattr(changed(recipe, {name: value}).with_full_paths(), section), key) for value in ends]
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    if not is_range:
        return Choices(checked)
    low, high = checked
    is_log = given.get("log", False)
    if not isinstance(is_log, bool):
        raise UsageError(f"{path}: {name}: log must be true or false, not {is_log!r}.")
    if isinstance(low, str | bool) or not low < high or (is_log and low <= 0):
        raise UsageError(f"{path}: {name} must have numbers low < high{', above 0' if is_log else ''}, not {given!r}.")
    return Range(low, high, is_log, isinstance(low, int))


def changed(recipe: Recipe, choices: Mapping[str, Value]) -> Recipe:
    """Change keys of a recipe, given as `section.key`; raises UsageError where one does not exist or cannot be so."""
    sections = {field.name for field in dataclasses.fields(Recipe) if dataclasses.is_dataclass(field.type)}
    for name, value in choices.items():
        section, _, key = name.partition(".")
        if section not in sections:
            raise UsageError(f"unknown section {section!r} of a recipe{nearest(section, sorted(sections))}")
        recipe = recipe.with_changes(section, **{key: value})
    return recipe
