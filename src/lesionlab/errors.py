"""The two ways in which lesionlab says no, which the command line turns into exit codes, and words that go with them."""

from collections.abc import Sequence


class LesionlabError(Exception):
    """The work failed: what was wrong, where, and what mends it. Exit code 1."""

    def _render_traceback_(self) -> list[str]:
        """Give what IPython shows in a notebook: the sentence, without the frames that led to it."""
        # A reader's own kinds of it are no public names.
        kind = UsageError if isinstance(self, UsageError) else type(self)
        return [f"{kind.__name__}: {self}"]


class UsageError(LesionlabError):
    """The request itself was wrong (a path, an option, a table, a recipe). Exit code 2."""


def why_missing(what: str, library: str, extra: str) -> str:
    """Word that a library is not installed, with the one line to type; every place that imports an extra says it so."""
    return f"{what} needs {library}, which is not installed: pip install 'lesionlab[{extra}]'"


def nearest(value: object, valid: Sequence[str]) -> str:
    """Word a hint at the nearest valid name, or nothing where none is near."""
    from difflib import get_close_matches  # of messages alone

    found = get_close_matches(str(value), valid, n=1, cutoff=0.4)
    return f" (did you mean {found[0]!r}?)" if found else ""
