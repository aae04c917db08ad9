"""Names of files in, names of the pictures that they were made of out: what augmentation tools write beside a picture.

Roboflow exports `NAME_jpg.rf.HASH.jpg`, several of each source picture; Augmentor writes `CLASS_original_NAME.jpg_UUID.jpg`;
people and scripts write `NAME_rot90`, `NAME_aug3`, `flip_NAME`, `NAME - Copy (2)`. Such files show one picture, however they
are turned, so that they belong on one side of a split.

Names are matched with care, since a word too many would join what is not one: a name that is left without a digit (`image_aug_1`
leaves `image`) says nothing of the picture, unless a file has that very name. Of an addition that is no known word (`NAME_2`)
the same is asked, and that a file is named `NAME`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

_SUFFIX = r"(?:jpe?g|jfif|png|bmp|tiff?|webp|gif)"
_ROBOFLOW = re.compile(rf"^(?P<source>.+?)[._-]{_SUFFIX}\.rf\.[0-9a-z]+$", re.IGNORECASE)
_AUGMENTOR = re.compile(rf"^.*?_original_(?P<source>.+?)\.{_SUFFIX}_[0-9a-f-]{{32,36}}$", re.IGNORECASE)
_WORDS = (
    r"orig(?:inal)?|rot|rotat(?:e|ed|ion)|r(?=90|180|270)|turn(?:ed)?|[hv]{1,2}[-_ ]?flip(?:ped)?|flip(?:ped)?|fliplr|flipud|"
    r"mirror(?:ed)?|transposed?|transverse|aug|augment(?:ed|ation)?|copy(?:[-_ ]of)?|crop(?:ped)?|zoom(?:ed)?|scaled?|"
    r"resized?|downsampled|shear(?:ed)?|shift(?:ed)?|translat(?:e|ed|ion)|affine|elastic|distort(?:ed)?|warp(?:ed)?|"
    r"bright(?:er|ened|ness)?|dark(?:er|ened)?|contrast|hue|saturation|gamma|jitter(?:ed)?|colou?r[-_ ]?jitter|clahe|"
    r"equali[sz]ed?|sharp(?:en|ened)?|blur(?:red)?|noisy|noise|gr[ae]y(?:scale)?|hairless|hair[-_ ]?removed|dullrazor|"
    r"inpainted|cutout|mixup"
)
_HOW = (
    r"h|v|hv|vh|lr|ud|x|y|hori[sz]\w*|vert\w*|both|left|right|c?cw|minus|plus|neg|pos|by|deg(?:rees?)?|"
    r"[-+]?\d+(?:[.,]\d+)?(?:x\d+|x|px|deg(?:rees?)?|%)?|[0-9a-f]{6,40}"
)
_BEHIND = re.compile(rf"(?:[-_. (\[]+|(?<=\d))(?:{_WORDS})(?:[-_. (\[]*(?:{_HOW}))*[)\]]*$", re.IGNORECASE)
_BEFORE = re.compile(rf"^(?:{_WORDS})(?:[-_. ]*(?:{_HOW}))?[-_. ]+(?=.*\d)", re.IGNORECASE)
_ADDITION = re.compile(r"[-_. ()]+")  # where one may begin


def sources(names: Sequence[str], dx: Sequence[str]) -> list[str]:
    """Give each picture's source by its name.

    Args:
        names: of files, without suffix.
        dx: the diagnosis of each. It counts only where several files have one name, as pictures that are numbered in each
            diagnosis's folder have: then copies with another diagnosis are of another picture.

    Returns:
        A key for each; those with the same key are copies of one picture. Files that merely have the same name are not.
    """
    lowered = [name.lower() for name in names]
    known = set(lowered)
    source = {name: _source(name, known) for name in known}
    keys = [source[source[name]] if source[name] in known else source[name] for name in lowered]
    copied = {key for name, key in zip(lowered, keys, strict=True) if name != key}
    several = Counter(lowered)
    ambiguous = {key for name, key in zip(lowered, keys, strict=True) if several[name] > 1}
    return [
        f"{number}" if key not in copied else f"{key}/{code}" if key in ambiguous else f"{key}/"
        for number, (key, code) in enumerate(zip(keys, dx, strict=True))
    ]


def extended(names: Sequence[str]) -> list[bool]:
    """Whether each name is another one's with an addition."""
    known = {name.lower() for name in names}
    return [any(start in known for start in _starts(name.lower())) for name in names]


def _source(name: str, known: set[str]) -> str:
    """The picture that a file is named as a copy of; the name itself where it is named so of none."""
    bare = _bare(name)
    if not _is_telling(bare, known):
        bare = name
    return next((start for start in _starts(bare) if start in known and any(map(str.isdigit, start))), bare)


def _is_telling(name: str, known: set[str]) -> bool:
    return name in known or any(map(str.isdigit, name))


def _bare(name: str) -> str:
    """Take away what tools and people add, one addition after another."""
    for pattern in (_ROBOFLOW, _AUGMENTOR):
        if match := pattern.match(name):
            name = match["source"]
    while True:
        shorter = _BEFORE.sub("", _BEHIND.sub("", name))
        if shorter in (name, ""):
            return name
        name = shorter


def _starts(name: str) -> Iterator[str]:
    """What stands before each separator, the shortest first."""
    return (name[: match.start()] for match in _ADDITION.finditer(name) if match.start())
