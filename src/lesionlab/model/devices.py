"""Several devices: every one holds the whole network and takes its share of each batch (data parallel), by Keras on JAX.

The step computes what one device would compute, so the losses are the same but for rounding. Hosts find each other by
Keras's environment variables, `KERAS_DISTRIBUTION_JOB_ADDRESSES`, `..._NUM_PROCESSES`, `..._PROCESS_ID`. The first host holds
the run directory; the others (helpers) only train.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from lesionlab.errors import LesionlabError, UsageError
from lesionlab.model.backend import keras

_MESSENGERS = ("gloo", "nccl", "coordination", "unavailable")  # who speaks when a host does not answer


def join_hosts() -> None:
    """Connect to the other hosts that the environment names, if it does; to be called before anything is computed.

    Raises:
        UsageError: the backend is not JAX.
        LesionlabError: the others did not answer.

    """
    addresses = os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES")
    if not addresses:
        return
    _refuse_other_backends()
    import jax

    jax.config.update("jax_enable_recoverability", True)  # else a host whose neighbour died is aborted, after 100 s
    try:
        keras.distribution.initialize()
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise LesionlabError(
            f"The hosts of KERAS_DISTRIBUTION_JOB_ADDRESSES={addresses} did not meet: {first}"
        ) from error


@contextmanager
def with_other_hosts() -> Iterator[None]:
    """Within it hosts compute together; one that is left alone says so.

    Without the first host, which keeps the list of the others, JAX itself ends the process ("another task died").

    Raises:
        LesionlabError: another host stopped, or cannot be reached any more.

    """
    try:
        yield
    except (RuntimeError, ValueError) as error:  # JAX raises the one or the other
        if host_count() == 1 or not any(name in str(error).lower() for name in _MESSENGERS):
            raise
        first = str(error).strip().splitlines()[0]
        raise LesionlabError(
            f"Host {host_number()} of {host_count()} lost the others during training: one stopped, or cannot be "
            f"reached. Their last message says why. The same command on all hosts goes on after the last finished "
            f"epoch. ({first[:200]})"
        ) from error


def leave_hosts() -> None:
    """Let the other hosts go, together: what follows is the first host's alone.

    The first keeps the list of all until its process ends: JAX aborts a host whose list is gone while it still looks at it.
    """
    if host_count() == 1:
        return
    import jax
    from jax.experimental import multihost_utils

    multihost_utils.process_allgather(np.array([host_number()]))  # nobody leaves before all are done
    if host_number() > 0:
        jax.distributed.shutdown()


def host_count() -> int:
    """Count the processes that train together."""
    if keras.backend.backend() != "jax":
        return 1
    import jax

    return jax.process_count()


def host_number() -> int:
    """Number of this process among those that train together, from 0."""
    if host_count() == 1:
        return 0
    import jax

    return jax.process_index()


@contextmanager
def spread(count: int | None, batch_size: int) -> Iterator[int]:
    """Within it networks are built on, and trained by, several devices; gives how many.

    Args:
        count: devices to use, None for all. With several hosts it is all of them, whatever is asked for.
        batch_size: has to be a multiple of the number of devices.

    Raises:
        UsageError: fewer devices than asked for, a batch that cannot be shared, or a backend that cannot do it.

    """
    if count == 1 and host_count() == 1:
        yield 1
        return
    _refuse_other_backends()
    found = keras.distribution.list_devices()
    wanted = len(found) if count is None or host_count() > 1 else count
    if wanted > len(found):
        raise UsageError(f"--devices {wanted}: there are {len(found)} ({', '.join(found[:8])}).")
    if batch_size % wanted:
        nearest = max(1, round(batch_size / wanted)) * wanted
        raise UsageError(
            f"Batches of {batch_size} cannot be shared among {wanted} devices. Set optimizer.batch_size in the recipe to a "
            f"multiple of {wanted}, such as {nearest}."
        )
    if wanted == 1:
        yield 1
        return
    distribution = keras.distribution.DataParallel(devices=found[:wanted], auto_shard_dataset=False)
    with distribution.scope():
        yield wanted


def is_spread() -> bool:
    """Whether networks are built on several devices at present."""
    return keras.distribution.distribution() is not None


def local_copy(network: keras.Model) -> keras.Model:
    """Copy a network that is spread over devices to one device of this host; its weights are to be set."""
    with alone():
        return keras.models.clone_model(network)


@contextmanager
def alone() -> Iterator[None]:
    """Within it, what is computed is computed on one device of this host."""
    spread_over = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(spread_over)


def check_same_start(epochs_done: int) -> None:
    """Make sure that all hosts go on from the same epoch.

    Raises:
        LesionlabError: they do not: they see different run directories.

    """
    if host_count() == 1:
        return
    from jax.experimental import multihost_utils

    starts = np.asarray(multihost_utils.process_allgather(np.array([epochs_done]))).ravel().tolist()
    if len(set(starts)) > 1:
        raise LesionlabError(
            f"The hosts would go on after epochs {starts}. Give them all the same --out, in a folder that they share."
        )


def _refuse_other_backends() -> None:
    if keras.backend.backend() != "jax":
        raise UsageError(
            f"Several devices need the JAX backend, this one is {keras.backend.backend()}. It comes with 'lesionlab[gpu]'; "
            "set KERAS_BACKEND=jax."
        )
