"""`lesionlab serve` as its clients meet it: a process of its own, real sockets, good and bad requests."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import tiny_onnx
from builders import png
from conftest import command, lesionlab, lesionlab_here
from lesionlab.cli import main
from lesionlab.inference.model import load_model
from lesionlab.serve.settings import make_settings

TOKEN = "a-token-of-thirty-two-characters"


@contextmanager
def serving(*options: object, folder: Path | None = None) -> Iterator[tuple[str, subprocess.Popen]]:
    """A service in a process of its own: its address, and the process."""
    process = subprocess.Popen(
        command("serve", "--port", 0, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | ({"TMPDIR": str(folder)} if folder else {}),
        cwd=folder,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stdout.read()
        yield found[0], process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def model(finished: tuple[Path, str]) -> Path:
    return finished[0] / "model.onnx"


@pytest.fixture(scope="module")
def service(model: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a small service with short deadlines' worth of limits, and the only folder it may write to."""
    folder = tmp_path_factory.mktemp("served")
    options = ("--model", model, "--reference", phantoms, "--max-files", 5, "--max-file-mb", 2)
    with serving(*options, folder=folder) as (url, _):
        yield url, folder


@pytest.fixture(scope="module")
def url(service: tuple[str, Path]) -> str:
    return service[0]


def post(url: str, *images: tuple[str, bytes], query: str = "", **headers: str) -> httpx.Response:
    files = [("image", (name, data)) for name, data in images]
    return httpx.post(f"{url}/v1/predict{query}", files=files, headers=headers, timeout=30)


