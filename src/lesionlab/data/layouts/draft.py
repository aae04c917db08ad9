"""Draft a taxonomy from a folder whose diagnoses are of no set that is known: the user says which are malignant."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

from lesionlab.data.layouts.archive import ARCHIVE_NEEDS
from lesionlab.data.layouts.metadata import ALIASES
from lesionlab.data.layouts.scan import Scan, scan_folder
from lesionlab.data.layouts.tables import read_table
from lesionlab.data.layouts.written_diagnoses import levels_of
from lesionlab.errors import UsageError
from lesionlab.files import as_toml

_MOST = 1000  # diagnoses; more are no diagnoses but ids


def draft_taxonomy(folder: Path) -> str:
    """Write the words of a folder as TOML that `read_taxonomy` reads once each says whether it is malignant.

    The words are those of the column `dx` of its tables, or else the names of the folders that images lie in.

    Raises:
        UsageError: fewer than two words, or so many that they are no diagnoses; no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    counts = _words(scan_folder(folder))
    if not 2 <= len(counts) <= _MOST:
        raise UsageError(
            f"{folder} has {len(counts):,} words that may be diagnoses (the column dx of its tables, or the names of the folders "
            f"that images lie in): a set has 2 to {_MOST:,}."
        )
    codes = _codes(list(counts))
    lines = [
        f"# Drafted from {folder.name}. Add to each diagnosis is_malignant = true or false; until then this file is refused.",
        "# A name, or one of synonyms = [...], that a model knows lets 'lesionlab adapt' start from what the model knows of it.",
        "# focus names the diagnosis that has figures of its own, such as a melanoma's sensitivity; without it there are none.",
        "",
        f"name = {as_toml(_code(folder.resolve().name) or 'mine')}",
        f"summary = {as_toml(f'{folder.resolve().name}; who says what is malignant, and by what rule?')}",
    ]
    for word, count in counts.most_common():
        levels = levels_of(word)
        said = f", {levels[0].lower()} in the ISIC archive" if levels else ""
        lines += [
            "",
            "[[diagnosis]]",
            f"dx = {as_toml(codes[word])}",
            f"name = {as_toml(word)}",
            f"# is_malignant = true or false?  ({count:,} images{said})",
        ]
    return "\n".join(lines) + "\n"


def _words(scan: Scan) -> Counter[str]:
    """How many images have each word."""
    counts: Counter[str] = Counter()
    for path, (header, _) in scan.tables.items():
        column = next((name for name in header if name == "dx"), None)
        if column is None and ARCHIVE_NEEDS <= set(header):
            column = "diagnosis_3" if "diagnosis_3" in header else "diagnosis_1"
        if column and any(ALIASES.get(name, name) == "image_id" or name == "file_name" for name in header):
            counts.update(word for word in read_table(path)[column] if word)
    pictures = [*scan.images.values(), *scan.twice]
    return counts or Counter(path.parent.name for path in pictures if path.parent != scan.folder)


def _codes(words: list[str]) -> dict[str, str]:
    """A code for each word, unique among them."""
    codes: dict[str, str] = {}
    for number, word in enumerate(words, start=1):
        code = _code(word) or f"dx{number}"
        codes[word] = code if code not in codes.values() else f"{code}-{number}"
    return codes


def _code(word: str) -> str:
    """Lower-case letters, digits, '-', '_' and '.' of a word; accents are taken off."""
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_.]+", "-", plain).strip("-_.")
