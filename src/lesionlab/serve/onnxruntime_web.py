"""ONNX Runtime for browsers: one npm tarball, of one version and one checksum, kept in the cache; three files out of it.

It comes from the npm registry that `npm_config_registry` names, or from a file for machines that are offline. What has
another SHA-512 than npm publishes for this version is refused, wherever it came from.
"""

import base64
import hashlib
import http.client
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from lesionlab._version import __version__
from lesionlab.environment import default_cache_dir
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.files import replacing
from lesionlab.progress import track

VERSION = "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # npm's `integrity`
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
REGISTRY = "https://registry.npmjs.org"
# As .js: many file servers do not know .mjs, and a browser runs no module of an unknown type.
FILES = {
    "package/dist/ort.wasm.min.mjs": "ort.wasm.min.js",
    "package/dist/ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
    "package/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
MAX_BYTES = 100_000_000
TIMEOUT_S = 60.0
_CHUNK_BYTES = 2**20


def read_runtime(archive: Path | None = None) -> dict[str, bytes]:
    """Give the runtime's files, by the names that the page knows.

    Args:
        archive: the tarball as npm publishes it; None to take it from the cache, or to download it into the cache.

    Raises:
        UsageError: `archive` is not that tarball.
        LesionlabError: the registry cannot be reached, or gives another file.

    """
    if archive is not None:
        data = _given(archive)
    else:
        data = _cached(default_cache_dir() / "runtime" / ARCHIVE)
    return _unpack(data)


def _given(archive: Path) -> bytes:
    try:
        data = archive.read_bytes() if archive.stat().st_size <= MAX_BYTES else b""
    except OSError as error:
        raise UsageError(f"The file {archive} of --runtime cannot be read ({error.strerror}).") from error
    if not _is_published(data):
        raise UsageError(
            f"{archive} is not onnxruntime-web {VERSION} as npm publishes it (its SHA-512 differs). {_BY_HAND}"
        )
    return data


def _cached(path: Path) -> bytes:
    if path.is_file() and _is_published(data := path.read_bytes()):
        return data
    data = _download()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return data


def _download() -> bytes:
    registry = (os.environ.get("npm_config_registry") or REGISTRY).rstrip("/")
    url = f"{registry}/onnxruntime-web/-/{ARCHIVE}"
    if not url.startswith(("https://", "http://")):
        raise UsageError(f"npm_config_registry is no web address: {registry!r}.")
    try:
        request = urllib.request.Request(url, headers={"User-Agent": f"lesionlab/{__version__}"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            total = -(-int(response.headers.get("Content-Length") or 0) // _CHUNK_BYTES) or None
            pieces = iter(lambda: response.read(_CHUNK_BYTES), b"")
            data = _joined(track(pieces, f"{ARCHIVE}, MiB", total=total))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LesionlabError(f"{url} cannot be downloaded ({error}). {_BY_HAND}") from error
    if not _is_published(data):
        raise LesionlabError(
            f"{url} is not what npm publishes: {len(data):,} bytes of another SHA-512. Nothing was kept. {_BY_HAND}"
        )
    return data


def _joined(pieces: Iterable[bytes]) -> bytes:
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes came")
    return bytes(data)


_BY_HAND = (
    f"Where there is a network: npm pack onnxruntime-web@{VERSION}, or download {REGISTRY}/onnxruntime-web/-/{ARCHIVE}; "
    f"then give the file with --runtime {ARCHIVE}."
)


def _is_published(data: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(data).digest()).decode() == SHA512


def _unpack(data: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            if member.name in FILES and (file := archive.extractfile(member)):
                found[FILES[member.name]] = file.read()
    return found
