"""Every IP packet that is sent in a network namespace, seen from within it."""

from __future__ import annotations

import socket
import struct
import threading
from ipaddress import IPv4Address, IPv6Address

#: Every packet of every interface; IPv4 and IPv6.
_EVERYTHING = 0x0003

#: What the kernel sends for IPv6 by itself: neighbours, routers, groups.
_HOUSEKEEPING = range(130, 144)


class Trap(threading.Thread):
    """Keeps source and destination of every IP packet of this namespace."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.packets: list[tuple[str, str]] = []
        self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERYTHING))
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)

    def run(self) -> None:
        while True:
            data, (_, protocol, kind, *_rest) = self._raw.recvfrom(2_048)
            # Each is seen when it is sent and when it arrives.
            if kind != socket.PACKET_OUTGOING:
                continue
            if protocol == 0x0800:
                source, target = struct.unpack("!4s4s", data[12:20])
                self.packets.append((str(IPv4Address(source)), str(IPv4Address(target))))
            elif protocol == 0x86DD and not _housekeeping(data):
                source, target = struct.unpack("!16s16s", data[8:40])
                self.packets.append((str(IPv6Address(source)), str(IPv6Address(target))))


def _housekeeping(data: bytes) -> bool:
    # Reports of multicast groups come behind a hop-by-hop header.
    return data[6] == 0 or (data[6] == 58 and data[40] in _HOUSEKEEPING)
