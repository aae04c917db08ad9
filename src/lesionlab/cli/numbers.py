"""Numbers as the command line takes them, each refused in a sentence that says what is wanted."""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TypeVar

_Number = TypeVar("_Number", int, float)


def positive(text: str) -> int:
    """Read a count: 1 or more."""
    return _read(int, text, lambda value: value >= 1, "a whole number of at least 1")


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
        raise ArgumentTypeError(f"{text!r} is not {wanted}") from error
    if not is_wanted(value):
        raise ArgumentTypeError(f"{text!r} is not {wanted}")
    return value
