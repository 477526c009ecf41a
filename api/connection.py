"""Connections: a request line and headers that do not come are not waited for without end."""

from __future__ import annotations

import asyncio
from typing import Final

import h11

from api.live.connection import StreamConnection

#: How long the head of a request may take, in seconds.
HEAD_SECONDS: Final = 10.0
#: Bytes of it; beyond them the answer is 400.
MAX_HEAD_BYTES: Final = 32 * 1024


class Connection(StreamConnection):
    """One connection; closed where it is open, or has begun a request, and no head comes."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time of the first request begins."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head that is not whole keeps its time; the time of the next begins with its bytes."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._head is None:
            self._wait()

    def _wait(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _too_slow(self) -> None:
        self._head = None
        if not self.transport.is_closing():
            self.transport.close()
