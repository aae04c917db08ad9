"""Work on all cores, in order, with a progress bar: NumPy, SciPy, Pillow and OpenCV run beside each other."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from lesionlab.cluster.threads import in_order
from lesionlab.progress import track

Work = TypeVar("Work")
Done = TypeVar("Done")


def in_threads(work: Callable[[Work], Done], items: Sequence[Work], what: str) -> Iterator[Done]:
    """Yield what `work` makes of each item, in order."""
    yield from track(in_order(work, items), what, total=len(items))
