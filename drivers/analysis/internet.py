"""IPv4 and IPv6 headers: who sends what to whom, and whether it is a part of a datagram; pure.

Sources: RFC 791 (3.1), RFC 8200 (3 and 4: the order and the lengths of extension headers, 4.5
fragments), RFC 4302 (2.2: the length of an authentication header). Reading never raises: what is
missing of a header makes the datagram None.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
#: Hop-by-hop options, routing, destination options, mobility, HIP, shim6.
_EXTENSIONS: Final = frozenset({0, 43, 60, 135, 139, 140})
_MAX_EXTENSIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Part:
    """Where a fragment lies in its datagram."""

    ident: int
    offset: int
    more: bool


@dataclass(frozen=True, slots=True)
class Datagram:
    """One IP packet: `data` is what was captured of its payload, `length` what there was."""

    source: str
    destination: str
    protocol: int
    data: bytes
    length: int
    part: Part | None = None


def ipv4(data: bytes, on_wire: int) -> Datagram | None:
    """The packet that `data` begins with; the frame had `on_wire` bytes from there on."""
    if len(data) < 20:
        return None
    header = (data[0] & 0x0F) * 4
    # Packets that the network card is to divide may state no length.
    total = int.from_bytes(data[2:4], "big") or on_wire
    if data[0] >> 4 != 4 or header < 20 or total < header:
        return None
    placed = int.from_bytes(data[6:8], "big")
    offset, more = (placed & 0x1FFF) * 8, bool(placed & 0x2000)
    part = Part(int.from_bytes(data[4:6], "big"), offset, more) if offset or more else None
    return Datagram(
        socket.inet_ntoa(data[12:16]),
        socket.inet_ntoa(data[16:20]),
        data[9],
        # A short frame is padded to 60 bytes: bytes after the datagram are not payload.
        data[header:total],
        total - header,
        part,
    )


def ipv6(data: bytes, on_wire: int) -> Datagram | None:
    """The same of IPv6; extension headers are passed over."""
    if len(data) < 40 or data[0] >> 4 != 6:
        return None
    length = int.from_bytes(data[4:6], "big") or max(0, on_wire - 40)
    payload, kind, position = data[40 : 40 + length], data[6], 0
    part: Part | None = None
    for _ in range(_MAX_EXTENSIONS):
        head = payload[position : position + 8]
        if len(head) < 8:
            break
        if kind == _FRAGMENT:
            placed = int.from_bytes(head[2:4], "big")
            offset, more = placed & 0xFFF8, bool(placed & 1)
            # One that is alone is whole (RFC 6946).
            if offset or more:
                part = Part(int.from_bytes(head[4:8], "big"), offset, more)
            size = 8
        elif kind == _AUTHENTICATION:
            size = (head[1] + 2) * 4
        elif kind in _EXTENSIONS:
            size = (head[1] + 1) * 8
        else:
            break
        kind, position = head[0], position + size
        if part is not None and part.offset:
            break  # What follows is the middle of the datagram.
    return Datagram(
        socket.inet_ntop(socket.AF_INET6, data[8:24]),
        socket.inet_ntop(socket.AF_INET6, data[24:40]),
        kind,
        payload[position:],
        max(0, length - position),
        part,
    )
