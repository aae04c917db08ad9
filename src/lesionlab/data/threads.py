"""Work on all cores, in order, with a progress bar: NumPy, SciPy, Pillow and OpenCV run beside each other."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lesionlab.environment import n_cores
from lesionlab.progress import track

THREADS = min(8, n_cores())

Work = TypeVar("Work")
Done = TypeVar("Done")


def in_threads(work: Callable[[Work], Done], items: Sequence[Work], what: str) -> Iterator[Done]:
    """Yield what `work` makes of each item, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from track(pool.map(work, items), what, total=len(items))
