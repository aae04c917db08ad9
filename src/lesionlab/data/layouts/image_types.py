"""Kinds of image by how they were taken: dermoscopic ones are read, others are set aside unless asked for."""

import pandas as pd

from lesionlab.errors import UsageError

DERMOSCOPIC = "dermoscopic"
KINDS = (DERMOSCOPIC, "clinical", "overview", "tbp", "confocal", "synthetic")
# The ISIC archive's words (its field image_type) by how they begin; close-ups of the skin are "clinical".
_BEGINNINGS = {
    "dermoscopic": DERMOSCOPIC,
    "dermatoscopic": DERMOSCOPIC,
    "clinical: overview": "overview",
    "clinical": "clinical",
    "overview": "overview",
    "tbp tile: overview": "overview",
    "tbp": "tbp",
    "rcm": "confocal",
    "confocal": "confocal",
}


def read_kinds(text: str) -> tuple[str, ...]:
    """Read a list such as `dermoscopic,clinical`; `all` stands for every kind.

    Raises:
        UsageError: a word that is no kind.
    """
    words = tuple(word.strip().lower() for word in text.split(",") if word.strip())
    if words == ("all",):
        return KINDS
    for word in words:
        if word not in KINDS:
            raise UsageError(f"--image-type {text}: {word!r} is none of {', '.join(KINDS)}, all.")
    return words or (DERMOSCOPIC,)


def kinds_of_recipe(text: str) -> tuple[str, ...] | None:
    """Read a recipe's `image_types`; empty leaves the kinds to the data."""
    return read_kinds(text) if text else None


def kinds_of(written: pd.Series, manipulation: pd.Series | None = None) -> pd.Series:
    """Give the kind of each row's `image_type`; "" where it says none; `synthetic` where `image_manipulation` says so."""
    kinds = written.map({word: _kind(word.lower()) for word in written.unique()})
    return kinds if manipulation is None else kinds.mask(manipulation.str.lower() == "synthetic", "synthetic")


def reasons(kinds: pd.Series, wanted: tuple[str, ...] | None) -> pd.Series:
    """Give each row the reason for which it is set aside, "" where it stays.

    Args:
        kinds: from `kinds_of`; rows of no kind stay.
        wanted: kinds that stay; None for dermoscopic images, or, where there are none, for the commonest kind.
    """
    present = kinds[(kinds != "") & (kinds != "synthetic")].value_counts()
    if wanted is None:
        wanted = (DERMOSCOPIC,) if DERMOSCOPIC in present or present.empty else (str(present.index[0]),)
    stays = kinds.isin(("", *wanted))
    return ("image type " + kinds + ", not " + " or ".join(wanted)).where(~stays, "")


def _kind(word: str) -> str:
    return next((kind for beginning, kind in _BEGINNINGS.items() if word.startswith(beginning)), "")
