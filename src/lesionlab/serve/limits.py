"""How much clients can ask of a service, and its settings in the environment; light, because `lesionlab --help` shows both."""

import os
from typing import NamedTuple

_AROUND = 1_000_000  # bytes of a request around its image


class Limits(NamedTuple):
    """Bounds on what one client, and all together, can ask for.

    Attributes:
        files: images in one request.
        file_bytes: of one image; phones' photographs stay below 20 MB.
        body_bytes: of one request.
        bodies_bytes: of all requests that are under way: memory stays bounded however many clients send at once.
        waiting: images that wait for the network; beyond it requests get 503 and the time to come again.
        header_seconds: for a client to send its request's head.
        body_seconds: for a client to send its request's body.

    """

    files: int = 32
    file_bytes: int = 20_000_000
    body_bytes: int = 64_000_000
    bodies_bytes: int = 128_000_000
    waiting: int = 64
    header_seconds: float = 10.0
    body_seconds: float = 30.0


def limits_for(file_bytes: int, limits: Limits) -> Limits:
    """Allow images of a size: a request holds at least one such, and two such requests may be under way."""
    one = file_bytes + _AROUND
    body, bodies = max(limits.body_bytes, one), max(limits.bodies_bytes, 2 * one)
    return limits._replace(file_bytes=file_bytes, body_bytes=body, bodies_bytes=bodies)


def environment(name: str) -> str:
    """Read a setting from the environment: LESIONLAB_HOST, LESIONLAB_PORT and so on; an empty one counts as none."""
    return os.environ.get(f"LESIONLAB_{name}", "")
