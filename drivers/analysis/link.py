"""What a frame carries: the EtherType behind its link layer header, and where that begins; pure.

Link layers: Ethernet, raw IP, BSD loopback and Linux cooked captures of both versions (LINKTYPE_
numbers of tcpdump.org); behind the first and the last three also VLAN tags (IEEE 802.1Q, 802.1ad),
and PPP over Ethernet (RFC 2516).
"""

from __future__ import annotations

from typing import Final

IPV4: Final = 0x0800
IPV6: Final = 0x86DD
ARP: Final = 0x0806

_ETHERNET: Final = 1
_COOKED: Final = 113
_COOKED_2: Final = 276
_LOOPBACK: Final = frozenset({0, 108})
_RAW: Final = frozenset({12, 14, 101, 228, 229})
_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_MAX_TAGS: Final = 4
_PPPOE: Final = 0x8864
_PPP: Final = {0x0021: IPV4, 0x0057: IPV6}
#: AF_INET, and AF_INET6 of the BSDs, macOS and Linux.
_FAMILIES: Final = {2: IPV4, 10: IPV6, 24: IPV6, 28: IPV6, 30: IPV6}


def carried(linktype: int, data: bytes) -> tuple[int, int]:
    """The EtherType and the offset of what it names; the type is 0 where it cannot be told."""
    if linktype == _ETHERNET:
        return _tagged(data, 12)
    if linktype in _RAW:
        version = data[0] >> 4 if data else 0
        return {4: IPV4, 6: IPV6}.get(version, 0), 0
    if linktype in _LOOPBACK:
        # In the byte order of the machine that captured; families are small numbers.
        family = next((number for number in data[:4] if number), 0)
        return _FAMILIES.get(family, 0), 4
    if linktype == _COOKED:
        return _tagged(data, 14)
    if linktype == _COOKED_2:
        kind = int.from_bytes(data[:2], "big")
        # The rest of a tag, and the type behind it, stand after the header.
        return _tagged(data, 22) if kind in _TAGS else (kind, 20)
    return 0, 0


def _tagged(data: bytes, position: int) -> tuple[int, int]:
    """The type that stands at `position`, behind any tags."""
    for _ in range(_MAX_TAGS):
        kind = int.from_bytes(data[position : position + 2], "big")
        if kind not in _TAGS:
            break
        position += 4
    if kind == _PPPOE:
        inner = int.from_bytes(data[position + 8 : position + 10], "big")
        return _PPP.get(inner, 0), position + 10
    return kind, position + 2
