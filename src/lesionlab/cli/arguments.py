"""The command line's parser, and numbers as it takes them: what is refused is refused with what is wanted.

A misspelt option, command or choice is named with the nearest that there is, a number out of range with its range.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lesionlab.cluster import ENGINES
from lesionlab.errors import nearest

if TYPE_CHECKING:
    from lesionlab.recipe import Recipe
    from lesionlab.taxonomy import Taxonomy

Commands = argparse._SubParsersAction
Group = argparse._ArgumentGroup
_Number = TypeVar("_Number", int, float)


class Parser(argparse.ArgumentParser):
    """A parser that rejects unknown arguments itself, instead of passing them to its parent."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Parse; an unknown option is said before anything that is missing."""
        if self._subparsers is None and args is not None:
            self._refuse([text for text in _before_dashes(args) if self._is_unknown(text)])
        found, left = super().parse_known_args(args, namespace)
        self._refuse(left)
        return found, left

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += nearest(value, [str(choice) for choice in action.choices or ()])
            raise

    def _is_unknown(self, text: str) -> bool:
        name = text.partition("=")[0]
        is_option = name.startswith("--") and " " not in text
        return is_option and not any(option.startswith(name) for option in self._option_string_actions)

    def _refuse(self, unknown: list[str]) -> None:
        if not unknown:
            return
        options = [option for option in self._option_string_actions if option.startswith("--")]
        hints = [nearest(text.partition("=")[0], options) if text.startswith("-") else "" for text in unknown]
        self.error("unrecognized arguments: " + " ".join(f"{a}{hint}" for a, hint in zip(unknown, hints, strict=True)))


def _before_dashes(args: Sequence[str]) -> Sequence[str]:
    return args[: args.index("--")] if "--" in args else args


def add_engine(group: Group, help: str) -> None:
    """Add `--engine` and `--address` to a group of options."""
    group.add_argument("--engine", choices=ENGINES, default="local", help=help)
    group.add_argument("--address", metavar="HOST:PORT", help="Ray cluster to use (default: start Ray on this machine)")


def engine_of(options: argparse.Namespace) -> str:
    """Give the engine asked for; an address asks for Ray."""
    return "ray" if options.address is not None else options.engine


def positive(text: str) -> int:
    """Read a count: 1 or more."""
    return _read(int, text, lambda value: value >= 1, "a whole number of at least 1")


def add_data(parser: Any, *, required: bool = True) -> None:
    """Add `--data`, which may be given several times; `lesionlab.folders.as_data` reads it."""
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        required=required,
        metavar="DIR",
        help="folder of images with their diagnoses; may be given several times: all are taken together",
    )


def add_reading(parser: Any) -> None:
    """Add the options that say how a folder is read: `--taxonomy` and `--image-type`."""
    parser.add_argument(
        "--taxonomy",
        metavar="NAME|FILE",
        help="diagnoses to read the data in: ham10000, isic2019, milk10k and others, or a .toml file of your own (default: those "
        "of the data)",
    )
    parser.add_argument(
        "--image-type",
        metavar="KIND,…",
        help="kinds of image to use: dermoscopic, clinical, overview, tbp, confocal, synthetic or all (default: dermoscopic, or "
        "the only kind that there is)",
    )


def reading_of(options: argparse.Namespace) -> "tuple[Taxonomy | None, tuple[str, ...] | None]":
    """Give what `--taxonomy` and `--image-type` ask for; None leaves it to the data."""
    from lesionlab.data.layouts.image_types import kinds_of_recipe
    from lesionlab.taxonomy import read_taxonomy

    return read_taxonomy(options.taxonomy) if options.taxonomy else None, kinds_of_recipe(options.image_type or "")


def recipe_that_reads(recipe: "Recipe", options: argparse.Namespace) -> "Recipe":
    """Put `--taxonomy` and `--image-type` into a recipe, once it is sure that there is such a taxonomy, and such kinds."""
    import dataclasses  # slow to import, and --help does without

    reading_of(options)
    return dataclasses.replace(
        recipe,
        taxonomy=options.taxonomy or recipe.taxonomy,
        image_types=options.image_type or recipe.image_types,
    )


def whole_number(text: str) -> int:
    """Read a seed: 0 to 2147483647, which all that draws by it takes."""
    return _read(int, text, lambda value: 0 <= value < 2**31, "a whole number from 0 to 2147483647")


def port(text: str) -> int:
    """Read a TCP port; 0 for any that is free."""
    return _read(int, text, lambda value: 0 <= value <= 65535, "a port: a whole number from 0 to 65535")


def share(text: str) -> float:
    """Read a share: more than 0, less than 1."""
    return _read(float, text, lambda value: 0 < value < 1, "a number between 0 and 1")


def points(text: str) -> float:
    """Read percentage points: 0 to 100."""
    return _read(float, text, lambda value: 0 <= value <= 100, "a number from 0 to 100")


def megabytes(text: str) -> float:
    """Read a size: 1 MB or more."""
    return _read(float, text, lambda value: 1 <= value < math.inf, "a number of at least 1")


def devices(text: str) -> int | None:
    """Read a number of devices; None for `all`."""
    return None if text == "all" else _read(int, text, lambda value: value >= 1, "a whole number of at least 1, or all")


def _read(read: Callable[[str], _Number], text: str, is_wanted: Callable[[_Number], bool], wanted: str) -> _Number:
    try:
        value = read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from error
    if not is_wanted(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value
