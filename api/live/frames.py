"""Frames: the lines of `text/event-stream`; pure.

Source: HTML Living Standard, section 9.2 (server-sent events).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

#: After which time a browser connects again, in milliseconds.
RETRY: Final = b"retry: 2000\n\n"
#: What is handed to a connection at once: one frame, or several up to so many bytes.
BLOCK_BYTES: Final = 64 * 1024


def record(ident: bytes, value: bytes) -> bytes:
    """A record of a topic, whose place is `ident`; the value is JSON in one line."""
    return b"id: %b\ndata: %b\n\n" % (ident, value)


def named(name: str, value: bytes) -> bytes:
    """Something else than a record: it moves no place."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), value)


def notice(name: str, **said: Any) -> bytes:
    """The same from its fields."""
    return named(name, orjson.dumps(said))


def place(ident: bytes) -> bytes:
    """Moves the place of the reader and is no event to it."""
    return b"id: %b\n\n" % ident


def comment(text: str) -> bytes:
    """Says that the connection lives."""
    return b": %b\n\n" % text.encode()


def blocks(frames: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces."""
    waiting: list[bytes] = []
    size = 0
    for frame in frames:
        if waiting and size + len(frame) > BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(frame)
        size += len(frame)
    if waiting:
        yield b"".join(waiting)
