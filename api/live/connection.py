"""Connection: what a stream needs of its connection and ASGI does not offer.

A closed connection first sends what waits, and a reader that takes nothing keeps it, its memory
and its descriptor without end. So a stream can abort its connection, bound what the kernel keeps,
and hears that the server stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Of one stream in the kernel; the kernel doubles it.
SEND_BUFFER_BYTES: Final = 64 * 1024
#: How long the last bytes of a stream may take after its end.
LINGER_SECONDS: Final = 5.0
_STATE: Final = "connection"


class StreamConnection(H11Protocol):
    """One connection of the server; the requests on it find it by `find`."""

    _on_shutdown: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Requests have it in their state."""
        self.app_state = {**self.app_state, _STATE: self}
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It does not hold itself any more."""
        self.app_state.pop(_STATE, None)
        self._on_shutdown = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops, and waits for the requests that it has."""
        if self._on_shutdown is not None:
            self._on_shutdown()
        super().shutdown()

    def carry_stream(self, on_shutdown: Callable[[], None]) -> None:
        """It is for one stream from now on."""
        self._on_shutdown = on_shutdown
        found = self.transport.get_extra_info("socket")
        if found is not None and hasattr(found, "setsockopt"):
            # A reader that has left already has no socket any more; the stream ends by itself.
            with contextlib.suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def end_soon(self) -> None:
        """Nothing more is written; what waits has a short time."""
        self.loop.call_later(LINGER_SECONDS, self.abort)

    def abort(self) -> None:
        """Close it, and drop what waits."""
        if self.transport is not None:
            self.transport.abort()


def find(scope: Any) -> StreamConnection | None:
    """The connection of a request; None where another server carries it."""
    found = scope.get("state", {}).get(_STATE)
    return found if isinstance(found, StreamConnection) else None
