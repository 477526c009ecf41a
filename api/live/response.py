"""Response: a stream of events over HTTP, to a reader that may be slow, gone, or silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.live import connection
from api.live.admission import Lease
from api.live.live import Live

#: How long a reader may take nothing of what waits for it; then its connection is aborted.
STALL_SECONDS: Final = 15.0
_HEADERS: Final = {
    "Cache-Control": "no-store",
    # A proxy that collects the answer would delay it without end.
    "X-Accel-Buffering": "no",
    # What follows a stream on its connection would wait behind it.
    "Connection": "close",
}


class EventStream(Response):
    """Sends blocks as they come, until there are no more, the reader leaves, or it takes none."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, lease: Lease, blocks: AsyncGenerator[bytes, None]) -> None:
        """The lease ends with the stream."""
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._live = live
        self._lease = lease
        self._blocks = blocks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it."""
        carrier = connection.find(scope)
        if carrier is not None:
            carrier.carry_stream(self._live.stop)
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                self._lease.ending = "left"
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._blocks.aclose()
            self._lease.end()
            if carrier is not None:
                carrier.end_soon()
        error = None if sending.cancelled() else sending.exception()
        if error is not None:
            await _give_up(error, carrier)

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await self._hand(send, start)
        async for block in self._blocks:
            body = {"type": "http.response.body", "body": block, "more_body": True}
            await self._hand(send, body)
        await self._hand(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _hand(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await send(message)
                # What the connection has room for is taken without a pause: others have their turn,
                # and that the reader has left is noticed.
                await asyncio.sleep(0)
        except TimeoutError:
            self._lease.ending = self._lease.ending or "stalled"
            raise


async def _give_up(error: BaseException, carrier: connection.StreamConnection | None) -> None:
    """Nothing can be sent any more."""
    if carrier is not None:
        carrier.abort()
        # The connection is lost in the next turn of the loop, and the server asks whether it is.
        await asyncio.sleep(0)
    if not isinstance(error, TimeoutError):
        raise error


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
