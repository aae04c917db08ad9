"""The file of the last finished epoch: all that training needs to go on after a kill, to the same numbers.

In: the network and its training wrapper. Out: one `.npz` of their weights, the optimizer's state, the best weights so far and the
history. Random generators are not in it: each epoch sets them anew.
"""

import dataclasses
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.errors import LesionlabError
from lesionlab.files import replacing
from lesionlab.model.backend import keras


@dataclass
class Progress:
    """What a checkpoint holds beside the variables; `plateau` are the counters of the annealer of that name."""

    data_key: str = ""
    epochs_done: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_score: float = -1.0
    plateau: dict[str, float] = dataclasses.field(default_factory=dict)


def save(path: Path, model: keras.Model, network: keras.Model, best: list[np.ndarray], progress: Progress) -> None:
    """Write the checkpoint of a network and of the wrapper that it is trained in."""
    variables = _variables(network, model)
    arrays = {f"variable_{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
    arrays |= {f"best_{i}": value for i, value in enumerate(best)}
    facts = np.frombuffer(json.dumps(dataclasses.asdict(progress)).encode(), dtype=np.uint8)
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, progress=facts, **arrays)


def resume(path: Path, model: keras.Model, network: keras.Model, data_key: str) -> tuple[Progress, list[np.ndarray]]:
    """Set network and wrapper as the checkpoint has them, where there is one; give the progress and the best weights.

    Raises:
        LesionlabError: it cannot be read, or is of another network or other data.

    """
    if not path.exists():
        return Progress(data_key), network.get_weights()
    variables = _variables(network, model)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            progress = Progress(**json.loads(stored["progress"].tobytes()))
            if progress.data_key != data_key:
                raise ValueError("images, labels or the parts of the split have changed since")
            for index, variable in enumerate(variables):
                variable.assign(stored[f"variable_{index}"])
            best = [stored[f"best_{index}"] for index in range(len(network.weights))]
    except (KeyError, ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise LesionlabError(f"{path} cannot be continued from ({error}). Delete it, and start again.") from error
    return progress, best


def _variables(network: keras.Model, model: keras.Model) -> list[Any]:
    """Weights and the optimizer's state; not the random generators, which each epoch sets itself."""
    return [*network.weights, *model.optimizer.variables]
