"""What a folder of results holds, and what makes a run this one: the start of `manifest.json`."""

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct, field


class Kind(StrEnum):
    """What a folder of results holds."""

    RUN = "run"
    ENSEMBLE = "ensemble"
    FOLDS = "folds"
    SEARCH = "search"
    EVALUATION = "evaluation"

    @property
    def in_words(self) -> str:
        """Name it with its article."""
        article = {Kind.FOLDS: "", Kind.ENSEMBLE: "an ", Kind.EVALUATION: "an "}.get(self, "a ")
        return article + self.value

    @property
    def has_network(self) -> bool:
        """Whether it holds a network of its own."""
        return self in (Kind.RUN, Kind.ENSEMBLE)


class Identity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What makes a run this one: the same goes on where it stopped, another is refused.

    Attributes:
        recipe: every choice, as TOML.
        members: of an ensemble: the folders of the runs that it joins.
        finished: of an ensemble: when each of them was finished.
        space: of a search: the choices or the range of each key.
        data: the folder of the images, or several, or that they are generated.
        trials: of a search: how many recipes are tried.
        seed: of everything random.
        limit: about how many images are taken; absent for all.
        split_file: SHA-256 of the parts that a split file gives.
        folds: of folds: how many.
        taxonomy: the diagnoses that were asked for, as TOML; absent where the data decide, and for HAM10000's.

    """

    recipe: str | None = None
    members: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    space: dict[str, Any] | None = None
    data: str | tuple[str, ...] | None = None
    trials: int | None = None
    seed: int | None = None
    limit: int | None = None
    split_file: str | None = field(default=None, name="split file")
    folds: int | None = None
    taxonomy: str | None = None

    @property
    def kind(self) -> Kind:
        """Tell what is asked for by the key that it alone has."""
        if self.space is not None:
            return Kind.SEARCH
        if self.members:
            return Kind.ENSEMBLE
        return Kind.RUN if self.folds is None else Kind.FOLDS

    def differing(self, other: "Identity") -> list[str]:
        """Name the keys that differ from another's."""
        own, others = msgspec.to_builtins(self), msgspec.to_builtins(other)
        return [key for key in own | others if own.get(key) != others.get(key)]


class Head(Struct, frozen=True, kw_only=True):
    """What a manifest says from the start, and all that one of folds or a search says.

    Attributes:
        lesionlab: the version that wrote it.
        command: the command line.
        request: what makes a run this one: the same goes on, another is refused.
        seed: of everything random.
        started: when it was begun, UTC.
        finished: when it was done, UTC; null until then.

    """

    lesionlab: str = ""
    command: str = ""
    request: Identity
    seed: int = 0
    started: str = ""
    finished: str | None = None


class EvaluationHead(Struct, frozen=True, kw_only=True):
    """What the manifest of an evaluation says from the start.

    Attributes:
        kind: `evaluation`; absent of all else.
        finished: when it was done, UTC; null until then.

    """

    kind: str = ""
    finished: str | None = None
