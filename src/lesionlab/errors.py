"""The two ways in which lesionlab says no; the command line turns them into exit codes."""


class LesionlabError(Exception):
    """The work failed: what was wrong, where, and what mends it. Exit code 1."""


class UsageError(LesionlabError):
    """The request itself was wrong (a path, an option, a table, a recipe). Exit code 2."""
