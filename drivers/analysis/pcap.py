"""Reading capture files: classic pcap of both byte orders and resolutions, and pcapng.

Sources: pcap file format (draft-ietf-opsawg-pcap), pcapng (draft-ietf-opsawg-pcapng). The classic
reader is our own because it must report the length on the wire, stop at a record that was cut off,
and check every length that the file states.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import dpkt

#: A record is never longer than this; libpcap's own limit.
MAX_RECORD: Final = 262_144
_HEADER_BYTES: Final = 24
_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
#: Magic number as read → byte order, and how many parts of a second its fraction counts.
_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}


class NotACapture(Exception):
    """The file is no capture that can be read; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: seconds since 1970, what was kept of the frame, its length on the wire."""

    time: float
    data: bytes
    wire_length: int
    #: Where the record ends in the file; 0 where that is not known.
    end: int = 0


@dataclass(frozen=True, slots=True)
class Capture:
    """An opened capture file; `linktype` is a LINKTYPE_ number of tcpdump.org."""

    linktype: int
    records: Iterator[Record]


def open_capture(file: BinaryIO) -> Capture:
    """The records of a file, read on demand; raises NotACapture, also while reading.

    A record that is cut off at the end of the file is left out.
    """
    header = file.read(_HEADER_BYTES)
    if header[:4] in _MAGIC and len(header) == _HEADER_BYTES:
        order, parts = _MAGIC[header[:4]]
        linktype = struct.unpack(f"{order}I", header[20:24])[0] & 0xFFFF
        return Capture(linktype, _records(file, order, parts))
    if header[:4] == _PCAPNG:
        file.seek(0)
        try:
            reader = dpkt.pcapng.Reader(file)
        except (dpkt.Error, ValueError, struct.error) as error:
            raise NotACapture(f"the file is no pcapng capture: {error}"[:200]) from None
        return Capture(reader.datalink(), _pcapng_records(reader))
    raise NotACapture("the file is neither a pcap nor a pcapng capture")


def _records(file: BinaryIO, order: str, parts: int) -> Iterator[Record]:
    head = struct.Struct(f"{order}IIII")
    end = _HEADER_BYTES
    while len(raw := file.read(head.size)) == head.size:
        seconds, fraction, kept, wire = head.unpack(raw)
        if kept > MAX_RECORD:
            raise NotACapture("the capture states a record longer than any packet")
        data = file.read(kept)
        if len(data) < kept:
            return
        end += head.size + kept
        yield Record(seconds + fraction / parts, data, max(wire, kept), end)


def _pcapng_records(reader: dpkt.pcapng.Reader) -> Iterator[Record]:
    try:
        for time, data in reader:
            yield Record(float(time), data, len(data))
    except (dpkt.Error, ValueError, struct.error):
        # Cut off in the middle of a block: the complete records were yielded.
        return
