"""A set of diagnoses as a value: their order, codes, names, which are malignant, and how people write them.

A `Taxonomy` is read from a TOML file (those of the field's data sets lie in `taxonomies/`) and travels with what it is of: a
`Collection`, `LabelledPredictions`, a model file's `Facts`. The order of its diagnoses is that of every probability vector,
confusion matrix and table that is made with it.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lesionlab.errors import UsageError, nearest
from lesionlab.files import as_toml, read_toml, toml_names

_CODE = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_KEYS = {"name": str, "summary": str, "focus": str, "diagnosis": list}


@dataclass(frozen=True)
class Diagnosis:
    """One diagnosis.

    Attributes:
        dx: its code, in lower case, unique in a taxonomy.
        column: of ISIC's tables, such as `MEL`.
        name: in words.
        is_malignant: counted as malignant (a cancer, or a precursor that is treated as one) where two classes are asked for.
        synonyms: other ways to write it, in lower case.
        colour: of its bars and curves, `#rrggbb`; empty: chosen by its place.

    """

    dx: str
    column: str
    name: str
    is_malignant: bool
    synonyms: tuple[str, ...] = ()
    colour: str = ""


@dataclass(frozen=True)
class Taxonomy:
    """Diagnoses in their order.

    Attributes:
        name: of the set, such as `ham10000`.
        diagnoses: two or more.
        focus: code of the diagnosis that has figures of its own (sensitivity at a specificity, calibration); None for none.
        summary: one sentence: whose set it is, and by what rule a diagnosis counts as malignant.

    """

    name: str
    diagnoses: tuple[Diagnosis, ...]
    focus: str | None = None
    summary: str = ""

    def __len__(self) -> int:
        """Count the diagnoses."""
        return len(self.diagnoses)

    @cached_property
    def dx(self) -> tuple[str, ...]:
        """Codes, in order."""
        return tuple(d.dx for d in self.diagnoses)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns of ISIC's tables, in order."""
        return tuple(d.column for d in self.diagnoses)

    @cached_property
    def is_malignant(self) -> tuple[bool, ...]:
        """Whether each counts as malignant, in order."""
        return tuple(d.is_malignant for d in self.diagnoses)

    @cached_property
    def malignant(self) -> tuple[str, ...]:
        """Codes of those that count as malignant, in order."""
        return tuple(d.dx for d in self.diagnoses if d.is_malignant)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Place of each code, from 0."""
        return {dx: index for index, dx in enumerate(self.dx)}

    @cached_property
    def name_of(self) -> dict[str, str]:
        """Name of each code."""
        return {d.dx: d.name for d in self.diagnoses}

    @cached_property
    def _dx_of(self) -> dict[str, str]:
        """Code of each way to write a diagnosis, as `plain` gives it; codes before columns, names and synonyms."""
        found: dict[str, str] = {}
        for ways in (lambda d: (d.dx,), lambda d: (d.column, d.name), lambda d: d.synonyms):
            for diagnosis in self.diagnoses:
                for way in ways(diagnosis):
                    found.setdefault(plain(way), diagnosis.dx)
        return found

    def find(self, written: str) -> str | None:
        """Give the code of a diagnosis written as code, column, name or synonym, in any case; None where it is none of these."""
        return self._dx_of.get(plain(written))

    def nearest(self, written: str) -> str | None:
        """Give the code of the name that differs by a slip of the pen; None for codes, and for names of other length.

        What is near in spelling is often far in medicine (squamous and basal cell carcinoma): hints are for long names alone.
        """
        from difflib import get_close_matches  # of messages alone

        text = plain(written)
        names = [name for name in self._dx_of if min(len(name), len(text)) > 3 and abs(len(name) - len(text)) <= 2]
        near = get_close_matches(text, names, n=1, cutoff=0.85)
        return self._dx_of[near[0]] if near else None

    def to_facts(self) -> dict[str, object]:
        """Give what JSON can hold; `from_facts` reads it back."""
        return {
            "name": self.name,
            "summary": self.summary,
            "focus": self.focus,
            "diagnoses": [dataclasses.asdict(d) | {"synonyms": list(d.synonyms)} for d in self.diagnoses],
        }

    def to_toml(self) -> str:
        """Write the taxonomy as `read_taxonomy` reads it."""
        lines = [f"name = {as_toml(self.name)}", f"summary = {as_toml(self.summary)}"]
        lines += [f"focus = {as_toml(self.focus)}"] if self.focus else []
        for diagnosis in self.diagnoses:
            values = {key: value for key, value in dataclasses.asdict(diagnosis).items() if value not in ((), "")}
            lines += ["", "[[diagnosis]]", *(f"{key} = {as_toml(value)}" for key, value in values.items())]
        return "\n".join(lines) + "\n"


def plain(written: str) -> str:
    """Bring a written diagnosis to one form: lower case, single spaces for spaces and underscores, straight apostrophes."""
    return " ".join(written.lower().replace("_", " ").replace("\u2019", "'").split())


def is_malignancy(taxonomy: Taxonomy) -> bool:
    """Whether these are two kinds, of which one counts as malignant and both say no more than that."""
    return sorted(taxonomy.dx) == ["benign", "malignant"] and len(taxonomy.malignant) == 1


def taxonomy_names() -> list[str]:
    """Names of the taxonomies that come with lesionlab."""
    return toml_names("taxonomies")


def wider_than(asked: Collection[str], columns: Collection[str]) -> "Taxonomy | None":
    """Find the diagnoses of a table that has columns for more than those asked for, as of a model that knows more.

    Args:
        asked: codes, columns or names of diagnoses.
        columns: of the table, in any case.

    Returns:
        The largest set of those that come with lesionlab whose columns all stand there; None where it has no more diagnoses
        than are asked for, or lacks one of these.

    """
    header = {name.upper() for name in columns}
    fits = [one for one in map(read_taxonomy, taxonomy_names()) if {column.upper() for column in one.columns} <= header]
    widest = max(fits, key=len, default=None)
    return widest if widest and len(widest) > len(asked) and all(map(widest.find, asked)) else None


def read_taxonomy(name_or_file: str | Path) -> Taxonomy:
    """Read a taxonomy that comes with lesionlab by its name, or any other by the path of its TOML file.

    Raises:
        UsageError: no such taxonomy, not TOML, or a key or value that is not valid; says which, and what to change.

    """
    where = str(name_or_file)
    values = read_toml(where, "taxonomies")
    if values is None:
        known = taxonomy_names()
        raise UsageError(
            f"There is no taxonomy {where!r}{nearest(where, known)}. Those that come with lesionlab: {', '.join(known)}; or give "
            "the path of a .toml file. 'lesionlab check DIR --write-taxonomy FILE.toml' drafts one."
        )
    return _checked(values, where)


def from_facts(facts: Mapping[str, Any], where: str) -> Taxonomy:
    """Read what `Taxonomy.to_facts` gave; `where` names it in messages.

    Raises:
        UsageError: as `read_taxonomy`.

    """
    values = {key: value for key, value in facts.items() if key != "diagnoses" and value is not None}
    return _checked(values | {"diagnosis": facts.get("diagnoses")}, where)


def _checked(values: Mapping[str, Any], where: str) -> Taxonomy:
    for key, value in values.items():
        if key not in _KEYS:
            raise UsageError(
                f"{where}: unknown key {key}. Known: {', '.join(_KEYS)}; of a diagnosis: {', '.join(_FIELDS)}."
            )
        if not isinstance(value, _KEYS[key]):
            raise UsageError(f"{where}: {key} must be {_KINDS[_KEYS[key]]}, not {value!r}.")
    entries = values.get("diagnosis", [])
    if len(entries) < 2:
        raise UsageError(
            f"{where} names {len(entries)} diagnosis: a classifier needs two or more [[diagnosis]] sections."
        )
    diagnoses = tuple(
        _diagnosis(entry, f"{where}, diagnosis {number}") for number, entry in enumerate(entries, start=1)
    )
    _refuse_repeated(diagnoses, where)
    focus = values.get("focus") or None
    if focus and focus not in {d.dx for d in diagnoses}:
        raise UsageError(f"{where}: focus = {focus!r} is no dx of it. Known: {', '.join(d.dx for d in diagnoses)}.")
    if not values.get("name"):
        raise UsageError(f'{where} has no name: add name = "…" at its top.')
    return Taxonomy(values["name"], diagnoses, focus, values.get("summary", ""))


def _diagnosis(entry: Any, where: str) -> Diagnosis:
    """Check one section; `column` is the code in capitals and `name` the code where they are not given."""
    if not isinstance(entry, Mapping) or not entry.get("dx"):
        raise UsageError(f'{where} has no code: add dx = "…".')
    where = f"{where} ({entry['dx']})"
    for key, value in entry.items():
        if key not in _FIELDS:
            raise UsageError(f"{where}: unknown key {key}. Known: {', '.join(_FIELDS)}.")
        if not isinstance(value, _FIELDS[key]):
            raise UsageError(f"{where}: {key} must be {_KINDS[_FIELDS[key]]}, not {value!r}.")
    if "is_malignant" not in entry:
        raise UsageError(f"{where} does not say whether it counts as malignant: add is_malignant = true or false.")
    if not _CODE.fullmatch(entry["dx"]):
        raise UsageError(f"{where}: dx may hold lower-case letters, digits, '-', '_' and '.', and no other.")
    synonyms = entry.get("synonyms", ())
    if not all(isinstance(way, str) for way in synonyms):
        raise UsageError(f"{where}: synonyms must be texts, not {list(synonyms)!r}.")
    column, name = entry.get("column") or entry["dx"].upper(), entry.get("name") or entry["dx"]
    return Diagnosis(entry["dx"], column, name, entry["is_malignant"], tuple(synonyms), entry.get("colour", ""))


def _refuse_repeated(diagnoses: tuple[Diagnosis, ...], where: str) -> None:
    """Refuse codes, columns, names and synonyms that stand for two diagnoses."""
    ways = [{plain(way) for way in (d.dx, d.column, d.name, *d.synonyms)} for d in diagnoses]
    counts = Counter(way for own in ways for way in own)
    if twice := next((way for way, count in counts.items() if count > 1), None):
        owners = " and ".join(str(number) for number, own in enumerate(ways, start=1) if twice in own)
        raise UsageError(f"{where}: {twice!r} stands for the diagnoses {owners}. Leave it to one of them.")


_FIELDS: dict[str, Any] = {
    "dx": str,
    "column": str,
    "name": str,
    "is_malignant": bool,
    "synonyms": list | tuple,
    "colour": str,
}
_KINDS: dict[Any, str] = {
    str: "a text",
    list: "[[diagnosis]] sections",
    bool: "true or false",
    list | tuple: "a list of texts",
}

HAM10000 = read_taxonomy("ham10000")
DIAGNOSES = HAM10000.diagnoses
"""The diagnoses of HAM10000, in its order; other data have others: `read_taxonomy`."""
DX = HAM10000.dx
"""Their codes."""
