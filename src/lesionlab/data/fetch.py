"""Download a data set from Harvard Dataverse: what was begun is resumed, what arrives is verified, archives are unpacked.

In: a name out of `DATASETS` and a folder. Out: the folder, in a layout that `read_collection` reads. The archive's own
listing gives size and MD5 of each file. Of a table it gives neither as it is sent (IQSS/dataverse issues 5321 and 9501),
so a table has its SHA-256 here.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from lesionlab._version import __version__
from lesionlab.data.unpack import is_unpacked, unpack
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.progress import track

SERVER = "https://dataverse.harvard.edu"
SERVER_VARIABLE = "LESIONLAB_DATAVERSE"  # names another server, such as a mirror
CHUNK_BYTES = 2**20
MAX_LISTING_BYTES = 20_000_000
ATTEMPTS = 4
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Dataset:
    """What is downloaded: archives of images by file name; tables, as they are saved, with their SHA-256."""

    doi: str
    archives: tuple[str, ...]
    tables: dict[str, str]
    licence: str


DATASETS = {
    "ham10000": Dataset(
        "10.7910/DVN/DBW86T",
        ("HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip"),
        # As published: ages as 80.0, line ends LF.
        {"HAM10000_metadata.csv": "de17ec44cb25ea9c3f6378ba18d69224c740afd62e86ec2edc6a894d6aa663d3"},
        "HAM10000 (Tschandl, Rosendahl, Kittler, Sci. Data 5, 180161, 2018, doi:10.7910/DVN/DBW86T) is licensed "
        "CC BY-NC 4.0: name the authors; no commercial use, of weights trained on it either.",
    )
}


@dataclass(frozen=True)
class _File:
    """A file to be downloaded: size None and an empty checksum where the listing gives none that holds."""

    name: str
    url: str
    size: int | None
    algorithm: str
    checksum: str


def fetch(name: str, folder: Path, *, server: str | None = None, timeout_s: float = TIMEOUT_S) -> str:
    """Download a data set into a folder; what is there already, whole, is not downloaded again.

    Args:
        name: one of `DATASETS`.
        folder: where to; made where it is absent.
        server: of another Dataverse than Harvard's; `SERVER_VARIABLE` of the environment is asked when None.
        timeout_s: seconds that the server may be silent.

    Returns:
        What was done, and the licence, for a person to read.

    Raises:
        UsageError: an unknown name, a folder that cannot be used, a server that is no web address.
        LesionlabError: the server cannot be reached, the disk has too little room, a file does not arrive as published.
        OSError: the disk is full.
    """
    if name not in DATASETS:
        raise UsageError(f"There is no data set {name!r} to download: give one of {', '.join(DATASETS)}.")
    dataset = DATASETS[name]
    _make(folder)
    server = (server or os.environ.get(SERVER_VARIABLE) or SERVER).rstrip("/")
    if not re.match(r"https?://", server):
        raise UsageError(f"The server {server!r} is no web address: it should begin with https:// or http://.")
    try:
        files = _list_files(dataset, server, timeout_s)
        wanted = [file for file in files if not _is_done(file, folder)]
        _require_room(wanted, folder)
        for file in wanted:
            _fetch_file(file, folder, timeout_s)
    except _Unreachable as error:
        raise LesionlabError(f"{error} {_by_hand(dataset, folder)}") from error
    done = f"{len(files)} files of {name} in {folder}, {len(wanted)} of them downloaded now; all verified."
    return f"{done}\n{dataset.licence}"


class _Unreachable(LesionlabError):
    """The server did not give what was asked for."""


class _BrokenOff(_Unreachable):
    """The server gave a part of it: worth another attempt."""


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be used as a folder ({error.strerror}): name another.") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder} cannot be written: name another folder.")


def _by_hand(dataset: Dataset, folder: Path) -> str:
    names = ", ".join([*dataset.archives, *dataset.tables])
    return (
        f"Run the same command again to go on; or by hand: open https://doi.org/{dataset.doi} in a browser, download "
        f"{names} (a table in its original format), unpack the archives into {folder}, then run "
        f"`lesionlab check {folder}`."
    )


class _Listed(TypedDict, total=False):
    """A file as Dataverse lists it."""

    id: int
    filename: str
    filesize: int
    md5: str
    originalFileName: str
    originalFileFormat: str


def _list_files(dataset: Dataset, server: str, timeout_s: float) -> list[_File]:
    """Ask the server for its listing and pick the files of the data set."""
    url = f"{server}/api/datasets/:persistentId/?persistentId=doi:{dataset.doi}"
    with _open(url, 0, timeout_s) as response:
        text = _read_all(response, url)
    try:
        listed = [entry["dataFile"] for entry in json.loads(text)["data"]["latestVersion"]["files"]]
        files = [_archive(server, _pick(listed, name, url), name) for name in dataset.archives]
        return files + [_table(server, _pick(listed, name, url), name, sha) for name, sha in dataset.tables.items()]
    except (ValueError, KeyError, TypeError) as error:
        raise _Unreachable(f"{url} gave no listing of files ({type(error).__name__}: {str(error)[:100]}).") from error


def _pick(listed: list[_Listed], name: str, url: str) -> _Listed:
    """Find a file by name; Dataverse shows a table under the suffix .tab, or without one."""
    stem = Path(name).stem
    names = (name,) if name.endswith(".zip") else (name, f"{stem}.tab", stem)
    for entry in listed:
        if entry["filename"] in names or entry.get("originalFileName") == name:
            return entry
    raise _Unreachable(f"{url} lists no file {name!r}.")


def _archive(server: str, entry: _Listed, name: str) -> _File:
    url = f"{server}/api/access/datafile/{int(entry['id'])}"
    return _File(name, url, int(entry["filesize"]), "md5", str(entry["md5"]).lower())


def _table(server: str, entry: _Listed, name: str, sha256: str) -> _File:
    is_converted = "originalFileFormat" in entry or "originalFileName" in entry
    query = "?format=original" if is_converted else ""
    return _File(name, f"{server}/api/access/datafile/{int(entry['id'])}{query}", None, "sha256", sha256)


def _is_done(file: _File, folder: Path) -> bool:
    if file.name.endswith(".zip"):
        return is_unpacked(folder / Path(file.name).stem, file.checksum)
    path = folder / file.name
    return path.is_file() and _digest(path, file.algorithm) == file.checksum


def _require_room(files: list[_File], folder: Path) -> None:
    """Images hardly shrink in an archive: it and what is in it need its size twice, one archive at a time."""
    sizes = [file.size or 0 for file in files]
    parts = [folder / f"{file.name}.part" for file in files]
    begun = sum(part.stat().st_size for part in parts if part.exists())
    needed, free = sum(sizes) - begun + max(sizes, default=0), shutil.disk_usage(folder).free
    if needed > free:
        raise LesionlabError(
            f"{folder} has {free / 1e9:.1f} GB free, and the download needs {needed / 1e9:.1f} GB: make room or name "
            "another folder."
        )


def _fetch_file(file: _File, folder: Path, timeout_s: float) -> None:
    part = folder / f"{file.name}.part"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _download(file, part, timeout_s)
            break
        except _BrokenOff:
            if attempt == ATTEMPTS:
                raise
    if (found := _digest(part, file.algorithm)) != file.checksum:
        part.unlink()
        raise LesionlabError(
            f"{file.url} did not arrive as published ({file.algorithm.upper()} {found}, expected {file.checksum}); what "
            "came was removed. Run the same command again."
        )
    if file.name.endswith(".zip"):
        unpack(part, folder / Path(file.name).stem, file.checksum)
        part.unlink()
    else:
        part.replace(folder / file.name)


def _download(file: _File, part: Path, timeout_s: float) -> None:
    """Bring `part` to the file's full size, from where it stands."""
    begun = part.stat().st_size if part.exists() else 0
    if file.size is None or begun > file.size:
        begun = 0
    if file.size is not None and begun == file.size:
        return
    with _open(file.url, begun, timeout_s) as response:
        is_resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {begun}-")
        if response.status == 206 and not is_resumed:
            raise _Unreachable(f"{file.url} gave another part of the file than was asked for.")
        begun = begun if is_resumed else 0
        limit = file.size if file.size is not None else begun + MAX_LISTING_BYTES
        with part.open("ab" if is_resumed else "wb") as out:
            total = -(-(limit - begun) // CHUNK_BYTES) if file.size is not None else None
            for chunk in track(_chunks(response, file.url), f"{file.name}, MiB", total=total):
                begun += len(chunk)
                if begun > limit:
                    raise LesionlabError(f"{file.url} sends more than the {limit:,} bytes that are published.")
                out.write(chunk)
    if file.size is not None and begun < file.size:
        raise _BrokenOff(f"{file.url} broke off after {begun:,} of {file.size:,} bytes, which are kept.")


def _open(url: str, begin: int, timeout_s: float) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": f"lesionlab/{__version__}"})
    if begin:
        request.add_header("Range", f"bytes={begin}-")
    try:
        return urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise _Unreachable(f"{url} answered {error.code} ({error.reason}).") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _Unreachable(f"{url} cannot be reached ({reason}).") from error


def _chunks(response: Any, url: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOff(f"{url} broke off ({error}); what came is kept.") from error
        if not chunk:
            return
        yield chunk


def _read_all(response: Any, url: str) -> bytes:
    data = b""
    for chunk in _chunks(response, url):
        data += chunk
        if len(data) > MAX_LISTING_BYTES:
            raise _Unreachable(f"{url} gave no listing of files: more than {MAX_LISTING_BYTES:,} bytes came.")
    return data


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
