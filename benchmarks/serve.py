"""What the service adds to the model, what it carries, and what a storm of requests does to it; loopback only.

    python benchmarks/serve.py [--data FOLDER] [--model FILE] [--requests 200] [--storm-seconds 15]
    python benchmarks/serve.py --before SRC [--data FOLDER] [--requests 200]

`lesionlab serve` runs in a process of its own and is asked over keep-alive connections. Bare is the same file in the same ONNX
Runtime, run in this process on pixels that are decoded already, on one thread a core. What is compared runs in turn. Without
`--data` the images are generated, 600 x 450 px. With `--before`, which is the `src` of another commit, only that commit's
service and this one's are asked, in turns, each with the model in its package.
"""

import argparse
import contextlib
import http.client
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lesionlab.data.images import read_image
from lesionlab.data.phantom.write import write_phantoms
from lesionlab.environment import n_cores
from lesionlab.inference.model import Model, load_model

BOUNDARY = "lesionlab-benchmark"
ROUNDS = 5


def main() -> None:
    """Print latency, throughput, what batches would give, and the storm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--before", type=Path, metavar="SRC", help="of another commit, to compare with")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--storm-seconds", type=float, default=15.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        images = sorted((options.data or write_phantoms(Path(name) / "data", lesions=20)).rglob("*.jpg"))[:40]
        bodies = [as_body(path) for path in images]
        if options.before:
            compare(options.before, bodies, options.requests)
            return
        model = load_model(options.model)
        pixels = np.stack([decoded(model, path) for path in images])
        with serving(options.model) as (port, process):
            ask_all(port, bodies[:8], 1)
            latency(model, pixels, port, bodies, options.requests)
            sustained = throughput(model, pixels, port, bodies, options.requests)
            batches(model, pixels)
            storm(port, process, bodies, sustained, options.storm_seconds)


def as_body(path: Path) -> bytes:
    """One image as a multipart form."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{path.name}"\r\n\r\n'
    return head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


def decoded(model: Model, path: Path) -> np.ndarray:
    """Pixels as the network takes them."""
    facts = model.facts
    return read_image(path, facts.height, facts.width, facts.crop)


@contextlib.contextmanager
def serving(model: Path | None = None, src: Path | None = None) -> Iterator[tuple[int, subprocess.Popen]]:
    """Run `lesionlab serve`, of another commit's `src` if one is given: its port and its process."""
    given = ["--model", str(model)] if model else []
    environment = os.environ | ({"PYTHONPATH": str(src.resolve())} if src else {})
    line = [sys.executable, "-m", "lesionlab", "serve", "--port", "0", *given]
    started = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = process.stdout.readline()
        port = int(address.split("127.0.0.1:")[1].split("/")[0].split()[0])
        print(f"starts in {time.perf_counter() - started:.2f} s")
        yield port, process
    finally:
        process.terminate()
        process.wait(timeout=30)


def ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, str]:
    """Send one image; status and Retry-After."""
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request("POST", "/v1/predict", body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Retry-After", "")


def ask_all(port: int, bodies: Sequence[bytes], clients: int) -> list[float]:
    """Send `bodies`, shared out among clients that each wait for one answer before the next; seconds each took."""
    waiting, seconds = iter(bodies), []
    lock = threading.Lock()

    def client(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                body = next(waiting, None)
            if body is None:
                return
            started = time.perf_counter()
            status, _retry_after = ask(connection, body)
            seconds.append(time.perf_counter() - started)
            if status != 200:
                raise SystemExit(f"answered {status}")

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return seconds


def run_bare(model: Model, pixels: np.ndarray, workers: int) -> list[float]:
    """Run the network on one image after the other, on each of `workers` threads; seconds each took."""

    def one(image: np.ndarray) -> float:
        started = time.perf_counter()
        model.bundle.session.run(["probabilities"], {"image": image[None]})
        return time.perf_counter() - started

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, pixels))


def latency(model: Model, pixels: np.ndarray, port: int, bodies: Sequence[bytes], requests: int) -> None:
    """One client, one image at a time, against the network alone."""
    served, bare = [], []
    for _ in range(ROUNDS):
        count = requests // ROUNDS
        served += ask_all(port, list(itertools.islice(itertools.cycle(bodies), count)), 1)
        bare += run_bare(model, pixels[np.arange(count) % len(pixels)], 1)
    p50, bare50 = 1000 * statistics.median(served), 1000 * statistics.median(bare)
    print(f"one client: p50 {p50:.1f} ms, the network alone {bare50:.1f} ms", end="; ")
    print(f"beyond 1.3 times the network {p50 - 1.3 * bare50:.1f} ms (target: below 40)")


