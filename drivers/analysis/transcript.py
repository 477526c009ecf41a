"""The lines of both sides of a mail session, as they come; pure.

The text of a message is counted and not kept, so that a session is read whatever it carries
(RFC 5321, 4.1.1.4: after the reply 354 to DATA, up to a line with a dot alone; RFC 3030: as many
bytes after a line BDAT as it says, where the server has not said that it knows no CHUNKING).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from drivers.analysis.connections import Connection
from drivers.analysis.dialogue import Line
from drivers.analysis.findings import readable

_LINE_BYTES: Final = 4_096
#: Of the lines of one session together.
_KEPT_BYTES: Final = 256 * 1024
_CHUNK: Final = re.compile(r"BDAT +([0-9]{1,18})( +LAST)? *", re.IGNORECASE)
_CHUNKING: Final = re.compile(r"250[ -]CHUNKING *", re.IGNORECASE)


def chunk_of(command: str) -> tuple[int, bool] | None:
    """The bytes that follow a line BDAT, and whether they are the last; None for another line."""
    found = _CHUNK.fullmatch(command)
    return None if found is None else (int(found[1]), found[2] is not None)


@dataclass(slots=True)
class Transcript:
    """What both sides said, in the order in which it was captured."""

    lines: list[Line] = field(default_factory=list)
    #: Where the text of each message begins in what the client sent.
    texts: list[int] = field(default_factory=list)
    #: Something could not be read, and what follows is not told.
    lost: bool = False
    _kept: int = 0

    def add(self, line: Line) -> None:
        """Keep a line, as long as there is room."""
        self._kept += len(line.text) + 1
        if self._kept > _KEPT_BYTES:
            self.lost = True
        if not self.lost:
            self.lines.append(line)


class Speaker:
    """One side of a session; a follower of its direction."""

    def __init__(self, transcript: Transcript, listener: Speaker | None = None) -> None:
        """`listener` is the client, where this is the server."""
        self.transcript = transcript
        self._listener = listener
        self._rest = bytearray()
        self._offset = 0
        #: Of the line that is being read a part was left out already.
        self._cut = False
        self.in_text = False
        self.wants_text = False
        #: The server takes chunks, as far as is known, and so much of one is still to come.
        self.chunks = True
        self._chunk = 0

    def take(self, data: bytes, time: float) -> None:
        """The next bytes; every whole line is read."""
        position = 0
        while not self.transcript.lost and position < len(data):
            if self._chunk:
                position += self._skip(len(data) - position)
                continue
            end = data.find(b"\n", position)
            if end < 0:
                break
            self._rest += data[position : end + 1]
            self._line(time)
            position = end + 1
        self._rest += data[position:]
        if len(self._rest) > _LINE_BYTES and self.in_text:
            self._leave_out()
        elif len(self._rest) > 2 * _LINE_BYTES:
            self.transcript.lost = True
        if self.transcript.lost:
            self._rest.clear()

    def gap(self, missing: int) -> None:
        """So many bytes were not captured: inside a text they are counted all the same."""
        missing -= self._skip(missing)
        if not missing:
            return
        if not self.in_text:
            self.transcript.lost = True
            return
        self._leave_out()
        self._offset += missing

    def hear(self, text: str) -> None:
        """The server says this: it takes the text of a message now, or takes chunks."""
        if self.wants_text and text[:4].strip() == "354":
            self.in_text, self.wants_text = True, False
            self.transcript.texts.append(self._offset)
        elif _CHUNKING.fullmatch(text):
            self.chunks = True

    def _command(self, text: str) -> None:
        verb = text.strip().upper()
        self.wants_text = verb == "DATA"
        if verb.startswith(("EHLO", "HELO")):
            self.chunks = False  # The reply says whether it does.
        chunk = chunk_of(text)
        if chunk is not None and self.chunks:
            self._chunk = chunk[0]

    def _skip(self, most: int) -> int:
        """Leave out bytes of a chunk; returns how many."""
        skipped = min(self._chunk, most)
        self._chunk -= skipped
        self._offset += skipped
        return skipped

    def _leave_out(self) -> None:
        self._offset += len(self._rest)
        self._rest.clear()
        self._cut = True

    def _line(self, time: float) -> None:
        raw, offset, whole = bytes(self._rest), self._offset, not self._cut
        self._offset += len(raw)
        self._rest.clear()
        self._cut = False
        line = raw.rstrip(b"\r\n")
        if self.in_text:
            if line != b"." or not whole:
                return
            self.in_text = False
        by_client = self._listener is None
        text = readable(line, _LINE_BYTES)
        self.transcript.add(Line(time, by_client, text, offset))
        if by_client:
            self._command(text)
        elif self._listener is not None:
            self._listener.hear(text)


def follow(connection: Connection) -> None:
    """Put readers of lines into both directions of a new connection."""
    transcript = Transcript()
    client = Speaker(transcript)
    connection.from_client.follower = client
    connection.from_server.follower = Speaker(transcript, client)


def transcript_of(connection: Connection) -> Transcript:
    """What was read of a connection that was followed."""
    follower = connection.from_client.follower
    return follower.transcript if isinstance(follower, Speaker) else Transcript()
