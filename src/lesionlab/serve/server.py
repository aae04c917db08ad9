"""`lesionlab serve`: the application on a socket, with a deadline for every request's head."""

import asyncio
import logging
import warnings
from collections.abc import Callable
from typing import Any

from lesionlab.errors import LesionlabError, UsageError, why_missing
from lesionlab.serve.settings import Settings

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_MOST_CONNECTIONS = 1_000
_GOODBYE_SECONDS = 30


def serve(settings: Settings, *, tell: Callable[[str, int], None]) -> None:
    """Serve until SIGINT or SIGTERM; requests that have begun are answered first.

    Args:
        settings: of the service.
        tell: gets address and port once they are listened on.

    Raises:
        UsageError: the extra is not installed, or the model, the folder or the address cannot be used.

    """
    refuse_without_extra()
    import uvicorn

    from lesionlab.serve.app import make_app

    warnings.filterwarnings("ignore", module="PIL")  # what is odd about an upload is told its sender
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    config = uvicorn.Config(
        make_app(settings),
        host=settings.host,
        port=settings.port,
        http=_protocol(settings.limits.header_seconds),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )
    server = _server(config, tell)
    try:
        server.run()
    except SystemExit as error:  # what uvicorn does when it cannot bind
        raise LesionlabError(
            f"{settings.host}:{settings.port} cannot be listened on. Choose another --port, or --host."
        ) from error


def refuse_without_extra() -> None:
    """Raise a UsageError where what the service is made of is not installed."""
    try:
        import uvicorn  # noqa: F401

        import lesionlab.serve.app  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{why_missing('The service', str(error.name), 'serve')}.") from error


def _server(config: Any, tell: Callable[[str, int], None]) -> Any:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[Any] | None = None) -> None:
            await super().startup(sockets)
            if self.servers:
                tell(*self.servers[0].sockets[0].getsockname()[:2])

    return Server(config)


def _protocol(header_seconds: float) -> Any:
    """HTTP with a deadline for the head of a request, the first and each later one on a connection: uvicorn has none."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._deadline:
                self._deadline.cancel()
            super().connection_lost(exc)

        def _watch(self) -> None:
            is_answering = self.cycle is not None and not self.cycle.response_complete
            if is_answering and self._deadline:
                self._deadline.cancel()
                self._deadline = None
            elif not is_answering and self._deadline is None:
                self._deadline = self.loop.call_later(header_seconds, self._give_up)

        def _give_up(self) -> None:
            self._deadline = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(_TOO_SLOW)
                self.transport.close()

    return Protocol