def raw(url: str, request: bytes, *, wait: float = 20) -> bytes:
    """Send bytes as they are, and read until the other side closes or falls silent."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


def is_alive(url: str) -> bool:
    return httpx.get(f"{url}/healthz").status_code == 200 and httpx.get(f"{url}/readyz").status_code == 200


# What it is for


@pytest.mark.parametrize(
    ("host", "allowed", "asked"),
    [("127.0.0.1", ("Clinic-PC",), "clinic-pc"), ("127.0.0.2", (), "127.0.0.2"), ("fe80::1", (), "[fe80::1]")],
)
def test_its_own_names_are_known(host: str, allowed: tuple[str, ...], asked: str) -> None:
    settings = make_settings(host=host, port=8000, allow_hosts=allowed, insecure_no_token=True)
    assert asked in settings.hosts  # as the guard asks


def test_the_same_answers_as_predict(url: str, photos: list[Path], model: Path) -> None:
    photos = photos[:4]
    answer = post(url, *((path.name, path.read_bytes()) for path in photos), query="?explain=true").json()
    assert "not a medical device" in answer["notice"]
    expected = load_model(model).predict(photos, explain=True)
    for path, result, prediction in zip(photos, answer["results"], expected, strict=True):
        assert result["image"] == path.name
        assert list(result["probabilities"].values()) == pytest.approx(
            list(prediction.probabilities.values()), abs=1e-5
        )
        assert result["decision"] == prediction.decision and result["prediction_set"] == list(prediction.prediction_set)
        maps = result["activation_maps"]
        values = np.array(maps["values"]).reshape(7, maps["height"], maps["width"])
        np.testing.assert_allclose(values, prediction.activation_maps.transpose(2, 0, 1), atol=1e-4)


def test_an_unreadable_image_stands_in_its_place(url: str, photos: list[Path]) -> None:
    data = photos[0].read_bytes()
    first, second, third = post(url, ("a.jpg", data), ("b.jpg", data[:3000]), ("c.jpg", data)).json()["results"]
    assert first["image"] == "a.jpg" and "dx" in first and "dx" in third
    assert second == {"image": "b.jpg", "error": second["error"]} and "cut short" in second["error"]["reason"]


def test_the_nearest_cases_are_of_the_reference_folder(url: str, photos: list[Path]) -> None:
    (result,) = post(url, ("a.jpg", photos[0].read_bytes()), query="?neighbours=3").json()["results"]
    nearest = result["neighbours"]
    assert (
        len(nearest) == 3
        and nearest[0]["image"] == photos[0].stem
        and nearest[0]["similarity"] == pytest.approx(1, abs=1e-3)
    )
    picture = httpx.get(url + nearest[0]["url"])
    assert picture.headers["content-type"] == "image/jpeg" and Image.open(BytesIO(picture.content)).size == (224, 224)
    assert httpx.get(f"{url}/v1/reference/999999").status_code == 404


def test_a_case_that_is_gone_is_not_found(model: Path, phantoms: Path, photos: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    shutil.copytree(phantoms, folder)
    with serving("--model", model, "--reference", folder) as (url, _):
        (result,) = post(url, ("a.jpg", photos[0].read_bytes()), query="?neighbours=1").json()["results"]
        shutil.rmtree(folder)
        answer = httpx.get(url + result["neighbours"][0]["url"])
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"
    assert "cannot be read any more: the file cannot be opened" in answer.json()["error"]["reason"]


def test_a_model_that_fails_is_said_in_words(photos: list[Path], tmp_path: Path) -> None:
    with serving("--model", tiny_onnx.write(tmp_path / "m.onnx", scale=float("nan"))) as (url, _):
        answer = post(url, ("a.jpg", photos[0].read_bytes()))
        assert answer.status_code == 500 and is_alive(url)
    reason = "The model 'tiny' is damaged: its outputs are not probabilities."
    assert answer.json() == {"error": {"code": "failed", "reason": reason}}


def test_the_model_says_what_it_is(url: str, model: Path) -> None:
    about, facts = httpx.get(f"{url}/v1/model").json(), load_model(model).facts
    assert about["name"] == facts.name and about["card"] == facts.card and about["reference"] is True
    assert about["limits"] == {"file_bytes": 2_000_000, "pixels": 60_000_000, "files": 5}


def test_prometheus_counts_images(url: str, photos: list[Path]) -> None:
    def answered() -> float:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("lesionlab_images_total"))

    before = answered()
    post(url, ("a.jpg", photos[0].read_bytes()), ("b.jpg", photos[1].read_bytes()))
    assert answered() == before + 2
    assert "a.jpg" not in httpx.get(f"{url}/metrics").text


def test_the_page_is_served_with_a_strict_policy(url: str) -> None:
    page = httpx.get(url + "/")
    assert page.status_code == 200 and "<html" in page.text.lower()
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert page.headers["x-content-type-options"] == "nosniff" and "access-control-allow-origin" not in page.headers


# What clients do wrong


BAD_IMAGES = {
    "empty": b"",
    "text": b"this is no image",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "pdf": b"%PDF-1.7\n%%EOF",
    "one pixel": png(1, 1),
    "narrow": png(20, 2000),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_gets_a_reason(url: str, kind: str) -> None:
    answer = post(url, (f"{kind}.jpg", BAD_IMAGES[kind]))
    assert answer.status_code in (415, 422), answer.text
    assert len(answer.json()["error"]["reason"]) > 15


def test_a_bomb_is_refused_before_it_is_decoded(url: str) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1_000_000))) + chunk(b"IEND", b"")
    started = time.monotonic()
    answer = post(url, ("bomb.png", bomb))
    assert answer.status_code == 413 and "megapixels" in answer.json()["error"]["reason"]
    assert time.monotonic() - started < 1


@pytest.mark.slow
def test_mutated_images_never_break_the_service(url: str, photos: list[Path]) -> None:
    rng, data = np.random.default_rng(1), photos[0].read_bytes()
    for _ in range(150):
        bad = bytearray(data)
        for place in rng.integers(0, len(bad), rng.integers(1, 20)):
            bad[place] = rng.integers(256)
        answer = post(url, ("m.jpg", bytes(bad[: rng.integers(10, len(bad) + 1)])))
        assert answer.status_code < 500, answer.text
    assert is_alive(url)


def test_too_much_is_refused(url: str, photos: list[Path]) -> None:
    data = photos[0].read_bytes()
    assert post(url, *[(f"{n}.jpg", data) for n in range(6)]).status_code == 413
    assert post(url, ("large.jpg", data + bytes(2_100_000))).status_code == 413
    assert post(url, ("huge.jpg", bytes(65_000_000))).status_code == 413
    thousand = [("image", (f"{n}", b"x")) for n in range(10_000)]
    assert httpx.post(f"{url}/v1/predict", files=thousand, timeout=30).status_code == 413
    assert is_alive(url)


HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
FORM = HEAD + b"Content-Type: multipart/form-data; boundary=x\r\n"


@pytest.mark.parametrize(
    ("what", "request_bytes", "status"),
    [
        ("no multipart", HEAD + b"Content-Type: image/jpeg\r\nContent-Length: 3\r\n\r\nabc", 415),
        ("no content type", HEAD + b"Content-Length: 3\r\n\r\nabc", 415),
        ("urlencoded", HEAD + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\n\r\na=b&c", 415),
        ("no boundary", HEAD + b"Content-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("wrong boundary", FORM + b"Content-Length: 9\r\n\r\n--y\r\n\r\n--", 400),
        ("gzip", FORM + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", 415),
        ("lying length", FORM + b"Content-Length: 99999999999\r\n\r\nabc", 413),
        ("two lengths", HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        ("negative length", HEAD + b"Content-Length: -3\r\n\r\nabc", 400),
        ("broken chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", 400),
        ("no host", b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("foreign host", b"GET /v1/model HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_a_broken_request_gets_its_status(url: str, what: str, request_bytes: bytes, status: int) -> None:
    answer = raw(url, request_bytes.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), wait=5)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (what, answer[:200])
    assert is_alive(url)


def test_other_fields_and_parameters(url: str, photos: list[Path]) -> None:
    answer = httpx.post(f"{url}/v1/predict", files={"file": photos[0].read_bytes()})
    assert answer.status_code == 422 and "'image', and once each" in answer.json()["error"]["reason"]
    assert post(url, ("a.jpg", photos[0].read_bytes()), query="?neighbours=99").status_code == 422
    assert httpx.get(f"{url}/v1/predict").status_code == 405
    assert httpx.get(f"{url}/v1/nothing").json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/..%2f..%2fpyproject.toml", "/%2e%2e/cli.py", "//etc/passwd", "/....//cli.py"]
)
def test_nothing_outside_the_page_is_served(url: str, path: str) -> None:
    answer = raw(url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "name", ["../../x.jpg", "..\\x.jpg", "/etc/passwd", "<img src=x onerror=alert(1)>.jpg", "a\x00b.jpg"]
)
def test_a_file_name_is_only_sent_back(service: tuple[str, Path], photos: list[Path], name: str) -> None:
    url, folder = service
    (result,) = post(url, (name, photos[0].read_bytes())).json()["results"]
    assert (
        "/" not in result["image"].replace("onerror", "")
        and "\\" not in result["image"]
        and "\x00" not in result["image"]
    )
    assert not list(folder.rglob("*x.jpg"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_others_may_not_use_it(url: str, photos: list[Path], headers: dict[str, str]) -> None:
    answer = post(url, ("a.jpg", photos[0].read_bytes()), **headers)
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
    assert post(url, ("a.jpg", photos[0].read_bytes()), Origin=url).status_code == 200


def test_no_image_is_kept(service: tuple[str, Path]) -> None:
    url, folder = service
    file = png(900, 700, seed=3)
    assert len(file) > 1_500_000  # above where frameworks begin to write uploads to the disk
    assert post(url, ("private-name.png", file)).status_code == 200
    assert not [path for path in folder.rglob("*") if path.is_file()]


# Slow clients and storms


@pytest.fixture(scope="module")
def hasty(model: Path) -> Iterator[str]:
    """A service with short deadlines and a short queue."""
    code = (
        "from lesionlab.cli.serve import tell_address\nfrom lesionlab.serve.limits import Limits\n"
        "from lesionlab.serve.server import serve\nfrom lesionlab.serve.settings import Settings\n"
        "limits = Limits(waiting=4, header_seconds=1, body_seconds=1)\n"
        f"serve(Settings(port=0, model={str(model)!r}, limits=limits), tell=tell_address)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    "piece",
    [
        b"POST /v1/pre",
        FORM + b"Content-Length: 1000\r\n\r\n--x",
        FORM + b"Transfer-Encoding: chunked\r\n\r\n3\r\n--x\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he",
    ],
)
def test_slow_clients_are_let_go(hasty: str, piece: bytes) -> None:
    started = time.monotonic()
    answer = raw(hasty, piece, wait=15)
    assert b"HTTP/1.1 408 " in answer or piece.startswith(b"GET")  # between requests it just hangs up
    assert time.monotonic() - started < 8
    assert is_alive(hasty)


def test_a_client_that_goes_away_leaves_nothing_behind(hasty: str) -> None:
    host, port = hasty.removeprefix("http://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(FORM + b"Content-Length: 90000\r\n\r\n--x")
    assert is_alive(hasty)


@pytest.mark.slow
def test_a_storm_gets_503_and_passes(hasty: str, photos: list[Path]) -> None:
    data = photos[0].read_bytes()
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda n: post(hasty, *[(f"{n}-{k}.jpg", data) for k in range(3)]), range(150)))
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {200, 408, 503} and 200 in statuses  # on a busy machine a body may take longer than its second
    late = [answer for answer in answers if answer.status_code == 503]
    assert late and all(int(answer.headers["retry-after"]) >= 1 for answer in late)
    assert is_alive(hasty) and post(hasty, ("a.jpg", data)).status_code == 200


# Who may listen, and who may ask


def test_beyond_this_machine_only_with_a_token() -> None:
    done = lesionlab_here("serve", "--host", "0.0.0.0", "--port", 0)
    assert done.returncode == 2 and "give --token" in done.stderr and "--insecure-no-token" in done.stderr
    done = lesionlab_here("serve", "--host", "0.0.0.0", "--port", 0, "--token", "short")
    assert done.returncode == 2 and "16 characters" in done.stderr


def test_the_token_opens_the_api(model: Path, photos: list[Path]) -> None:
    with serving("--host", "0.0.0.0", "--token", TOKEN, "--model", model) as (url, _):
        url = url.replace("0.0.0.0", "127.0.0.1")
        data = photos[0].read_bytes()
        refused = post(url, ("a.jpg", data))
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        assert post(url, ("a.jpg", data), Authorization="Bearer wrong").status_code == 401
        assert post(url, ("a.jpg", data), Authorization=f"Bearer {TOKEN}").status_code == 200
        assert post(url, ("a.jpg", data), Authorization=f"bearer {TOKEN}").status_code == 200  # RFC 9110, 11.1
        assert post(url, ("a.jpg", data), Authorization=TOKEN).status_code == 401
        schema = httpx.get(f"{url}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
        assert (
            schema["paths"]["/v1/predict"]["post"]["security"] and "security" not in schema["paths"]["/healthz"]["get"]
        )
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(url).status_code == 200 and is_alive(url)


@pytest.mark.parametrize(
    ("size", "body", "bodies"), [("20", 64_000_000, 128_000_000), ("100", 101_000_000, 202_000_000)]
)
def test_a_request_may_hold_an_image_of_the_size_allowed(
    size: str, body: int, bodies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("lesionlab.serve.server.serve", lambda settings, tell: asked.append(settings.limits))
    assert main(["serve", "--max-file-mb", size]) == 0
    assert [(of.file_bytes, of.body_bytes, of.bodies_bytes) for of in asked] == [(int(size) * 10**6, body, bodies)]


def test_what_cannot_be_served_is_said(tmp_path: Path, url: str, model: Path) -> None:
    done = lesionlab_here("serve", "--model", tmp_path / "none.onnx")
    assert done.returncode == 2 and "no model file" in done.stderr
    done = lesionlab("serve", "--model", model, "--reference", tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    done = lesionlab("serve", "--model", model, "--port", url.rsplit(":", 1)[1])
    assert done.returncode == 1 and "Choose another --port" in done.stderr


def test_it_starts_fast_without_keras_and_ends_when_told(model: Path) -> None:
    started = time.monotonic()
    with serving("--model", model) as (url, process):
        assert is_alive(url)
        assert time.monotonic() - started < 10  # 0.8 s on an idle machine; see docs/serve.md
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    code = "import sys, lesionlab.serve.app; sys.exit(any(name in sys.modules for name in ('keras', 'pandas', 'tensorflow')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_probes_are_answered_whatever_name_they_ask_by(url: str) -> None:
    for path in ("healthz", "readyz"):
        assert httpx.get(f"{url}/{path}", headers={"Host": "10.1.2.3:8000"}).status_code == 200
        assert httpx.head(f"{url}/{path}").status_code == 200
    assert httpx.get(f"{url}/metrics", headers={"Host": "10.1.2.3:8000"}).status_code == 421


def test_requests_are_counted_by_status_and_only_answers_are_timed(model: Path, photos: list[Path]) -> None:
    with serving("--model", model) as (url, _):
        assert post(url, ("a.jpg", photos[0].read_bytes())).status_code == 200
        assert post(url, ("a.jpg", b"none")).status_code == 415
        assert httpx.post(f"{url}/v1/predict?neighbours=3", files={"image": b"x"}).status_code == 422
        assert httpx.get(f"{url}/v1/model", headers={"Host": "elsewhere.org"}).status_code == 421
        lines = httpx.get(f"{url}/metrics").text.splitlines()
    for status, number in (("200", 1), ("415", 1), ("422", 1), ("421", 1)):
        (line,) = [line for line in lines if line.startswith(f'lesionlab_requests_total{{status="{status}"}}')]
        assert float(line.split()[-1]) >= number
    assert "lesionlab_predict_seconds_count 2.0" in lines  # the 415 was looked at, the others were not


@pytest.mark.timeout(120)
def test_a_request_that_outlasts_the_goodbye_is_told_so(model: Path, photos: list[Path], tmp_path: Path) -> None:
    """In process: a real one would take the seconds of the goodbye."""
    import asyncio

    from lesionlab.serve.guard import Guard
    from lesionlab.serve.settings import make_settings

    async def never(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(3600)

    sent: list[dict] = []

    async def ask() -> None:
        guard = Guard(never, make_settings(host="127.0.0.1", port=0), sent.append)
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"127.0.0.1")]}

        async def receive() -> dict:
            return {"type": "http.request", "body": b""}

        async def send(message: dict) -> None:
            sent.append(message)

        task = asyncio.create_task(guard(scope, receive, send))
        await asyncio.sleep(0.05)
        task.cancel()
        await task

    with ThreadPoolExecutor(1) as pool:  # in this thread a browser's loop may run
        pool.submit(asyncio.run, ask()).result()
    assert sent[0]["status"] == 503 and b"stopping" in sent[1]["body"] and sent[-1] == 503


@pytest.mark.slow
def test_openapi_is_true(url: str) -> None:
    """Schemathesis asks everything that the description allows, and much that it does not."""
    schemathesis = Path(sys.executable).parent / "schemathesis"
    done = subprocess.run(
        [
            schemathesis, "run", f"{url}/openapi.json", "--url", url, "--max-examples", "15", "--seed", "1", "--no-color",
            "--exclude-checks", "positive_data_acceptance",  # random bytes are no image
        ],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    described = httpx.get(f"{url}/openapi.json").json()
    assert json.dumps(described).count("/v1/predict") >= 1
