"""What is wrong with a data set, in a form that the report lists: found, counted, decided."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One kind of fault.

    Attributes:
        kind: short name, such as `age-empty`.
        what: a sentence that says what was found.
        count: how many images, rows or lesions.
        decision: what was done about it.
        items: every image, lesion or row concerned.
    """

    kind: str
    what: str
    count: int
    decision: str
    items: tuple[str, ...]


def finding(kind: str, what: str, decision: str, items: list[str]) -> list[Finding]:
    """Make a list of one finding, or an empty list where there is nothing to report."""
    return [Finding(kind, what, len(items), decision, tuple(items))] if items else []
