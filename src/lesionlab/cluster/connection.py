"""A connection to Ray: to a cluster that somebody has started, or to one made of this machine's cores.

In: an address, or none. Out: the module `ray`, connected. Whoever does not answer is said within seconds, and a head that dies
while work is under way as well: Ray itself tries for minutes, and then ends the process.
"""

import logging
import os
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lesionlab.environment import n_cores
from lesionlab.errors import LesionlabError, UsageError, why_missing
from lesionlab.progress import warn

CONNECT_SECONDS = 5.0
_LOOK_SECONDS, _FAILURES = 5.0, 3
_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"  # an empty frame of that kind: RFC 9113, 3.4 and 6.5
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS
_START = "Start one with 'ray start --head', or leave out --address to use this machine alone."


@contextmanager
def cluster(address: str | None = None) -> Iterator[Any]:
    """Give the module `ray`, connected to a cluster or, without an address, to one made of this machine's cores.

    Args:
        address: `HOST:PORT` of a cluster's head, `ray://HOST:PORT`, or `auto` for the cluster that this machine is in.

    Raises:
        UsageError: Ray is not installed.
        LesionlabError: nobody answers at the address, or versions of Ray or Python differ.

    """
    ray = reach(address)
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": True}
    local: dict[str, Any] = {} if address else {"num_cpus": n_cores(), "include_dashboard": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Ray's own imports and of sockets that it leaves to the collector
            ray.init(address=address or "local", **quiet, **local)
    except (ConnectionError, TimeoutError) as error:
        raise LesionlabError(_worded_refusal(error, address)) from error
    except Exception as error:  # Ray gives up on a slow start with a bare one
        raise LesionlabError(_worded_start(error, address)) from error
    try:
        with _watched(ray, _resolved(address)):
            yield ray
    finally:
        ray.shutdown()


def reach(address: str | None) -> Any:
    """Give the module `ray` where it is installed and somebody answers at the address; connect to nothing yet.

    Raises:
        UsageError: it is no address, or Ray is not installed.
        LesionlabError: nobody answers, or who does is no Ray.

    """
    ray = import_ray()
    check_reachable(_resolved(address))
    return ray


def _resolved(address: str | None) -> str | None:
    """Say where `auto` leads, where the environment does."""
    return os.environ.get("RAY_ADDRESS") or address if address == "auto" else address


def import_ray() -> Any:
    """Import Ray, or say which extra it comes with."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; without it, it warns
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise UsageError(f"{why_missing('This', 'Ray', 'scale')}.") from error
    return ray


def check_reachable(address: str | None) -> None:
    """Knock at an address first: Ray itself would try for minutes. A head speaks HTTP/2, and greets at once.

    Raises:
        UsageError: it is no address.
        LesionlabError: nobody answers, or who does is no Ray.

    """
    if address in (None, "auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        raise UsageError(f"--address {address!r} is no HOST:PORT, ray://HOST:PORT or auto.")
    is_plain = os.environ.get("RAY_USE_TLS", "0") == "0"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as connection:
            if is_plain:
                connection.sendall(_GREETING)
            greeted = connection.recv(9) if is_plain else _SETTINGS
    except TimeoutError as error:
        raise LesionlabError(
            f"Nothing at {address} answers within {CONNECT_SECONDS:g} s. Is the head up, and this its port? {_START}"
        ) from error
    except (OSError, OverflowError, UnicodeError) as error:
        raise LesionlabError(f"No Ray cluster answers at {address} ({error}). {_START}") from error
    if greeted[3:4] != _SETTINGS[3:4]:
        raise LesionlabError(f"What listens at {address} is no Ray cluster, or one that wants RAY_USE_TLS=1. {_START}")


@contextmanager
def _watched(ray: Any, address: str | None) -> Iterator[None]:
    """Say it when a cluster's head is gone: Ray then ends this process by itself, after a minute and without a word."""
    if address in (None, "local") or address.startswith("ray://"):  # of a client, Ray looks after the connection itself
        yield
        return
    place, left = ray.get_runtime_context().gcs_address, threading.Event()

    def watch() -> None:
        failures = 0
        while not left.wait(_LOOK_SECONDS):
            try:
                check_reachable(place)
                failures = 0
            except LesionlabError:
                failures += 1
            if failures == _FAILURES:
                warn(
                    f"the Ray cluster's head at {place} is gone. Unless it comes back, Ray ends this command within a minute. "
                    "What is done is kept; the same command goes on."
                )

    thread = threading.Thread(target=watch, name="watches the head", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()


def _worded_refusal(error: Exception, address: str | None) -> str:
    if address in (None, "auto", "local"):
        return f"There is no Ray cluster at {address!r} ({first_line(error)}). {_START}"
    return (
        f"Something listens at {address}, but Ray gets no connection ({first_line(error)}). Is it the head's port? A cluster "
        "that wants a token, as 'ray start' does where it finds ~/.ray/auth_token, takes RAY_AUTH_MODE=token and that file here."
    )


def _worded_start(error: Exception, address: str | None) -> str:
    text = str(error)
    if "ersion mismatch" in text:
        lines = " ".join(text.split())
        return f"The cluster at {address} has other versions than this machine: {lines[:300]} Install the same ones."
    return f"Ray did not start ({first_line(error)}). {_START if address else 'See /tmp/ray/session_latest/logs.'}"


def first_line(error: BaseException) -> str:
    """Give the first line of an error's text, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
