"""Reading pcapng: blocks of sections, each with interfaces of their own link type and clock.

Source: draft-ietf-opsawg-pcapng (3.1 blocks, 4.1 section header, 4.2 interface, 4.3 enhanced,
4.4 simple, appendix A the obsolete packet block). What is no packet is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from drivers.analysis.records import MAX_RECORD, NotACapture, Record

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE: Final = 3
_ENHANCED: Final = 6
#: A block that is read is a packet with its options, or the description of an interface.
_MAX_BLOCK: Final = MAX_RECORD + 65_536
_MAX_INTERFACES: Final = 4_096
#: The year 10000.
_LAST_SECOND: Final = 253_402_300_800
_RESOLUTION: Final = 9
_OFFSET: Final = 14
_ORDERS: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}


@dataclass(frozen=True, slots=True)
class _Interface:
    linktype: int
    #: Bytes kept of each packet at most; 0 is no limit.
    snap: int
    #: Ticks of its clock in a second, and whole seconds to add.
    ticks: int = 1_000_000
    offset: int = 0

    def seconds(self, high: int, low: int) -> float:
        whole, rest = divmod(high << 32 | low, self.ticks)
        if not 0 <= whole + self.offset < _LAST_SECOND:
            raise NotACapture("the capture states a time that no calendar has")
        return float(whole + self.offset) + rest / self.ticks


def read_blocks(file: BinaryIO) -> Iterator[Record]:
    """The packets of every section; raises NotACapture where a block cannot be."""
    order = "<"
    interfaces: list[_Interface] = []
    while len(head := file.read(8)) == 8:
        if head[:4] == b"\x0a\x0d\x0d\x0a":
            # The byte order of a section is known only from its own first field.
            magic = file.read(4)
            if len(magic) < 4:
                return
            if magic not in _ORDERS:
                raise NotACapture("the capture has a pcapng section without a byte order")
            order, interfaces = _ORDERS[magic], []
            length = int(struct.unpack(f"{order}I", head[4:])[0])
            _pass_over(file, length, 12)
            continue
        kind, length = struct.unpack(f"{order}II", head)
        if kind not in (_INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED):
            _pass_over(file, length, 8)
            continue
        if length < 12 or length > _MAX_BLOCK:
            raise NotACapture("the capture states a pcapng block that cannot be so long")
        body = file.read(length - 8)
        if len(body) < length - 8:
            return
        if kind != _INTERFACE:
            yield _packet(kind, body[:-4], order, interfaces, file.tell())
        elif len(interfaces) < _MAX_INTERFACES:
            interfaces.append(_interface(body[:-4], order))


def _pass_over(file: BinaryIO, length: int, done: int) -> None:
    if length < 12:
        raise NotACapture("the capture states a pcapng block that cannot be so short")
    # Beyond the end of the file nothing more is read: a block that was cut off is the last one.
    file.seek(length - done, 1)


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise NotACapture("the capture describes an interface in too few bytes")
    linktype, _, snap = struct.unpack_from(f"{order}HHI", body)
    ticks, offset, position = 1_000_000, 0, 8
    while position + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}HH", body, position)
        value = body[position + 4 : position + 4 + size]
        if code == 0 or len(value) < size:
            break
        if code == _RESOLUTION and size == 1:
            # The first bit says whether the rest is a power of two or of ten.
            power = value[0] & 0x7F
            ticks = 2 ** min(power, 64) if value[0] & 0x80 else 10 ** min(power, 19)
        elif code == _OFFSET and size == 8:
            offset = int(struct.unpack(f"{order}q", value)[0])
        position += 4 + size + -size % 4
    return _Interface(linktype, snap, ticks, offset)


def _packet(kind: int, body: bytes, order: str, interfaces: list[_Interface], end: int) -> Record:
    size = {_SIMPLE: 4, _OLD_PACKET: 20, _ENHANCED: 20}[kind]
    if len(body) < size:
        raise NotACapture("the capture has a packet block without its fields")
    number = high = low = 0
    if kind == _SIMPLE:
        (wire,) = struct.unpack_from(f"{order}I", body)
        kept = min(wire, len(body) - size)
        if interfaces and interfaces[0].snap:
            kept = min(kept, interfaces[0].snap)
    elif kind == _OLD_PACKET:
        number, _, high, low, kept, wire = struct.unpack_from(f"{order}HHIIII", body)
    else:
        number, high, low, kept, wire = struct.unpack_from(f"{order}IIIII", body)
    if number >= len(interfaces):
        raise NotACapture("the capture has a packet of an interface that it does not describe")
    if kept > len(body) - size:
        raise NotACapture("the capture has a packet that is longer than its block")
    own = interfaces[number]
    time = 0.0 if kind == _SIMPLE else own.seconds(high, low)
    return Record(time, body[size : size + kept], max(wire, kept), own.linktype, end)
