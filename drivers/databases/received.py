"""How much a database may answer: libpq keeps a whole row, and a whole result that is not streamed.

A row can be a gigabyte, by a hostile server or by `repeat('x', 1000000000)`; so can all rows of a
result together. The bytes are counted by the kernel, and beyond the limit the connection is shut
down, which libpq takes as its end.

Source: `struct tcp_info` of linux/tcp.h, since Linux 4.1. A connection over a Unix socket, which
only the operator's own address can name, has no such count.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

#: Of the answers to one step, beyond what is streamed and dropped while a statement is cancelled.
MOST_BYTES: Final = 64 * 1024 * 1024
_LOOK_SECONDS: Final = 0.05
#: tcpi_bytes_received, and the bytes up to its end.
_RECEIVED: Final = struct.Struct("=128xQ")


@dataclass(slots=True)
class Answers:
    """Of one connection."""

    #: The connection was shut down for their size.
    too_large: bool = False


@asynccontextmanager
async def bounded(descriptor: int) -> AsyncIterator[Answers]:
    """Watch the socket of a connection while the block runs; it is closed by its owner."""
    answers = Answers()
    with socket.socket(fileno=os.dup(descriptor)) as watched:
        task = asyncio.create_task(_watch(watched, answers))
        try:
            yield answers
        finally:
            task.cancel()
            await asyncio.wait({task})


async def _watch(watched: socket.socket, answers: Answers) -> None:
    begun = _bytes_of(watched)
    while begun is not None:
        await asyncio.sleep(_LOOK_SECONDS)
        now = _bytes_of(watched)
        if now is None or now - begun > MOST_BYTES:
            answers.too_large = now is not None
            with suppress(OSError):
                watched.shutdown(socket.SHUT_RDWR)
            return


def _bytes_of(watched: socket.socket) -> int | None:
    """How many bytes were received; None where that is not counted."""
    try:
        found = watched.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.size)
    except (AttributeError, OSError):
        return None
    if len(found) < _RECEIVED.size:
        return None
    count: int = _RECEIVED.unpack(found)[0]
    return count
