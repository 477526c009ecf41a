"""Frames and capture files made byte by byte, for what real traffic seldom shows."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Frames with the seconds at which they were captured.
Frames = list[tuple[float, bytes]]

_MACS = bytes.fromhex("00005e00530200005e005301")
BEGIN = 1_790_000_000.0


def ethernet(packet: bytes, *tags: int) -> bytes:
    """A frame around an IP packet, with VLAN tags, the outer one first."""
    outer = b"".join(struct.pack(">HH", 0x8100, tag) for tag in tags)
    return _MACS + outer + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def ip(source: str, destination: str, protocol: int, payload: bytes, **fragment: int) -> bytes:
    """An IP packet of the version of its addresses, or a fragment: `ident`, `offset`, `more`."""
    place = fragment.get("offset", 0) // 8
    if ":" in source:
        following = protocol
        if fragment:
            bits = place << 3 | fragment.get("more", 0)
            payload = struct.pack(">BBHI", protocol, 0, bits, fragment["ident"]) + payload
            following = 44
        ends = b"".join(socket.inet_pton(socket.AF_INET6, one) for one in (source, destination))
        return struct.pack(">IHBB", 6 << 28, len(payload), following, 64) + ends + payload
    bits = place | fragment.get("more", 0) << 13
    head = struct.pack(
        ">BBHHHBBH", 0x45, 0, 20 + len(payload), fragment.get("ident", 0), bits, 64, protocol, 0
    )
    return head + socket.inet_aton(source) + socket.inet_aton(destination) + payload


def udp(source: int, destination: int, payload: bytes) -> bytes:
    """A datagram; its checksum is left out."""
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


@dataclass
class Talk:
    """Frames of one TCP connection; numbers and times go on with each."""

    client: str = "192.0.2.7"
    server: str = "192.0.2.80"
    ports: tuple[int, int] = (40_000, 80)
    first: tuple[int, int] = (0xFFFFFF00, 5_000)
    at: float = BEGIN
    step: float = 0.01
    tags: tuple[int, ...] = ()
    options: bytes = b""
    frames: Frames = field(default_factory=list)

    def __post_init__(self) -> None:
        self.next = list(self.first)

    def send(self, by_client: bool, flags: int, data: bytes = b"", *, number: int = -1) -> Talk:
        """One segment; with `number` it is an older one, and nothing goes on."""
        own, other = (0, 1) if by_client else (1, 0)
        ends = (self.client, self.server) if by_client else (self.server, self.client)
        sequence = self.next[own] if number < 0 else number
        acknowledged = self.next[other] if flags & 0x10 else 0
        head = struct.pack(
            ">HHIIBBHHH", self.ports[own], self.ports[other], sequence % 2**32,
            acknowledged % 2**32, (5 + len(self.options) // 4) << 4, flags, 8_192, 0, 0,
        )  # fmt: skip
        packet = ip(*ends, 6, head + self.options + data)
        self.frames.append((self.at, ethernet(packet, *self.tags)))
        self.at += self.step
        if number < 0:
            self.next[own] += len(data) + bool(flags & 3)
        return self

    def open(self) -> Talk:
        """The handshake."""
        return self.send(True, 2).send(False, 0x12).send(True, 0x10)

    def say(self, data: bytes, size: int = 1_400) -> Talk:
        """Data of the client, in segments."""
        return self._data(True, data, size)

    def reply(self, data: bytes, size: int = 1_400) -> Talk:
        """Data of the server."""
        return self._data(False, data, size)

    def close(self) -> Talk:
        """Both ends close."""
        return self.send(True, 0x11).send(False, 0x11).send(True, 0x10)

    def _data(self, by_client: bool, data: bytes, size: int) -> Talk:
        for start in range(0, len(data), size):
            self.send(by_client, 0x18, data[start : start + size])
        return self


def pcap(
    frames: Iterable[tuple[float, bytes]],
    *,
    order: str = "<",
    snap: int = 262_144,
    nanoseconds: bool = False,
    linktype: int = 1,
) -> bytes:
    """A classic capture file."""
    magic, parts = (0xA1B23C4D, 10**9) if nanoseconds else (0xA1B2C3D4, 10**6)
    found = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap, linktype)]
    for time, frame in frames:
        whole, rest = divmod(round(time * 10**6), 10**6)
        head = (whole, rest * parts // 10**6, len(frame[:snap]), len(frame))
        found += [struct.pack(f"{order}IIII", *head), frame[:snap]]
    return b"".join(found)


def pcapng(
    frames: Iterable[tuple[float, bytes]],
    *,
    order: str = "<",
    snap: int = 0,
    simple: bool = False,
    power: int = 6,
    others: tuple[int, ...] = (101,),
) -> bytes:
    """A pcapng file of one section: other interfaces by link type, then the one of the frames.

    With `simple` packet blocks, which are always of the first interface, there is only one.
    """

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(f"{order}I", len(body) + 12)
        return struct.pack(f"{order}I", kind) + size + body + size

    def interface(linktype: int) -> bytes:
        resolution = struct.pack(f"{order}HHB3x", 9, 1, power)
        return block(1, struct.pack(f"{order}HHI", linktype, 0, snap) + resolution + bytes(4))

    found = [block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))]
    others = () if simple else others
    found += [interface(linktype) for linktype in (*others, 1)]
    found.append(block(5, bytes(16)))
    for time, frame in frames:
        kept = frame[:snap] if snap else frame
        if simple:
            found.append(block(3, struct.pack(f"{order}I", len(frame)) + kept))
            continue
        ticks = round(time * 10**6) * 10**power // 10**6
        head = (len(others), ticks >> 32, ticks & 0xFFFFFFFF, len(kept), len(frame))
        found.append(block(6, struct.pack(f"{order}IIIII", *head) + kept))
    return b"".join(found)
