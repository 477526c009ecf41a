"""The records of a capture file, whatever its format; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: A record is never longer than this; libpcap's own limit.
MAX_RECORD: Final = 262_144


class NotACapture(Exception):
    """The file is no capture that can be read; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: seconds since 1970, what was kept of the frame, its length on the wire."""

    time: float
    data: bytes
    wire_length: int
    #: A LINKTYPE_ number of tcpdump.org: what the frame begins with; 1 is Ethernet.
    linktype: int = 1
    #: Where the record ends in the file; 0 where that is not known.
    end: int = 0
