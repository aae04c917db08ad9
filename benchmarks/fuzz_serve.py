"""Thousands of mutated uploads against the service: none may be answered 5xx, hang, or end it; loopback only.

    python benchmarks/fuzz_serve.py [--uploads 10000] [--seed 0] [--data FOLDER]

Real files, or without `--data` generated ones saved as JPEG, PNG, WebP, GIF, BMP and TIFF, are mutated: bits flipped, bytes
overwritten, cut off, repeated, spliced with another file; one upload in five has its multipart frame mutated instead.
"""

import argparse
import http.client
import io
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from lesionlab.data.phantom.write import write_phantoms
from lesionlab.progress import track
from serve import BOUNDARY, as_body, serving

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MOST_SECONDS = 2.0


def main() -> None:
    """Print the answers by status, the slowest, and whether the service lives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    statuses: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name, serving(None) as (port, process):
        work = Path(name)
        files = originals(options.data or write_phantoms(work / "data", lesions=10), work)
        for _ in track(range(options.uploads), "Uploads", options.uploads):
            body = mutated_body(rng, files, work)
            started = time.perf_counter()
            statuses[send(port, body)] += 1
            slowest = max(slowest, time.perf_counter() - started)
        healthy = send_get(port, "/readyz")
        print(f"{options.uploads} uploads: {dict(sorted(statuses.items()))}")
        print(
            f"slowest answer {slowest:.2f} s (target: at most {MOST_SECONDS:.0f});"
            f" alive: {process.poll() is None}; /readyz {healthy}"
        )
    if any(status.startswith("5") or not status.isdigit() for status in statuses) or slowest > MOST_SECONDS:
        raise SystemExit(1)


def originals(data: Path, work: Path) -> list[bytes]:
    """Files of every format that is read."""
    files = []
    for path in sorted(data.rglob("*.jpg"))[:10]:
        files.append(path.read_bytes())
        with Image.open(path) as image:
            for kind in FORMATS:
                held = io.BytesIO()
                image.save(held, kind)
                files.append(held.getvalue())
    return files


def mutated_body(rng: random.Random, files: list[bytes], work: Path) -> bytes:
    """A multipart body with a mutated image in it, or a mutated frame around a sound one."""
    path = work / "upload.jpg"
    if rng.random() < 0.2:
        path.write_bytes(rng.choice(files)[:2000])
        return mutate(rng, as_body(path), files)
    path.write_bytes(mutate(rng, rng.choice(files), files))
    return as_body(path)


def mutate(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Between one and four mutations."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice((flip, overwrite, cut, repeat, splice))(rng, data, files)
    return data


def flip(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Flip single bits, mostly near the beginning, where the structure of a file is."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 20)):
        if changed:
            changed[rng.randrange(min(len(changed), rng.choice((64, 512, len(changed)))))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Overwrite a stretch with random bytes, zeros or ones."""
    start, length = rng.randrange(len(data) + 1), rng.randint(1, 64)
    fill = rng.choice((rng.randbytes(length), b"\0" * length, b"\xff" * length))
    return data[:start] + fill + data[start + length :]


def cut(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Cut the end off, or a stretch out."""
    start = rng.randrange(len(data) + 1)
    return data[:start] if rng.random() < 0.5 else data[:start] + data[start + rng.randint(1, 256) :]


def repeat(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Repeat a stretch."""
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.randint(1, 512)]
    return data[:start] + part * rng.randint(2, 8) + data[start:]


def splice(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Go on with another file from somewhere."""
    other = rng.choice(files)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]


def send(port: int, body: bytes) -> str:
    """Send a body; the status, or the name of what went wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/predict", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def send_get(port: int, path: str) -> int:
    """Status of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    return connection.getresponse().status


if __name__ == "__main__":
    main()
