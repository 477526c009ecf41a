"""Line dialogues (FTP, SMTP): commands of the client with the replies of the server; pure.

Both protocols answer each command with a line `NNN text`, or several of which only the last has a
space after its number (RFC 959, 4.2; RFC 5321, 4.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Final

from drivers.analysis.connections import Connection
from drivers.analysis.direction import Direction
from drivers.analysis.findings import readable

_LINE_BYTES: Final = 4_096
_LINES: Final = 10_000
_REPLY: Final = re.compile(r"([1-5][0-9]{2})([ -]?)(.*)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a dialogue."""

    time: float
    by_client: bool
    text: str
    #: Where the line begins in its direction.
    offset: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its number, its first line's text and all of them."""

    code: int
    text: str
    lines: tuple[str, ...]


def lines(one: Connection) -> list[Line]:
    """The lines of both sides by time, at most 10,000 of each."""
    return list(
        merge(
            _side(one.from_client, True, one.start),
            _side(one.from_server, False, one.start),
            key=lambda line: line.time,
        )
    )


def whole(one: Connection) -> bool:
    """Whether `lines` gives every line of both sides."""
    return one.complete and all(
        side.data.count(b"\n") <= _LINES for side in (one.from_client, one.from_server)
    )


def _side(side: Direction, by_client: bool, start: float) -> Iterator[Line]:
    position = 0
    data = bytes(side.data)
    latest = start
    for _ in range(_LINES):
        end = data.find(b"\n", position)
        if end < 0:
            return
        raw = data[position:end].rstrip(b"\r")
        # A reply is put after everything before it: times never decrease.
        latest = max(latest, side.time_at(end) or start)
        yield Line(latest, by_client, readable(raw, _LINE_BYTES), position)
        position = end + 1


class Replies:
    """Joins the server's lines to replies."""

    def __init__(self) -> None:
        """No reply has begun."""
        self._code: str | None = None
        self._lines: list[str] = []

    def take(self, text: str) -> Reply | None:
        """The reply that this line ends, if it ends one."""
        found = _REPLY.fullmatch(text)
        if self._code is None:
            if found is None:
                return None
            self._code, self._lines = found[1], [found[3]]
            if found[2] == "-":
                return None
        else:
            inner = found is not None and found[1] == self._code
            self._lines.append(found[3] if found is not None and inner else text)
            if not inner or (found is not None and found[2] == "-"):
                return None
        reply = Reply(int(self._code), self._lines[0], tuple(self._lines))
        self._code = None
        return reply
