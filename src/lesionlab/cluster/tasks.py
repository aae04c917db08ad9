"""Ray: many machines, or the cores of one, at work on shards of an archive or on folds; Ray's extra is `[scale]`.

In: shards or calls, lazily. Out: their answers as they are ready. Two pieces of work a core are under way and no more are
asked for until one is done, so neither the list nor the answers pile up. A piece is a Ray task without side effects: one
whose worker or node dies is computed again elsewhere, and its answer is taken once.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lesionlab.cluster.connection import first_line
from lesionlab.errors import LesionlabError, why_missing

_ATTEMPTS = 5  # of a piece of work whose worker died: a file that kills its process must not do so for ever
_AHEAD = 2  # pieces of work a core that are under way


def largest_node(ray: Any) -> int:
    """Cores of the largest node: what asks for more waits for ever, however many the cluster has in all."""
    return max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])


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


def node_name() -> str:
    """Name the machine; several nodes of Ray's on one machine are told apart by their ids."""
    import ray

    return f"{platform.node()} ({ray.util.get_node_ip_address()}, {ray.get_runtime_context().get_node_id()[:8]})"


def worded(ray: Any, error: Exception) -> str:
    """Word an exception of Ray's: what went wrong, and what mends it."""
    goes_on = "What is done is kept; the same command goes on."
    cause = getattr(error, "cause", None)
    if isinstance(cause, LesionlabError):
        return str(cause)
    if isinstance(cause, ModuleNotFoundError):
        return f"{why_missing('A node of the cluster', str(cause.name), 'scale')} there, in the version that is here."
    kinds = ray.exceptions
    if isinstance(error, kinds.ObjectStoreFullError | kinds.OutOfDiskError):
        return f"Ray's object store is full. Start Ray with a larger one (--object-store-memory) or clear its disk. {goes_on}"
    if isinstance(error, kinds.OutOfMemoryError):
        return f"A node ran out of memory. Give it fewer cores (ray start --num-cpus). {goes_on}"
    if isinstance(error, kinds.WorkerCrashedError | kinds.NodeDiedError | kinds.ObjectLostError):
        return f"A worker died {_ATTEMPTS + 1} times at the same piece of work: {first_line(error)} {goes_on}"
    return f"Ray failed: {first_line(cause or error)} {goes_on}"


def last_line(error: object) -> str:
    """Give the last line of an error that carries a worker's traceback: what was raised."""
    return " ".join(str(error).strip().splitlines()[-1:])
