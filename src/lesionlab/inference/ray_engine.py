"""Shards answered by the nodes of a Ray cluster, each with the model that this machine sends it.

In: shards, lazily. Out: their answers as they are ready, checked to be of the shard's own images.
"""

import hashlib
import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab._version import __version__
from lesionlab.cluster.tasks import in_parallel, node_name, worded
from lesionlab.errors import LesionlabError
from lesionlab.inference.features import Embedder
from lesionlab.inference.model import Model
from lesionlab.inference.predictions import Unreadable
from lesionlab.inference.shards import Answer, Engine, Shard, opens_now

_MUST_AGREE = ("numpy", "onnxruntime", "pillow")  # other versions may give other last digits
_OPEN: dict[str, Model | Embedder] = {}  # of a worker process: the model that it opened last


def ray_engine(ray: Any, model: Model | Embedder, batch_size: int) -> Engine:
    """Answer shards by a connected Ray, one core a shard; see `lesionlab.inference.shards`."""

    def engine(shards: Iterator[Shard]) -> Iterator[Answer]:
        data = pickle.dumps(model)  # the bytes of its file
        stored = _put(ray, np.frombuffer(data, dtype=np.uint8))
        digest, versions = hashlib.sha256(data).hexdigest(), _versions()
        calls = (((stored, digest, _absolute(shard), batch_size, versions), shard) for shard in shards)
        for shard, (results, node) in in_parallel(ray, _answer, calls):
            yield Answer(shard, _checked_images(results, shard), _checked_node(results, shard, node))

    return engine


def _answer(
    data: np.ndarray, digest: str, shard: Shard, batch_size: int, versions: dict[str, str]
) -> tuple[tuple, str]:
    """Answer a shard in a worker: the results, and the node's name."""
    _check_versions(versions)
    if digest not in _OPEN:
        _OPEN.clear()
        _OPEN[digest] = pickle.loads(data.tobytes())
    return tuple(_OPEN[digest].stream(shard.sources, batch_size=batch_size, workers=1)), node_name()


def _absolute(shard: Shard) -> Shard:
    """Write paths in full: a worker stands in another folder."""
    sources = (replace(source, given=Path(os.path.abspath(source.given))) for source in shard.sources)
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


def _put(ray: Any, value: np.ndarray) -> Any:
    try:
        return ray.put(value)
    except (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError) as error:
        raise LesionlabError(worded(ray, error)) from error
