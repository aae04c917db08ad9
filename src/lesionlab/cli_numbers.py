"""Numbers as the command line takes them, each refused in a sentence where it is out of range."""

from argparse import ArgumentTypeError


def positive(text: str) -> int:
    """Read a count: 1 or more."""
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f"{text} is not at least 1")
    return value


def whole_number(text: str) -> int:
    """Read a seed: 0 to 2147483647, which all that draws by it takes."""
    value = int(text)
    if not 0 <= value < 2**31:
        raise ArgumentTypeError(f"{text} is not from 0 to 2147483647")
    return value
