"""Unpack an archive of images so that a hostile one does no harm, and a half-unpacked one is never mistaken for whole."""

import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from lesionlab.errors import LesionlabError, UsageError
from lesionlab.files import open_folder
from lesionlab.progress import track

MAX_FILES = 200_000
MAX_BYTES = 50_000_000_000
MAX_RATIO = 20  # JPEG files do not shrink; a bomb shrinks a thousandfold
_MARK = ".unpacked"


def is_unpacked(folder: Path, checksum: str) -> bool:
    """Tell whether `unpack` has filled the folder from the archive of this checksum."""
    mark = folder / _MARK
    return mark.is_file() and mark.read_text(encoding="utf-8") == checksum


def unpack(archive: Path, folder: Path, checksum: str) -> None:
    """Unpack a ZIP archive into a new folder, which appears whole or not at all.

    Raises:
        UsageError: the folder exists and was not filled by `unpack`.
        LesionlabError: no archive, a damaged one, or one that would write elsewhere, hold links or swell.
        OSError: the disk is full.
    """
    if folder.exists():
        if not (folder / _MARK).is_file():
            raise UsageError(
                f"{folder} is there already and was not unpacked by lesionlab: move it, or fetch elsewhere."
            )
        shutil.rmtree(folder)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened, archive)
            for member in track(members, f"unpacking {folder.name}", total=len(members)):
                target = temporary.joinpath(*PurePosixPath(member.filename).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, target.open("xb") as out:
                    shutil.copyfileobj(source, out)
        (temporary / _MARK).write_text(checksum, encoding="utf-8")
        open_folder(temporary)
        os.rename(temporary, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, FileExistsError) as error:
        raise LesionlabError(f"{archive} is a damaged archive ({error}): remove it and download it again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(opened: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """Give the files to unpack, after looking at all of them."""
    members = []
    for member in opened.infolist():
        parts = PurePosixPath(member.filename).parts
        is_outside = not parts or ".." in parts or parts[0] == "/" or "\\" in member.filename or ":" in parts[0]
        if is_outside or stat.S_ISLNK(member.external_attr >> 16) or member.flag_bits & 1:
            raise LesionlabError(
                f"{archive} holds {member.filename!r}, which would be written outside, is a link or is encrypted: "
                "nothing was unpacked."
            )
        if not member.is_dir() and parts[0] != "__MACOSX" and not any(part.startswith(".") for part in parts):
            members.append(member)
    size = sum(member.file_size for member in members)
    if len(members) > MAX_FILES or size > MAX_BYTES or size > MAX_RATIO * archive.stat().st_size + 2**20:
        raise LesionlabError(
            f"{archive} would swell to {size:,} bytes in {len(members):,} files: nothing was unpacked."
        )
    free = shutil.disk_usage(archive.parent).free
    if size > free:
        raise LesionlabError(
            f"{archive} needs {size / 1e9:.1f} GB to unpack, and {free / 1e9:.1f} GB are free: make room."
        )
    return members
