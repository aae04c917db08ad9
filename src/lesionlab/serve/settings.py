"""What a service allows: addresses, tokens and limits, put together and checked."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lesionlab.errors import UsageError
from lesionlab.serve.limits import Limits

if TYPE_CHECKING:
    from lesionlab.serve.examples import Example

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
ANY_HOST = "*"


@dataclass(frozen=True)
class Settings:
    """One service.

    Attributes:
        host: address to listen on.
        port: 0 for any that is free.
        token: that every call of the API must carry; "" for none.
        hosts: values of the Host header that are answered; `*` for any.
        model: as for `lesionlab.load_model`.
        reference: labelled folder that the nearest cases come from; None for none.
        examples: generated lesions that the page shows to be clicked.

    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    hosts: tuple[str, ...] = LOOPBACK_NAMES
    model: str | None = None
    reference: Path | None = None
    limits: Limits = Limits()
    examples: "tuple[Example, ...]" = ()


def make_settings(
    *,
    host: str,
    port: int,
    token: str = "",
    allow_hosts: tuple[str, ...] = (),
    insecure_no_token: bool = False,
    model: str | None = None,
    reference: Path | None = None,
    limits: Limits | None = None,
    examples: "tuple[Example, ...]" = (),
) -> Settings:
    """Put settings together.

    Beyond the loopback a token is needed, or the word that none is wanted. A browser that was led to this address by a foreign
    name (DNS rebinding) is known by its Host header; with a token any name may be used, because no foreign page knows it.

    Raises:
        UsageError: an address beyond the loopback without a token, or a token too short to keep.

    """
    is_local = _is_loopback(host)
    if not is_local and not token and not insecure_no_token:
        raise UsageError(
            f"{host} can be reached from other machines: give --token (or LESIONLAB_TOKEN), which every client must then send. "
            "Without one only with --insecure-no-token."
        )
    if token and len(token) < 16:
        raise UsageError(
            'A token needs 16 characters or more: python -c "import secrets; print(secrets.token_urlsafe())"'
        )
    own = f"[{host}]" if ":" in host and not host.startswith("[") else host
    hosts = tuple(name.lower() for name in (*LOOPBACK_NAMES, own, *allow_hosts))
    if token and not is_local and not allow_hosts:
        hosts = (*hosts, ANY_HOST)
    return Settings(host, port, token, hosts, model, reference, limits or Limits(), examples)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
