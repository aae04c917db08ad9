"""Ray, on a cluster of two nodes on this machine: the local answers, whatever dies on the way; faults in words."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import command, lesionlab
from lesionlab.cli import main
from lesionlab.cluster import connection
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.inference.shard_log import read_log
from test_shards import joined

pytest.importorskip("ray", reason="Ray is not installed: pip install 'lesionlab[scale]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray leaves sockets and files to the collector

STORE_BYTES = 80 * 2**20
SHARD_SIZE, N_SHARDS = 40, 60  # of photographs that take milliseconds: a node that starts late has its share


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and one more node, each with one core."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE_BYTES})
        made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        made.wait_for_nodes()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def archive(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A Parquet list of 2,400 paths, and the table that the local engine makes of it."""
    import pyarrow as pa
    from pyarrow import parquet

    folder = tmp_path_factory.mktemp("archive")
    paths = [str(folder / f"{number}.jpg") for number in range(10)]
    for number, path in enumerate(paths):
        blocks = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((600, 450)).save(path)
    paths = list(chain.from_iterable(repeat(paths, SHARD_SIZE * N_SHARDS // len(paths))))
    parquet.write_table(pa.table({"path": paths}), folder / "list.parquet")
    table = folder / "local.csv"
    assert main(["predict", str(folder / "list.parquet"), "--model", str(tiny), "--out", str(table)]) == 0
    return SimpleNamespace(paths=folder / "list.parquet", table=table.read_text(encoding="utf-8"))


def ray_command(archive: SimpleNamespace, tiny: Path, out: Path, cluster: Any) -> list[str]:
    options = ["--shards", out, "--shard-format", "csv", "--shard-size", SHARD_SIZE, "--address", cluster.address]
    return command("predict", archive.paths, "--model", tiny, *options)


def wait_until(is_so, process: subprocess.Popen) -> None:
    """Wait, as long as the process lives."""
    while not is_so():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def workers_of(cluster: Any) -> list[int]:
    """Processes of this cluster's nodes that are at work on a shard."""
    raylets = {info.process.pid for node in cluster.list_all_nodes() for info in node.all_processes.get("raylet", [])}
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_at_work = (entry / "cmdline").read_bytes().startswith(b"ray::_answer")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if is_at_work and parent in raylets:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("victim", ["worker", "node"])
def test_whatever_dies_no_row_is_lost_and_none_comes_twice(
    victim: str, cluster: Any, archive: SimpleNamespace, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(ray_command(archive, tiny, out, cluster), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len({line.node for line in read_log(out)}) == 2, process)  # both nodes are at work
    if victim == "worker":
        wait_until(lambda: bool(workers_of(cluster)), process)
        os.kill(workers_of(cluster)[0], signal.SIGKILL)
    else:
        cluster.remove_node(list(cluster.worker_nodes)[0], allow_graceful=False)
    n_done = len(list(out.glob("part-*")))
    assert n_done < N_SHARDS, "nothing was left to do when it died"
    _, errors = process.communicate(timeout=120)
    if victim == "node":
        cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    assert process.returncode == 0, errors
    assert joined(out) == archive.table
    log = read_log(out)
    assert sorted(line.shard for line in log) == list(range(N_SHARDS))
    assert len({line.node for line in log}) == 2, "one node did everything"


def test_a_driver_that_was_killed_goes_on(cluster: Any, archive: SimpleNamespace, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(ray_command(archive, tiny, out, cluster), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(list(out.glob("part-*"))) >= 2, process)
    process.kill()
    process.communicate()
    assert len(read_log(out)) < N_SHARDS
    done = subprocess.run(ray_command(archive, tiny, out, cluster), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "images were done before" in done.stderr
    assert joined(out) == archive.table


def test_a_worker_that_cannot_read_a_path_is_named_with_it(
    cluster: Any, phantoms: Path, tiny: Path, tmp_path: Path
) -> None:
    image = next(phantoms.rglob("*.jpg"))
    with image.open("rb") as file:
        number = os.dup2(file.fileno(), 900)
        path = f"/proc/self/fd/{number}"  # of the one who asks: nobody else has it
        options = ["--shards", tmp_path / "out", "--address", cluster.address]
        done = lesionlab("predict", path, "--model", tiny, *options, pass_fds=[number])
        os.close(number)
    assert done.returncode == 1
    assert f"cannot read {path} (the file cannot be opened" in done.stderr
    assert "Node " in done.stderr and "mount the folder there" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_nobody_can_read_is_a_row_less(cluster: Any, phantoms: Path, tiny: Path, tmp_path: Path) -> None:
    image, absent = next(phantoms.rglob("*.jpg")), tmp_path / "absent.jpg"
    options = ["--shards", tmp_path / "out", "--address", cluster.address, "--shard-format", "csv"]
    done = lesionlab("predict", image, absent, "--model", tiny, *options)
    assert done.returncode == 1
    assert str(absent) in (tmp_path / "out" / "_unreadable.csv").read_text(encoding="utf-8")
    assert "1 rows in" in done.stderr


OTHER_VERSIONS = """
import sys
from lesionlab.cluster import connection
from lesionlab.inference import ray_engine
from lesionlab.inference.model import load_model
from lesionlab.inference.shards import Shard
from lesionlab.inference.image_sources import Source

address, model, image = sys.argv[1:]
here = ray_engine._versions() | {"onnxruntime": "0.1"}
ray_engine._versions = lambda: here  # of this process: the nodes have their own
with connection.cluster(address) as ray:
    list(ray_engine.ray_engine(ray, load_model(model), 8)(iter([Shard(0, (Source.of_file(image),))])))
"""
FULL_STORE = """
import sys
from lesionlab.cluster import connection
from lesionlab.inference import ray_engine
from lesionlab.inference.model import load_model

address, model = sys.argv[1:]
with connection.cluster(address) as ray:
    def full(*_):
        raise ray.exceptions.ObjectStoreFullError("80 MB used")
    ray.put = full
    next(ray_engine.ray_engine(ray, load_model(model), 8)(iter([])))
"""


def said(script: str, *arguments: object) -> str:
    """What a process of its own, which Ray may end, says at last."""
    given = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True, timeout=120).stderr


def test_other_versions_on_a_node_are_named(cluster: Any, phantoms: Path, tiny: Path) -> None:
    error = said(OTHER_VERSIONS, cluster.address, tiny, next(phantoms.rglob("*.jpg")))
    assert re.search(r"LesionlabError: .*onnxruntime .* there, 0\.1 here", error), error


def test_a_full_object_store_is_worded(cluster: Any, tiny: Path) -> None:
    error = said(FULL_STORE, cluster.address, tiny)
    assert re.search("LesionlabError: .*object store is full. Start Ray with a larger one", error), error


def test_nobody_at_the_address_is_said_in_seconds(phantoms: Path, tiny: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    done = lesionlab("predict", phantoms, "--model", tiny, "--shards", tmp_path, "--address", "127.0.0.1:1")
    assert done.returncode == 1
    assert "No Ray cluster answers at 127.0.0.1:1" in done.stderr
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("address", ["nonsense", "", "head:port", ":6379"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=f"--address '{address}' is no HOST:PORT"), connection.cluster(address):
        pass


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0"), "other versions.*Ray: 2.9.0"),
        (RuntimeError("no space left"), r"Ray did not start \(no space left\)"),
        (Exception("The current node timed out during startup."), r"Ray did not start \(The current node timed out"),
        (ConnectionError("nothing found"), "There is no Ray cluster at 'auto'"),
    ],
)
def test_why_ray_does_not_start_is_worded(raised: Exception, message: str, monkeypatch) -> None:
    import ray

    def start(**_: Any) -> None:
        raise raised

    monkeypatch.setattr(ray, "init", start)
    with pytest.raises(LesionlabError, match=message), connection.cluster("auto"):
        pass


@contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """Somebody at an address who answers each caller with this, or never."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            kept = []
            with suppress(OSError):
                while True:
                    kept.append(server.accept()[0])
                    if answer is not None:
                        kept[-1].sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "Nothing at {} answers within 0.5 s. Is the head up, and this its port?"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "What listens at {} is no Ray cluster, or one that wants RAY_USE_TLS=1"),
        (b"", "What listens at {} is no Ray cluster"),
    ],
    ids=["silent", "another service", "closed at once"],
)
def test_who_is_no_cluster_is_said_in_seconds(answer: bytes | None, message: str, monkeypatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    with listening(answer) as address:
        if answer == b"":
            monkeypatch.setattr(socket.socket, "recv", lambda *_: b"")
        with pytest.raises(LesionlabError, match=re.escape(message.format(address))), connection.cluster(address):
            pass


def test_a_port_that_is_not_the_heads_is_worded(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def start(**_: Any) -> None:
        raise ConnectionError("no GCS")

    monkeypatch.setattr(ray, "init", start)
    with listening(connection._SETTINGS) as address:
        message = f"Something listens at {address}, but Ray gets no connection .no GCS.*RAY_AUTH_MODE=token"
        with pytest.raises(LesionlabError, match=message), connection.cluster(address):
            pass


def test_a_head_that_dies_is_said_before_ray_ends_the_process(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(connection, "_LOOK_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
    ray = SimpleNamespace(get_runtime_context=lambda: SimpleNamespace(gcs_address=place))
    with connection._watched(ray, place):
        time.sleep(1)
    said = capsys.readouterr().err
    assert said.count("is gone") == 1 and place in said and "the same command goes on" in said


def test_without_ray_the_extra_is_named(phantoms: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('no ray')", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = command("predict", phantoms, "--model", tiny, "--engine", "ray", "--shards", tmp_path / "out")
    done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 2
    assert "pip install 'lesionlab[scale]'" in done.stderr
