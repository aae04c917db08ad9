"""In a notebook, after `%load_ext lesionlab`: what a disk refuses, and an extra that is absent, are said in a sentence.

lesionlab's own errors show themselves so without it (`LesionlabError`).
"""

import errno
import sys
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Protocol

from lesionlab.errors import why_missing

_EXTRA_OF = {"seaborn": "notebooks", "keras": "cpu", "tensorflow": "cpu"}  # what the notebooks import themselves
_PACKAGE = str(Path(__file__).parents[1])


class Shell(Protocol):
    """What is used of IPython's shell."""

    def set_custom_exc(self, exc_tuple: tuple[type[BaseException], ...], handler: object) -> None:
        """Have exceptions of these kinds shown by a handler."""

    def showtraceback(self, exc_tuple: object, *, tb_offset: int | None) -> None:
        """Show an exception as IPython does."""


def load_ipython_extension(shell: Shell) -> None:
    """Begin to word, in a notebook, absent extras and the system's errors that lesionlab meets; others are shown as ever."""
    shell.set_custom_exc((OSError, ModuleNotFoundError), _show)


def unload_ipython_extension(shell: Shell) -> None:
    """Show all errors as IPython does."""
    shell.set_custom_exc((), None)


def _show(
    shell: Shell,
    kind: type[OSError | ModuleNotFoundError],
    error: OSError | ModuleNotFoundError,
    trace: TracebackType,
    tb_offset: int | None = None,
) -> None:
    is_ours = any(frame.f_code.co_filename.startswith(_PACKAGE) for frame, _ in walk_tb(trace))
    absent = (isinstance(error, ModuleNotFoundError) and error.name) or ""
    if absent in _EXTRA_OF:
        print(f"{why_missing('This cell', absent, _EXTRA_OF[absent])}.", file=sys.stderr)
    elif isinstance(error, OSError) and is_ours:
        print(word_os_error(error), file=sys.stderr)
    else:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


def word_os_error(error: OSError) -> str:
    """Word what a disk or a folder refuses, and what to do."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"The disk is full{where}. Free some space, and run the cell again: what was done is kept."
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"Access is not permitted{where}. Start the notebook in a folder that can be written, or set LESIONLAB_CACHE."
    return f"{error.strerror or error}{where}."
