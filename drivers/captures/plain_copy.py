"""A capture file as one that every program reads: classic pcap, one link type, no part of a record.

libpcap's programs refuse pcapng with several kinds of interfaces, or end at a record that was cut
off; ngrep does not even say so, and finds nothing.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from drivers.analysis.pcap import read_records
from drivers.analysis.records import MAX_RECORD, NotACapture

_MAGIC: Final = 0xA1B23C4D
_NANOSECONDS: Final = 1_000_000_000
_LAST_SECOND: Final = 1 << 32


def copy_plainly(path: Path, target: Path) -> None:
    """Write the packets of `path` to a new file; raises NotACapture or OSError. Blocking."""
    linktype: int | None = None
    with path.open("rb") as file, target.open("xb") as out:
        target.chmod(0o600)
        for record in read_records(file):
            if linktype is None:
                linktype = record.linktype
                head = (_MAGIC, 2, 4, 0, 0, MAX_RECORD, linktype)
                out.write(struct.pack("<IHHiIII", *head))
            elif linktype != record.linktype:
                raise NotACapture("the capture has packets of several link types")
            whole = int(record.time)
            if whole >= _LAST_SECOND:
                raise NotACapture("the capture states a time that its copy cannot hold")
            rest = min(_NANOSECONDS - 1, round((record.time - whole) * _NANOSECONDS))
            out.write(struct.pack("<IIII", whole, rest, len(record.data), record.wire_length))
            out.write(record.data)
        if linktype is None:
            out.write(struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, MAX_RECORD, 1))
