"""What is wrong with a data set, in a form that the report lists: found, counted, decided."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One kind of fault.

    Attributes:
        kind: short name, such as `age-empty`.
        what: a sentence that says what was found.
        count: how many images, rows, lesions or columns.
        decision: what was done about it.
        items: every image, lesion, row or column concerned.
    """

    kind: str
    what: str
    count: int
    decision: str
    items: tuple[str, ...]


def finding(kind: str, what: str, decision: str, items: Iterable[str]) -> list[Finding]:
    """Make a list of one finding, or an empty list where there is nothing to report."""
    # A file name need not be Unicode; a report must be.
    named = tuple(item.encode("utf-8", "backslashreplace").decode() for item in items)
    return [Finding(kind, what, len(named), decision, named)] if named else []
