"""Diagnoses as people write them: codes, names and synonyms, read as HAM10000's seven; all others are refused together.

A synonym stands here only where it means one of the seven whoever writes it. What is near in spelling is often far in
medicine (squamous and basal cell carcinoma): a hint is given for slips of the pen in long names alone.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

from lesionlab.errors import UsageError
from lesionlab.taxonomy import DIAGNOSES, DX

_SYNONYMS = {
    "mel": ("malignant melanoma", "melanoma in situ", "melanoma, nos", "melanoma invasive", "melanomas"),
    "nv": ("melanocytic nevi", "melanocytic naevus", "melanocytic naevi", "nevus", "nevi", "naevus", "naevi", "nev", "mole"),
    "bcc": ("basal cell carcinomas",),
    "akiec": (
        "actinic keratosis",
        "actinic keratoses",
        "actinic keratoses and intraepithelial carcinoma",
        "actinic keratosis and intraepithelial carcinoma",
        "solar keratosis",
        "solar or actinic keratosis",
        "ak",
        "ack",
        "bowen's disease",
        "bowen disease",
        "bowens disease",
        "squamous cell carcinoma in situ",
        "squamous cell carcinoma in situ, bowen's disease",
        "intraepithelial carcinoma",
    ),
    "bkl": (
        "benign keratosis-like lesions",
        "benign keratosis-like lesion",
        "benign keratoses",
        "pigmented benign keratosis",
        "seborrheic keratosis",
        "seborrheic keratoses",
        "seborrhoeic keratosis",
        "seborrhoeic keratoses",
        "sek",
        "solar lentigo",
        "solar lentigines",
        "lichen planus-like keratosis",
        "lichen planus like keratosis",
        "lichenoid keratosis",
    ),
    "df": ("dermatofibromas",),
    "vasc": (
        "vascular lesions",
        "hemangioma",
        "haemangioma",
        "angioma",
        "cherry angioma",
        "angiokeratoma",
        "pyogenic granuloma",
    ),
}  # fmt: skip
_DX_OF_NAME = {diagnosis.name: diagnosis.dx for diagnosis in DIAGNOSES} | {
    name: dx for dx, names in _SYNONYMS.items() for name in names
}
_SHORT = 3  # letters of a code, in which one letter makes another disease
_LISTED = 10


def find_dx(value: str) -> str | None:
    """Give the code of a diagnosis written as code, name or synonym, in any case; None where it is none of the seven."""
    text = _plain(value)
    return text if text in DX else _DX_OF_NAME.get(text)


def read_all_dx(values: Sequence[str], places: Sequence[str], where: str, remedy: str) -> list[str]:
    """Give the code of each value as `find_dx` does.

    Args:
        values: as written.
        places: where each stands, such as `row 5`.
        where: what `places` are of, to begin the message with.
        remedy: how to leave the others out.

    Raises:
        UsageError: values that are none of the seven, each with its count, its first place, and the near-identical name.
    """
    found = [find_dx(value) for value in values]
    first: dict[str, str] = {}
    for value, place, dx in zip(values, places, found, strict=True):
        if dx is None:
            first.setdefault(value, place)
    if first:
        refuse_unknown(Counter(value for value in values if value in first), first, where, remedy)
    return [dx for dx in found if dx]


def refuse_unknown(counts: Mapping[str, int], first: dict[str, str], where: str, remedy: str) -> None:
    """Raise UsageError that lists diagnoses which are none of the seven, the most frequent first."""
    ordered = sorted(counts, key=lambda value: -counts[value])
    said = ", ".join(
        f"{value!r} ({counts[value]:,}, first: {first[value]}{_hint(value)})" for value in ordered[:_LISTED]
    )
    more = f" and {len(ordered) - _LISTED:,} others" if len(ordered) > _LISTED else ""
    raise UsageError(f"{where}: unknown diagnosis {said}{more}. Known are {', '.join(DX)}. {remedy}")


def _hint(value: str) -> str:
    """Name the diagnosis whose name differs by a slip of the pen; nothing for codes and for names of other length."""
    text = _plain(value)
    names = [name for name in _DX_OF_NAME if min(len(name), len(text)) > _SHORT and abs(len(name) - len(text)) <= 2]
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.85)
    return f"; did you mean {find_dx(near[0])!r}?" if near else ""


def _plain(value: str) -> str:
    return " ".join(value.lower().replace("_", " ").replace("\u2019", "'").split())