def throughput(model: Model, pixels: np.ndarray, port: int, bodies: Sequence[bytes], requests: int) -> float:
    """16 clients at once, against the network alone on all cores; images a second of the service."""
    served, bare, cores = [], [], n_cores()
    for _ in range(ROUNDS):
        started = time.perf_counter()
        ask_all(port, list(itertools.islice(itertools.cycle(bodies), requests)), 16)
        served.append(requests / (time.perf_counter() - started))
        started = time.perf_counter()
        run_bare(model, pixels[np.arange(requests) % len(pixels)], cores)
        bare.append(requests / (time.perf_counter() - started))
    ratio = statistics.median(s / b for s, b in zip(served, bare, strict=True))
    print(
        f"16 clients: {statistics.median(served):.1f} images/s, the network alone {statistics.median(bare):.1f}",
        end="; ",
    )
    print(f"ratio {ratio:.2f} (target: at least 0.85)")
    return statistics.median(served)


def compare(before: Path, bodies: Sequence[bytes], requests: int) -> None:
    """Ask the service of another commit and this one's by 16 clients, in turns; answers a second, and their ratio."""
    found: list[tuple[float, float]] = []
    for _ in range(3):
        rates = []
        for src in (None, before):
            with serving(src=src) as (port, _process):
                ask_all(port, bodies[:16], 16)
                started = time.perf_counter()
                ask_all(port, list(itertools.islice(itertools.cycle(bodies), requests)), 16)
                rates.append(requests / (time.perf_counter() - started))
        found.append((rates[0], rates[1]))
        print(f"16 clients: {rates[0]:.1f} answers/s, {before} {rates[1]:.1f}: {rates[0] / rates[1]:.2f} times")
    print(f"median {statistics.median(now / then for now, then in found):.2f} times")


def batches(model: Model, pixels: np.ndarray) -> None:
    """Milliseconds an image in batches, which is what putting several requests together could gain."""
    found: dict[int, list[float]] = {1: [], 8: []}
    for _ in range(3 * ROUNDS):
        for size, seconds in found.items():
            started = time.perf_counter()
            model.bundle.session.run(["probabilities"], {"image": pixels[:size]})
            seconds.append(1000 * (time.perf_counter() - started) / size)
    one, eight = (statistics.median(seconds) for seconds in found.values())
    print(f"batches of 8: {eight:.1f} ms an image, of 1: {one:.1f} ms; ratio {eight / one:.2f}")


def storm(port: int, process: subprocess.Popen, bodies: Sequence[bytes], sustained: float, seconds: float) -> None:
    """Ten times what it can answer, each request on a connection of its own, not waiting for the ones before."""
    before = statistics.median(ask_all(port, bodies, 1))
    statuses: Counter[str] = Counter()

    def one(number: int) -> None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            status, retry = ask(connection, bodies[number % len(bodies)])
            connection.close()
            statuses[f"{status}{' with Retry-After' if retry else ''}"] += 1
        except OSError as error:
            statuses[type(error).__name__] += 1

    count, started = int(10 * sustained * seconds), time.perf_counter()
    with ThreadPoolExecutor(400) as pool:
        for number in range(count):
            time.sleep(max(0.0, started + number / (10 * sustained) - time.perf_counter()))
            pool.submit(one, number)
    took = time.perf_counter() - started
    time.sleep(5)
    after = statistics.median(ask_all(port, bodies, 1))
    print(
        f"storm: {count} requests in {took:.0f} s, {count / took:.0f} a second: {dict(statuses)}; alive: {process.poll() is None}"
    )
    print(f"  memory of the service at most {peak_mib(process.pid)} MiB (target: below 700)")
    print(f"  p50 before {1000 * before:.1f} ms, 5 s after the storm {1000 * after:.1f} ms, ratio {after / before:.2f}")


def peak_mib(pid: int) -> int:
    """Largest resident memory of a process so far (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) // 1024


if __name__ == "__main__":
    main()
