"""Diagnoses as people write them: which taxonomy they are of, and their codes in it; all others are refused together.

A word that a taxonomy does not know may be one of the ISIC archive's 418 diagnoses: then what stands above it in the archive's
hierarchy is looked up in its place, from the nearest up ("Nevus, Spitz" is a nevus).
"""

import csv
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib import resources

from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy, plain, read_taxonomy

# Sets that words alone can tell, the first that has all of them is taken; others come with a layout of their own.
_BY_WORDS = ("ham10000", "isic2019")
_BY_CODES = "milk10k"  # whose words are too wide for that: a fibroma is "other benign" there
_TWO_CLASSES = "isic2024"  # malignant and benign by those very words: any diagnosis of the archive is one of them
_LISTED = 10


@cache
def known_by_words() -> tuple[Taxonomy, ...]:
    """Taxonomies that words alone can tell, in the order in which they are tried."""
    return tuple(read_taxonomy(name) for name in (*_BY_WORDS, _TWO_CLASSES))


def taxonomy_of(written: Collection[str]) -> Taxonomy:
    """Give the first taxonomy that has every word; where none has, the one that has most of them.

    MILK10k's is given where it has every word, and those that no other has are its codes (`sccka`): the packaged model's.
    """
    words = set(written)
    *detailed, two_classes = known_by_words()
    if words and all(two_classes.find(word) for word in words):
        return two_classes
    best = max(detailed, key=lambda taxonomy: sum(find_dx(word, taxonomy) is not None for word in words))
    others, wide = {word for word in words if find_dx(word, best) is None}, read_taxonomy(_BY_CODES)
    are_codes = {word.strip().lower() for word in others} <= set(wide.dx)
    return wide if others and are_codes and all(find_dx(word, wide) for word in words) else best


def names_a_diagnosis(word: str, taxonomy: Taxonomy | None = None) -> bool:
    """Tell whether a word is a diagnosis of a taxonomy, or of any that words alone can tell."""
    if taxonomy:
        return find_dx(word, taxonomy) is not None
    return (
        not word.isdigit()
        and any(known.find(word) or find_dx(word, known) for known in known_by_words()[:-1])
        or (not word.isdigit() and known_by_words()[-1].find(word) is not None)
    )


def find_dx(written: str, taxonomy: Taxonomy) -> str | None:
    """Give the code of a diagnosis as `Taxonomy.find` does, or of the nearest that the ISIC archive has above it."""
    if dx := taxonomy.find(written):
        return dx
    return find_in_levels(levels_of(written)[:-1], taxonomy)


def find_in_levels(levels: Sequence[str], taxonomy: Taxonomy) -> str | None:
    """Give the code of the deepest of an archive's levels, from level 1 on, that a taxonomy knows; None for none."""
    return next((dx for level in reversed(levels) if level and (dx := taxonomy.find(level))), None)


def levels_of(written: str) -> tuple[str, ...]:
    """Give the levels of one of the ISIC archive's diagnoses from level 1 to its own; empty where it is none."""
    return _hierarchy().get(plain(written), ())


@cache
def _hierarchy() -> dict[str, tuple[str, ...]]:
    """Levels of each diagnosis, from `taxonomies/isic-hierarchy.csv`.

    The file is a table of facts: the values of `DiagnosisEnum` in the package isic-metadata 4.12.0 of the archive's makers, split
    at the colons; its spelling is kept ("Cylindoma"). No name stands twice.
    """
    text = (resources.files("lesionlab") / "taxonomies" / "isic-hierarchy.csv").read_text(encoding="utf-8")
    rows = [tuple(level for level in row if level) for row in csv.reader(text.splitlines()[1:])]
    return {plain(levels[-1]): levels for levels in rows}


def read_all_dx(values: Sequence[str], places: Sequence[str], taxonomy: Taxonomy, where: str, remedy: str) -> list[str]:
    """Give the code of each value as `find_dx` does.

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
    dx_of = {value: find_dx(value, taxonomy) for value in counts}
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
    if all(value.isdigit() for value in counts):
        remedy = (
            "These are numbers without names: write the names of the diagnoses, or give a --taxonomy FILE.toml in which each "
            f'diagnosis has its number as a synonym (synonyms = ["{ordered[0]}"]).'
        )
    raise UsageError(f"{where}: unknown diagnosis {said}{more}. Known are {', '.join(taxonomy.dx)}. {remedy}")


def _hint(value: str, taxonomy: Taxonomy) -> str:
    near = taxonomy.nearest(value)
    return f"; did you mean {near!r}?" if near else ""
