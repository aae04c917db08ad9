"""Ray: many machines, or the cores of one, at work on shards of an archive or on folds; Ray's extra is `[scale]`.

In: shards or calls, lazily. Out: their answers as they are ready. Two pieces of work a core are under way and no more are
asked for until one is done, so neither the list nor the answers pile up. A piece is a Ray task without side effects: one
whose worker or node dies is computed again elsewhere, and its answer is taken once.
"""

import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import __version__
from lesionlab.bundle import open_bytes
from lesionlab.errors import LesionlabError
from lesionlab.predict import Model, Unreadable
from lesionlab.ray_cluster import first_line
from lesionlab.shards import Answer, Engine, Shard, opens_now
from lesionlab.sources import Source

_ATTEMPTS = 5  # of a piece of work whose worker died: a file that kills its process must not do so for ever
_AHEAD = 2  # pieces of work a core that are under way
_MUST_AGREE = ("numpy", "onnxruntime", "pillow")  # other versions may give other last digits
_OPEN: dict[str, Model] = {}  # of a worker process: the model that it opened last


def largest_node(ray: Any) -> int:
    """Cores of the largest node: what asks for more waits for ever, however many the cluster has in all."""
    return max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])


def ray_engine(ray: Any, model: Model, batch_size: int) -> Engine:
    """Answer shards by a connected Ray, one core a shard; see `lesionlab.shards`."""

    def engine(shards: Iterator[Shard]) -> Iterator[Answer]:
        stored = _put(ray, np.frombuffer(model.bundle.data, dtype=np.uint8))
        digest, versions = model.bundle.sha256, _versions()
        calls = (((stored, digest, _absolute(shard), batch_size, versions), shard) for shard in shards)
        for shard, (results, node) in in_parallel(ray, _answer, calls):
            yield Answer(shard, _checked_images(results, shard), _checked_node(results, shard, node))

    return engine


def in_parallel(
    ray: Any, function: Callable, calls: Iterable[tuple[tuple, Any]], *, cpus: float = 1, gpus: float = 0
) -> Iterator[tuple[Any, Any]]:
    """Call a function on every item by Ray and give `(label, what it returned)` as they are done, in any order.

    Calls that are under way when this is left, by an error or by the caller, end with the connection. They are not cancelled:
    cancelling one that is just done fails a check of Ray's, which ends the whole process.

    Args:
        ray: connected.
        function: of this package, so that every node that has lesionlab knows it; without side effects, or safe to repeat.
        calls: `(arguments, label)` of each call; read only as far as two calls a core are under way.
        cpus: cores that a call takes.
        gpus: likewise.

    Raises:
        LesionlabError: a call raised, or its worker died over and over; says on which node where that is known.

    """
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=_ATTEMPTS)(function)
    pending: dict[Any, Any] = {}
    try:
        for arguments, label in calls:
            pending[task.remote(*arguments)] = label
            while len(pending) >= max(1, int(_AHEAD * ray.cluster_resources().get("CPU", 1) / cpus)):
                yield _next_done(ray, pending)
        while pending:
            yield _next_done(ray, pending)
    except ray.exceptions.RayError as error:
        raise LesionlabError(worded(ray, error)) from error


def _next_done(ray: Any, pending: dict[Any, Any]) -> tuple[Any, Any]:
    (reference, *_), _ = ray.wait(list(pending), num_returns=1)
    answer = ray.get(reference)
    return pending.pop(reference), answer


def _answer(
    data: np.ndarray, digest: str, shard: Shard, batch_size: int, versions: dict[str, str]
) -> tuple[tuple, str]:
    """Predict a shard in a worker: the results, and the node's name."""
    _check_versions(versions)
    if digest not in _OPEN:
        _OPEN.clear()
        _OPEN[digest] = Model(open_bytes(data.tobytes(), Path("the model")))
    return tuple(_OPEN[digest].stream(shard.sources, batch_size=batch_size, workers=1)), node_name()


def _absolute(shard: Shard) -> Shard:
    """Write paths in full: a worker stands in another folder."""
    sources = (Source(source.image, source.where, Path(os.path.abspath(source.given))) for source in shard.sources)
    return Shard(shard.number, tuple(sources))


def _checked_images(results: tuple, shard: Shard) -> tuple:
    """Check that an answer is the shard's own, image by image."""
    if [item.image for item in results] != [source.image for source in shard.sources]:
        raise LesionlabError(f"Shard {shard.number} came back with other images than it was sent with.")
    return results


def _checked_node(results: tuple, shard: Shard, node: str) -> str:
    """Tell a file that nobody can open from one that the node alone cannot."""
    for item, source in zip(results, shard.sources, strict=True):
        if isinstance(item, Unreadable) and opens_now(item.code, Path(source.given)):
            raise LesionlabError(
                f"Node {node} cannot read {item.source} ({item.reason}), but this machine can. Every node must see the "
                "images under the same path: mount the folder there. What is done is kept; the same command goes on."
            )
    return node


def _versions() -> dict[str, str]:
    return {"lesionlab": __version__} | {name: metadata.version(name) for name in _MUST_AGREE}


def _check_versions(wanted: dict[str, str]) -> None:
    here = _versions()
    differing = [f"{name} {here[name]} there, {wanted[name]} here" for name in wanted if here.get(name) != wanted[name]]
    if differing:
        raise LesionlabError(
            f"Node {node_name()} has other versions: {'; '.join(differing)}. Answers could differ in their last digits: "
            "install the same ones on every node."
        )


def node_name() -> str:
    """Name the machine; several nodes of Ray's on one machine are told apart by their ids."""
    import ray

    return f"{platform.node()} ({ray.util.get_node_ip_address()}, {ray.get_runtime_context().get_node_id()[:8]})"


def _put(ray: Any, value: np.ndarray) -> Any:
    try:
        return ray.put(value)
    except (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError) as error:
        raise LesionlabError(worded(ray, error)) from error


def worded(ray: Any, error: Exception) -> str:
    """Word an exception of Ray's: what went wrong, and what mends it."""
    goes_on = "What is done is kept; the same command goes on."
    cause = getattr(error, "cause", None)
    if isinstance(cause, LesionlabError):
        return str(cause)
    if isinstance(cause, ModuleNotFoundError):
        return (
            f"A node of the cluster lacks a package ({cause}): pip install 'lesionlab[scale]' there, the same version."
        )
    kinds = ray.exceptions
    if isinstance(error, kinds.ObjectStoreFullError | kinds.OutOfDiskError):
        return f"Ray's object store is full. Start Ray with a larger one (--object-store-memory) or clear its disk. {goes_on}"
    if isinstance(error, kinds.OutOfMemoryError):
        return f"A node ran out of memory. Give it fewer cores (ray start --num-cpus). {goes_on}"
    if isinstance(error, kinds.WorkerCrashedError | kinds.NodeDiedError | kinds.ObjectLostError):
        return f"A worker died {_ATTEMPTS + 1} times at the same piece of work: {first_line(error)} {goes_on}"
    return f"Ray failed: {first_line(cause or error)} {goes_on}"


def trial_number(name: str) -> int:
    """Find the number of one of Ray Tune's trials, from 1, in its id, `1a2b3_00004`, or its folder's name.

    The search's own part of the id, before the number, may be five decimal digits as well.
    """
    found = re.search(r"(?:^|_)[0-9a-f]{5}_(\d{5})(?:_|$)", name)
    return int(found[1]) + 1 if found else 0


def last_line(error: object) -> str:
    """Give the last line of an error that carries a worker's traceback: what was raised."""
    return " ".join(str(error).strip().splitlines()[-1:])
