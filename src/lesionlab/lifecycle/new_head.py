"""A model file with a new head, proved on real images and written whole: what `adapt` and `probe` end with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.files import replacing
from lesionlab.inference.bundle import Bundle, open_bytes
from lesionlab.inference.facts import Facts
from lesionlab.inference.outputs import see
from lesionlab.model.export.head import Head, with_head

TOLERANCE = 1e-4  # of a probability, between the new file and its head in NumPy


def write_with_head(
    old: Bundle, head: Head, facts: Facts, path: Path, read: Callable[[int], np.ndarray | None], expected: np.ndarray
) -> float:
    """Write a model file whose head is another; return the largest difference from that head in NumPy on real images.

    Args:
        old: the model whose features the head takes.
        head: the new one.
        facts: of the new file.
        path: of the new file; whole or not at all.
        read: as of `lesionlab.inference.outputs.see`: gives an image by its number; None where it cannot be read any more.
        expected: float (n, k), what the head says of these n images.

    Raises:
        LesionlabError: the difference is over `TOLERANCE`; nothing is written then.

    """
    data = with_head(old.data, head, facts.to_json(), old.facts.name)
    found = see(open_bytes(data, path), len(expected), read, has_maps=False).probabilities
    is_read = ~np.isnan(found[:, 0])
    difference = float(np.abs(found - expected)[is_read].max(initial=0.0))
    if not difference <= TOLERANCE:
        raise LesionlabError(
            f"The model file differs by {difference:.1e} in probability from the head that was chosen (allowed: {TOLERANCE}); "
            "nothing was written."
        )
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return difference
