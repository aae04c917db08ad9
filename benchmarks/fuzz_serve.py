"""Thousands of mutated uploads against the service: none may be answered 5xx, hang, or end it; loopback only.

    python benchmarks/fuzz_serve.py [--uploads 10000] [--seed 0] [--data FOLDER]

The files of `fuzz_files.py` (JPEG, PNG, GIF, TIFF, WebP, AVIF, HEIC, DICOM, BMP, as many of each), and real ones with `--data`,
are mutated: bits flipped, bytes overwritten, cut off, repeated, spliced with another file; one upload in five has its multipart
frame mutated instead. Half of them say an age, a sex and a site, of which some are mutated as well. An upload that seems slow is
sent once more, and the faster time counts.
"""

import argparse
import http.client
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from fuzz_files import mutate, originals
from lesionlab.progress import track
from serve import BOUNDARY, as_body, serving

MOST_SECONDS = 2.0
PATIENT = {
    "age": ("55", "55.5", "", "-1", "0", "1e9", "nan", "unknown"),
    "sex": ("female", "male", "", "unknown", "other"),
    "site": ("back", "lower extremity", "acral", "", "elsewhere"),
}


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
        work, files = Path(name), sent(options.data)
        for _ in track(range(options.uploads), "Uploads", options.uploads):
            body = mutated_body(rng, files, work)
            status, seconds = timed(port, body)
            if seconds > MOST_SECONDS / 4:
                seconds = min(seconds, timed(port, body)[1])
            statuses[status] += 1
            slowest = max(slowest, seconds)
        healthy = send_get(port, "/readyz")
        print(f"{options.uploads} uploads: {dict(sorted(statuses.items()))}")
        print(
            f"slowest answer {slowest:.2f} s (target: at most {MOST_SECONDS:.0f});"
            f" alive: {process.poll() is None}; /readyz {healthy}"
        )
    if any(status.startswith("5") or not status.isdigit() for status in statuses) or slowest > MOST_SECONDS:
        raise SystemExit(1)


def sent(data: Path | None) -> list[list[bytes]]:
    """Files of every format that is read, those of a format together; and those of a folder."""
    files = list(originals().values())
    return [*files, [path.read_bytes() for path in sorted(data.rglob("*.jpg"))[:10]]] if data else files


def mutated_body(rng: random.Random, files: list[list[bytes]], work: Path) -> bytes:
    """A multipart body with a mutated image in it, or a mutated frame around a sound one."""
    path, kind = work / "upload.jpg", rng.choice(files)
    others = [data for several in files for data in several]
    patient = said_of_patient(rng, others) if rng.random() < 0.5 else b""
    if rng.random() < 0.2:
        path.write_bytes(rng.choice(kind)[:2000])
        return mutate(rng, patient + as_body(path), others)
    path.write_bytes(mutate(rng, rng.choice(kind), others))
    return patient + as_body(path)


def said_of_patient(rng: random.Random, others: list[bytes]) -> bytes:
    """Parts of a form that say age, sex and site, each mutated one time in five."""
    parts = []
    for name, words in PATIENT.items():
        word = rng.choice(words).encode()
        word = mutate(rng, word, others)[:500] if rng.random() < 0.2 else word
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        parts.append(head.encode() + word + b"\r\n")
    return b"".join(parts)


def timed(port: int, body: bytes) -> tuple[str, float]:
    """Send a body: the status, or the name of what went wrong, and the seconds that it took."""
    started = time.perf_counter()
    status = send(port, body)
    return status, time.perf_counter() - started


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
