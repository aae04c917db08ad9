"""A folder that is built beside its place, for one that is moved there when whole; what killed processes left is removed."""

import errno
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lesionlab.errors import UsageError

STALE_SECONDS = 24 * 3600
_TEMPORARY = ".building-"


@contextmanager
def building(cache_dir: Path) -> Iterator[Path]:
    """Give a temporary folder inside the cache, which is gone afterwards."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        _remove_stale(cache_dir)
        folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{_hostname()}-{os.getpid()}-", dir=cache_dir))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(
            f"The folder for decoded images, {cache_dir}, cannot be written ({error.strerror}): "
            "name another in the environment variable LESIONLAB_CACHE."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hostname() -> str:
    return socket.gethostname().replace("-", "_").replace("/", "_")[:64]


def _remove_stale(cache_dir: Path) -> None:
    """Remove what killed processes left: of this machine at once, of others (a shared folder) after a day."""
    for folder in cache_dir.glob(f"{_TEMPORARY}*"):
        host, pid, _ = (folder.name.removeprefix(_TEMPORARY).split("-") + ["", ""])[:3]
        with suppress(OSError):  # another process may be removing it as well
            is_old = time.time() - folder.stat().st_mtime > STALE_SECONDS
            if is_old or (host == _hostname() and not _is_running(pid)):
                shutil.rmtree(folder)


def _is_running(pid: str) -> bool:
    if os.name != "posix" or not pid.isdigit():  # on Windows os.kill(pid, 0) is no question but a kill
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
