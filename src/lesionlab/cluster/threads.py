"""Calls on the cores of this machine, in order; few are under way, so that a million take no more memory than a hundred.

Where `lesionlab.cluster.tasks` has the nodes of a cluster, this has threads: for calls that let go of Python's lock, as decoding
and ONNX Runtime do.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from lesionlab.environment import n_cores

MOST_WORKERS = 8  # each holds the memory of a call
_AHEAD = 2  # calls a worker that are under way or done, and not yet asked for

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Give the items in lists of `size`, the last one shorter; read only as far as asked for."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None = None
) -> Generator[Result, None, None]:
    """Call a function on every item, on several threads, and give what it returns in the order of the items.

    Args:
        function: safe to be called from several threads.
        items: read only as far as two calls a worker are under way.
        workers: threads; one a core, at most 8, by default.

    """
    workers = workers or min(MOST_WORKERS, n_cores())
    pool = ThreadPoolExecutor(workers, thread_name_prefix=getattr(function, "__name__", "call"))
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) > _AHEAD * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
