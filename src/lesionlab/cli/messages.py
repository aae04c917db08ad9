"""What commands say beside their result."""

import sys


def say(text: str) -> None:
    """Print on standard error; a name that is not valid Unicode with what it consists of."""
    print(text.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
