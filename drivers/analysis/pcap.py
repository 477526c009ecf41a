"""Reading capture files: classic pcap of both byte orders and resolutions, and pcapng.

Sources: pcap file format (draft-ietf-opsawg-pcap), pcapng (draft-ietf-opsawg-pcapng). The readers
are our own because they must report the length on the wire, stop at a record that was cut off,
and check every length that the file states.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from drivers.analysis.pcapng import read_blocks
from drivers.analysis.records import MAX_RECORD, NotACapture, Record

HEADER_BYTES: Final = 24
_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
#: Magic number as read → byte order, and how many parts of a second its fraction counts.
_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}


def read_records(file: BinaryIO) -> Iterator[Record]:
    """The records of a file, read on demand; raises NotACapture, also while reading.

    A record that is cut off at the end of the file is left out.
    """
    header = file.read(HEADER_BYTES)
    if header[:4] in _MAGIC and len(header) == HEADER_BYTES:
        order, parts = _MAGIC[header[:4]]
        linktype = struct.unpack(f"{order}I", header[20:24])[0] & 0xFFFF
        return _records(file, order, parts, linktype)
    if header[:4] == _PCAPNG:
        file.seek(0)
        return read_blocks(file)
    raise NotACapture("the file is neither a pcap nor a pcapng capture")


def _records(file: BinaryIO, order: str, parts: int, linktype: int) -> Iterator[Record]:
    head = struct.Struct(f"{order}IIII")
    end = HEADER_BYTES
    while len(raw := file.read(head.size)) == head.size:
        seconds, fraction, kept, wire = head.unpack(raw)
        if kept > MAX_RECORD:
            raise NotACapture("the capture states a record longer than any packet")
        data = file.read(kept)
        if len(data) < kept:
            return
        end += head.size + kept
        yield Record(seconds + fraction / parts, data, max(wire, kept), linktype, end)
