"""The lines of both sides of a mail session, as they come; pure.

The text of a message is counted and not kept, so that a session is read whatever it carries
(RFC 5321, 4.1.1.4: after the reply 354 to DATA, up to a line with a dot alone).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from drivers.analysis.connections import Connection
from drivers.analysis.dialogue import Line
from drivers.analysis.findings import readable

_LINE_BYTES: Final = 4_096
#: Of the lines of one session together.
_KEPT_BYTES: Final = 256 * 1024


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

    def take(self, data: bytes, time: float) -> None:
        """The next bytes; every whole line is read."""
        position = 0
        while not self.transcript.lost and (end := data.find(b"\n", position)) >= 0:
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
        if not self.in_text:
            self.transcript.lost = True
            return
        self._leave_out()
        self._offset += missing

    def begin_text(self) -> None:
        """The server takes the text of a message now."""
        self.in_text, self.wants_text = True, False
        self.transcript.texts.append(self._offset)

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
            self.wants_text = text.strip().upper() == "DATA"
        elif self._listener is not None and self._listener.wants_text and text[:4].strip() == "354":
            self._listener.begin_text()


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
