"""Diagnoses as people write them: which taxonomy they are of, and their codes in it; all others are refused together."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cache

from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy, read_taxonomy

# Sets that words alone can tell, the first that has all of them is taken; others come with a layout of their own.
_BY_WORDS = ("ham10000",)
_LISTED = 10


@cache
def known_by_words() -> tuple[Taxonomy, ...]:
    """Taxonomies that words alone can tell, in the order in which they are tried."""
    return tuple(read_taxonomy(name) for name in _BY_WORDS)


def taxonomy_of(written: Collection[str]) -> Taxonomy:
    """Give the first taxonomy that has every word; where none has, the one that has most of them."""
    words = set(written)
    return max(known_by_words(), key=lambda taxonomy: sum(taxonomy.find(word) is not None for word in words))


def names_a_diagnosis(word: str, taxonomy: Taxonomy | None = None) -> bool:
    """Tell whether a word is a diagnosis of a taxonomy, or of any that words alone can tell."""
    return any(known.find(word) for known in ([taxonomy] if taxonomy else known_by_words()))


def read_all_dx(values: Sequence[str], places: Sequence[str], taxonomy: Taxonomy, where: str, remedy: str) -> list[str]:
    """Give the code of each value as `Taxonomy.find` does.

    Args:
        values: as written.
        places: where each stands, such as `row 5`.
        taxonomy: of the diagnoses.
        where: what `places` are of, to begin the message with.
        remedy: how to leave the others out.

    Raises:
        UsageError: values that are none of the set, each with its count, its first place, and the near-identical name.
    """
    counts = Counter(values)
    dx_of = {value: taxonomy.find(value) for value in counts}
    unknown = {value: counts[value] for value, dx in dx_of.items() if dx is None}
    if unknown:
        first: dict[str, str] = {}
        for value, place in zip(values, places, strict=True):
            first.setdefault(value, place)
        refuse_unknown(unknown, first, taxonomy, where, remedy)
    return [dx_of[value] or "" for value in values]


def refuse_unknown(
    counts: Mapping[str, int], first: Mapping[str, str], taxonomy: Taxonomy, where: str, remedy: str
) -> None:
    """Raise UsageError that lists diagnoses which are none of the set, the most frequent first."""
    ordered = sorted(counts, key=lambda value: -counts[value])
    said = ", ".join(
        f"{value!r} ({counts[value]:,}, first: {first[value]}{_hint(value, taxonomy)})" for value in ordered[:_LISTED]
    )
    more = f" and {len(ordered) - _LISTED:,} others" if len(ordered) > _LISTED else ""
    raise UsageError(f"{where}: unknown diagnosis {said}{more}. Known are {', '.join(taxonomy.dx)}. {remedy}")


def _hint(value: str, taxonomy: Taxonomy) -> str:
    near = taxonomy.nearest(value)
    return f"; did you mean {near!r}?" if near else ""
