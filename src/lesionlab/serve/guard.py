"""The gate in front of the service: who may ask, how much, and how slowly; refusals are made before anything is decoded.

An ASGI server gives a body no deadline, and a framework's limits on forms do not cover files; both are set here. A body is
taken whole, counted as it comes, whatever its Content-Length says, and handed on as one piece.
"""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from lesionlab.serve.settings import ANY_HOST, Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
RETRY_SECONDS = 1
_PROTECTED = ("/v1", "/metrics", "/openapi.json")  # by the token; the page and its files hold no secret
_PROBES = ("/healthz", "/readyz")  # asked by address, by what knows no name; they tell nothing
_DRAIN_SECONDS = 2.0


class _Refused(Exception):
    def __init__(self, status: int, code: str, reason: str, **headers: str) -> None:
        self.status, self.code, self.reason = status, code, reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Guard:
    """Wraps an application: checks each request, reads its body within the limits, and marks each answer."""

    def __init__(self, app: App, settings: Settings, count: Callable[[int], None]) -> None:
        """Take the application, and what is told the status of each answer."""
        self.app, self.settings, self._count = app, settings, count
        self._bytes_under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        statuses, taken = list[int](), [0]
        send = _with_headers(send, statuses)
        try:
            self._check(scope)
            body = await self._body(scope, receive, taken)
            if body is not None:
                await self.app(scope, _once(body, receive), send)
        except _Refused as refused:
            await _refuse(send, refused)
            await _drain(receive, self.settings.limits.body_bytes)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except asyncio.CancelledError:  # the service stops, and has waited long enough
            if not statuses:
                await _refuse(send, _Refused(503, "stopping", "The service stops. Ask again elsewhere, or later."))
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._bytes_under_way -= taken[0]
            for status in statuses:
                self._count(status)

    def _check(self, scope: Scope) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not self._is_own(host) and scope["path"] not in _PROBES:
            raise _Refused(
                421, "wrong_host", "This host name is not served here. Start the service with --allow-host NAME."
            )
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            origin = headers.get("origin")
            is_foreign = origin is not None and _place(origin) != host
            if is_foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                raise _Refused(403, "foreign_origin", "Pages of another origin may not use this service.")
        if self.settings.token and scope["path"].startswith(_PROTECTED):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            is_known = hmac.compare_digest(given.strip().encode(), self.settings.token.encode())
            if scheme.lower() != "bearer" or not is_known:
                raise _Refused(401, "no_token", "Send 'Authorization: Bearer TOKEN'.", www_authenticate="Bearer")
        if headers.get("content-encoding", "identity") != "identity":
            raise _Refused(415, "encoded_body", "Send the body as it is, without Content-Encoding.")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self.settings.limits.body_bytes:
            raise self._too_large()

    def _is_own(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        return ANY_HOST in self.settings.hosts or name.lower() in self.settings.hosts

    async def _body(self, scope: Scope, receive: Receive, taken: list[int]) -> bytes | None:
        """Read the whole body, `taken` bytes; None where the client has gone."""
        limits = self.settings.limits
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    piece = message.get("body", b"")
                    taken[0] += len(piece)
                    self._bytes_under_way += len(piece)
                    if taken[0] > limits.body_bytes:
                        raise self._too_large()
                    if self._bytes_under_way > limits.bodies_bytes:
                        raise _Refused(
                            503, "busy", "Too much is being sent at once. Come again.", retry_after=str(RETRY_SECONDS)
                        )
                    pieces.append(piece)
                    if not message.get("more_body"):
                        return b"".join(pieces)
        except TimeoutError:
            raise _Refused(
                408, "too_slow", f"The request did not arrive whole within {limits.body_seconds:g} s."
            ) from None

    def _too_large(self) -> _Refused:
        limit = self.settings.limits.body_bytes / 1e6
        return _Refused(413, "too_large", f"A request may have {limit:g} MB at most. Send fewer images at a time.")


def error_body(code: str, reason: str) -> dict[str, dict[str, str]]:
    """Word a refusal, as every error of the service is worded."""
    return {"error": {"code": code, "reason": reason}}


def _place(origin: str) -> str | None:
    """Host and port of an origin; None where it is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _with_headers(send: Send, statuses: list[int]) -> Send:
    """Mark an answer with `HEADERS`, and keep its status."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            given = {name for name, _ in message.get("headers", [])}
            added = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in given]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return wrapped


def _once(body: bytes, receive: Receive) -> Receive:
    """Give the body as one message, then whatever comes: a disconnect."""
    left = [body]

    async def replay() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replay


async def _refuse(send: Send, refused: _Refused) -> None:
    body = json.dumps(error_body(refused.code, refused.reason)).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
    } | refused.headers
    listed = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": listed})
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _drain(receive: Receive, most: int) -> None:
    """Take some more of a refused body: a connection closed over unread data would take the answer with it."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while most > 0:
                message = await receive()
                most -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return
