"""One captured frame, decoded: addresses, ports, flags and payload; pure.

Decoding never raises: a frame that is damaged, cut off or of an unknown kind is a `Packet` with
what could be read of it. The headers are read here and in `link` and `internet`, and not by dpkt,
because a capture with a snap length ends in the middle of a header: what stands before is read.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Final

from drivers.analysis.fragments import Fragments
from drivers.analysis.internet import Datagram, ipv4, ipv6
from drivers.analysis.link import ARP, IPV4, IPV6, carried
from drivers.analysis.pcap import read_records
from drivers.analysis.records import Record

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

_NAMES: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}


@dataclass(frozen=True, slots=True)
class Segment:
    """The TCP header fields that the analyses use."""

    sequence: int
    acknowledgement: int
    flags: int
    window: int


@dataclass(frozen=True, slots=True)
class Packet:
    """One frame; `length` is bytes on the wire, `time` seconds since 1970."""

    time: float
    length: int
    #: `tcp`, `udp`, `icmp`, `icmp6`, `arp`, another IP protocol's number, or `other`.
    protocol: str
    source: str = ""
    destination: str = ""
    source_port: int = 0
    destination_port: int = 0
    payload: bytes = b""
    #: Bytes of payload on the wire; more than `payload` holds where the capture cut it off.
    payload_length: int = 0
    segment: Segment | None = None
    icmp: tuple[int, int] | None = None
    #: A part of a datagram; the one that completes it has the ports and the whole payload.
    fragment: bool = False


def read_packets(file: BinaryIO, limit: int) -> Iterator[Packet]:
    """At most `limit` packets of a capture file; raises pcap.NotACapture."""
    return decode(islice(read_records(file), limit))


def decode(records: Iterable[Record]) -> Iterator[Packet]:
    """What can be read of each frame; fragments are put together."""
    fragments = Fragments()
    return (_packet(record, fragments) for record in records)


def _packet(record: Record, fragments: Fragments) -> Packet:
    kind, offset = carried(record.linktype, record.data)
    data, on_wire = record.data[offset:], record.wire_length - offset
    if kind == ARP and len(data) >= 28 and data[:6] == b"\x00\x01\x08\x00\x06\x04":
        ends = socket.inet_ntoa(data[14:18]), socket.inet_ntoa(data[24:28])
        return Packet(record.time, record.wire_length, "arp", *ends)
    read = {IPV4: ipv4, IPV6: ipv6}.get(kind)
    datagram = read(data, on_wire) if read is not None else None
    if datagram is None:
        return Packet(record.time, record.wire_length, "other")
    return _transport(record, datagram, fragments.add(datagram, record.time))


def _transport(record: Record, datagram: Datagram, whole: Datagram | None) -> Packet:
    number = datagram.protocol
    name = _NAMES.get(number, str(number))
    common = (record.time, record.wire_length, name, datagram.source, datagram.destination)
    fragment = datagram.part is not None
    data = whole.data if whole is not None else b""
    if whole is not None and number == 6 and len(data) >= 4:
        segment, header = _segment(data)
        size = max(0, whole.length - header) if segment is not None else 0
        payload = data[header : header + size] if segment is not None else b""
        return Packet(*common, *_ports(data), payload, size, segment, fragment=fragment)
    if whole is not None and number == 17 and len(data) >= 4:
        # A length of 0 means a datagram beyond 65,535 bytes (RFC 2675).
        stated = int.from_bytes(data[4:6], "big") or whole.length
        size = max(0, stated - 8)
        return Packet(*common, *_ports(data), data[8 : 8 + size], size, fragment=fragment)
    if whole is not None and name.startswith("icmp") and len(data) >= 2:
        return Packet(*common, payload=data[8:], icmp=(data[0], data[1]), fragment=fragment)
    return Packet(*common, fragment=fragment)


def _ports(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")


def _segment(data: bytes) -> tuple[Segment | None, int]:
    """The header, None where it is cut off before its flags or wrong, and its length."""
    header = (data[12] >> 4) * 4 if len(data) >= 14 else 0
    if header < 20:
        return None, 0
    return Segment(
        int.from_bytes(data[4:8], "big"),
        int.from_bytes(data[8:12], "big"),
        data[13],
        int.from_bytes(data[14:16], "big"),
    ), header
