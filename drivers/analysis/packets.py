"""One captured frame, decoded: addresses, ports, flags and payload; pure.

Decoding never raises: a frame that is damaged, cut off or of an unknown kind is a `Packet` with
what could be read of it. Link layers: Ethernet (with VLAN tags), raw IP, BSD loopback and Linux
cooked captures of both versions (LINKTYPE_ numbers of tcpdump.org).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Final

import dpkt

from drivers.analysis.pcap import Record, open_capture

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

_RAW: Final = frozenset({12, 14, 101, 228, 229})
#: Any frame is read by a few header parsers of dpkt; these are what they raise on damage.
_DAMAGE: Final = (
    dpkt.Error,
    struct.error,
    ValueError,
    IndexError,
    TypeError,
    AttributeError,
    OSError,
)


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
    fragment: bool = False


def read_packets(file: BinaryIO, limit: int) -> Iterator[Packet]:
    """At most `limit` packets of a capture file; raises pcap.NotACapture."""
    capture = open_capture(file)
    return (decode(capture.linktype, record) for record in islice(capture.records, limit))


def decode(linktype: int, record: Record) -> Packet:
    """What can be read of one frame."""
    try:
        layer = _network(linktype, record.data)
        if isinstance(layer, dpkt.ip.IP):
            return _ipv4(layer, record)
        if isinstance(layer, dpkt.ip6.IP6):
            return _ipv6(layer, record)
        if isinstance(layer, dpkt.arp.ARP):
            source, destination = socket.inet_ntoa(layer.spa), socket.inet_ntoa(layer.tpa)
            return Packet(record.time, record.wire_length, "arp", source, destination)
    except _DAMAGE:
        pass  # The frame is counted, and not decoded.
    return Packet(record.time, record.wire_length, "other")


def _network(linktype: int, data: bytes) -> object:
    if linktype == 1:
        return dpkt.ethernet.Ethernet(data).data
    if linktype in _RAW:
        return dpkt.ip6.IP6(data) if data[0] >> 4 == 6 else dpkt.ip.IP(data)
    if linktype in (0, 108):
        return dpkt.loopback.Loopback(data).data
    if linktype == 113:
        return _by_type(struct.unpack_from(">H", data, 14)[0], data[16:])
    if linktype == 276:
        return _by_type(struct.unpack_from(">H", data, 0)[0], data[20:])
    return None


def _by_type(kind: int, data: bytes) -> object:
    if kind == 0x0800:
        return dpkt.ip.IP(data)
    if kind == 0x86DD:
        return dpkt.ip6.IP6(data)
    return dpkt.arp.ARP(data) if kind == 0x0806 else None


def _ipv4(layer: dpkt.ip.IP, record: Record) -> Packet:
    source, destination = socket.inet_ntoa(layer.src), socket.inet_ntoa(layer.dst)
    offset = int(layer.offset)
    fragment = bool(offset or layer.mf)
    length = max(0, layer.len - layer.hl * 4)
    if offset:
        name = _name(layer.p)
        return Packet(record.time, record.wire_length, name, source, destination, fragment=True)
    return _transport(layer.p, layer.data, length, source, destination, record, fragment)


def _ipv6(layer: dpkt.ip6.IP6, record: Record) -> Packet:
    source = socket.inet_ntop(socket.AF_INET6, layer.src)
    destination = socket.inet_ntop(socket.AF_INET6, layer.dst)
    headers = getattr(layer, "all_extension_headers", [])
    length = max(0, layer.plen - sum(len(header) for header in headers))
    fragment = any(isinstance(header, dpkt.ip6.IP6FragmentHeader) for header in headers)
    return _transport(layer.p, layer.data, length, source, destination, record, fragment)


def _name(number: int) -> str:
    return {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}.get(number, str(number))


def _transport(
    number: int,
    inner: object,
    length: int,
    source: str,
    destination: str,
    record: Record,
    fragment: bool,
) -> Packet:
    name = _name(number)
    common = (record.time, record.wire_length, name, source, destination)
    if isinstance(inner, dpkt.tcp.TCP):
        segment = Segment(inner.seq, inner.ack, inner.flags, inner.win)
        size = max(0, length - inner.off * 4)
        # A short frame is padded to 60 bytes: bytes after the datagram are not payload.
        data = bytes(inner.data)[:size]
        return Packet(*common, inner.sport, inner.dport, data, size, segment, fragment=fragment)
    if isinstance(inner, dpkt.udp.UDP):
        size = max(0, inner.ulen - 8)
        data = bytes(inner.data)[:size]
        return Packet(*common, inner.sport, inner.dport, data, size, fragment=fragment)
    if isinstance(inner, dpkt.icmp.ICMP | dpkt.icmp6.ICMP6):
        quoted = bytes(inner)[8:]
        return Packet(*common, payload=quoted, icmp=(inner.type, inner.code), fragment=fragment)
    return Packet(*common, fragment=fragment)
