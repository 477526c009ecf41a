"""HTTP/1 messages out of the bytes of one direction, read as they come; pure.

Only heads are kept. Bodies are counted and passed over by Content-Length or chunks (RFC 9112, 6.3),
whatever their size and also where parts of them were not captured. Where the reader has lost its
place it goes on at the next segment that begins with a message, as Wireshark does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

_HEAD_BYTES: Final = 64 * 1024
_HEADERS: Final = 200
REQUEST: Final = re.compile(rb"([A-Z][A-Z_-]{1,31}) ([^\r\n]+) HTTP/(1\.[0-9])[ \t]*")
STATUS: Final = re.compile(rb"HTTP/(1\.[0-9]) ([1-5][0-9]{2})(?:[ \t](.{0,200}).*)?")
#: How a message may begin; tells soon that something else does.
_REQUEST_BEGINS: Final = re.compile(rb"[A-Z][A-Z_-]{1,31} [^\r\n ]")
_STATUS_BEGINS: Final = re.compile(rb"HTTP/1\.[0-9] [1-5]")
_BEGINNING: Final = 34
_END: Final = re.compile(rb"\r?\n\r?\n")
_TRAILER_END: Final = re.compile(rb"\n\r?\n")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[^\n]{0,1000}\n")
_CHUNK_LINE: Final = 1_024

Mode = Literal["head", "body", "chunk", "chunk_body", "trailer", "rest", "lost", "over"]


@dataclass(slots=True)
class Message:
    """One head, when it came, and how much of a body followed."""

    line: bytes
    headers: dict[bytes, bytes]
    begun: float
    #: When its last byte so far came.
    ended: float
    #: Bytes of the body that were sent; less than stated where the end is missing.
    body: int = 0
    complete: bool = False


@dataclass(slots=True)
class Reader:
    """Reads one direction; `found` is called with each head, before its body comes."""

    first: re.Pattern[bytes]
    #: Told of a head; says whether no body follows, or that another protocol does.
    found: Callable[[Message], Literal["body", "no_body", "over"]]
    mode: Mode = "head"
    #: Something else than a message began, at least once.
    strange: bool = False
    #: Messages so far.
    told: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _begun: float = 0.0
    _left: int = 0
    #: So far no end of a head or trailer is in the buffer.
    _searched: int = 0
    _message: Message | None = None

    def take(self, data: bytes, time: float) -> None:
        """The next bytes of the direction."""
        if self.mode == "over" or not data:
            return
        if self.mode == "lost":
            if not self._begins(data):
                return
            self.mode = "head"
        if not self._buffer:
            self._begun = time
        self._buffer += data
        while self._buffer and self._step(time):
            self._begun = time

    def gap(self, missing: int) -> None:
        """So many bytes were not captured."""
        if (self.mode in ("body", "chunk_body") and missing <= self._left) or self.mode == "rest":
            self._passed(missing)
        elif self.mode != "over":
            self.end()
            self.mode = "lost"

    def end(self) -> None:
        """Nothing follows what is there: a head that was cut off is told as far as it goes."""
        if self.mode == "head" and (line := self._buffer.find(b"\n")) >= 0:
            if self.first.fullmatch(self._buffer[:line].rstrip(b"\r")):
                self._head(bytes(self._buffer), self._begun)
            self.mode = "lost"
        elif self.mode == "head" and self._buffer and not self._begins(self._buffer):
            self.strange = True
        self._clear()

    def closed(self) -> None:
        """The connection ends: so does a body that goes to its end."""
        if self.mode == "rest" and self._message is not None:
            self._message.complete = True

    @property
    def _known_beginning(self) -> re.Pattern[bytes]:
        return _REQUEST_BEGINS if self.first is REQUEST else _STATUS_BEGINS

    def _begins(self, data: bytes | bytearray) -> bool:
        return self._known_beginning.match(data) is not None

    def _step(self, time: float) -> bool:
        """Read one part of a message; False where more bytes are needed."""
        if self.mode == "head":
            return self._read_head(time)
        if self.mode in ("body", "chunk_body", "rest"):
            size = len(self._buffer) if self.mode == "rest" else min(self._left, len(self._buffer))
            del self._buffer[:size]
            self._passed(size, time)
            return True
        if self.mode == "chunk":
            return self._read_chunk(time)
        if self.mode == "trailer":
            return self._read_trailer(time)
        self._clear()
        return False

    def _ends(self, ending: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """The end of a head or trailer, looked for only where it was not before."""
        found = ending.search(self._buffer, max(0, self._searched - 3))
        self._searched = 0 if found else len(self._buffer)
        return found

    def _clear(self) -> None:
        self._buffer.clear()
        self._searched = 0

    def _read_head(self, time: float) -> bool:
        blank = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
        if blank:
            del self._buffer[:blank]  # An empty line before a request is no part of it.
            return True
        ends = self._ends(_END)
        if ends is None:
            enough = len(self._buffer) >= _BEGINNING or b"\n" in self._buffer
            if len(self._buffer) > _HEAD_BYTES or (enough and not self._begins(self._buffer)):
                return self._get_lost()
            return False
        head = bytes(self._buffer[: ends.start()])
        if not self.first.fullmatch(head.split(b"\n", 1)[0].rstrip(b"\r")):
            return self._get_lost()
        del self._buffer[: ends.end()]
        self._head(head, time)
        return True

    def _get_lost(self) -> bool:
        self.strange = True
        self.mode = "lost"
        self._clear()
        return False

    def _head(self, head: bytes, time: float) -> None:
        line, _, rest = head.partition(b"\n")
        message = Message(line.rstrip(b"\r"), _headers(rest), self._begun, time)
        self._message = message
        self.told += 1
        follows = self.found(message)
        if follows == "over":
            message.complete, self.mode = True, "over"
            return
        stated = message.headers.get(b"content-length", b"")
        if follows == "no_body":
            self._finish()
        elif b"chunked" in message.headers.get(b"transfer-encoding", b"").lower():
            self.mode = "chunk"
        elif stated.isdigit() and len(stated) < 16:
            self.mode, self._left = "body", int(stated)
            self._passed(0)
        elif self.first is STATUS:
            self.mode = "rest"  # Up to the end of the connection.
        else:
            self._finish()

    def _passed(self, size: int, time: float | None = None) -> None:
        """So many bytes of the body are there, or are known to have been sent."""
        if self._message is not None:
            self._message.body += size
            self._message.ended = time if time is not None else self._message.ended
        if self.mode == "rest":
            return
        self._left -= size
        if self._left == 0:
            if self.mode == "body":
                self._finish()
            else:
                self.mode = "chunk"

    def _read_chunk(self, time: float) -> bool:
        # The end of the line of the chunk before.
        start = 2 if self._buffer.startswith(b"\r\n") else 0
        line = _CHUNK.match(self._buffer, start)
        if line is None:
            if b"\n" in self._buffer[start:] or len(self._buffer) > _CHUNK_LINE:
                return self._get_lost()
            return False
        self._left = int(line[1], 16)
        # Of the last chunk the end of its line stays, since a trailer may be empty.
        self.mode = "chunk_body" if self._left else "trailer"
        del self._buffer[: line.end() if self._left else line.end() - 1]
        return True

    def _read_trailer(self, time: float) -> bool:
        ends = self._ends(_TRAILER_END)
        if ends is None:
            if len(self._buffer) > _HEAD_BYTES:
                return self._get_lost()
            return False
        del self._buffer[: ends.end()]
        if self._message is not None:
            self._message.ended = time
        self._finish()
        return True

    def _finish(self) -> None:
        if self._message is not None:
            self._message.complete = True
        self._message, self.mode = None, "head"


def _headers(text: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for line in text.split(b"\n")[:_HEADERS]:
        name, separator, value = line.partition(b":")
        if separator:
            found.setdefault(name.strip().lower(), value.strip())
    return found
