"""Which addresses are public, and which belong to the metadata service of a cloud; pure.

Sources: IANA's registries of special-purpose IPv4 and IPv6 addresses and of the IPv6 address space,
RFC 6052 and 8215 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 5214 (ISATAP), and what Azure,
AWS, Oracle and Alibaba document of their metadata services.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address

#: IPv4 inside IPv6 by translation (RFC 6052); such an address counts as the IPv4 one.
_NAT64: Final = IPv6Network("64:ff9b::/96")
#: All that IANA has given out as global unicast; everything else is local, reserved or embeds IPv4.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
#: Special-purpose ranges that `is_global` of some versions of Python counts as public.
_SPECIAL_IPV4: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_SPECIAL_IPV6: Final = (IPv6Network("2001::/23"), IPv6Network("3fff::/20"))
#: The interface identifiers of ISATAP, which end in an IPv4 address.
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})

_METADATA_IPV4: Final = (
    IPv4Network("169.254.169.0/24"),
    IPv4Network("169.254.170.0/24"),
    IPv4Network("169.254.0.23/32"),
    IPv4Network("168.63.129.16/32"),
    IPv4Network("100.100.100.200/32"),
    IPv4Network("192.0.0.192/32"),
)
_METADATA_IPV6: Final = (
    IPv6Network("fd00:ec2::/64"),
    IPv6Network("fd00:c1::a9fe:a9fe/128"),
    IPv6Network("fe80::a9fe:a9fe/128"),
)
#: Names that clouds give to their metadata service; a search domain may follow each.
_METADATA_NAMES: Final = frozenset(
    {"metadata", "instance-data", "metadata.goog", "metadata.google.internal"}
)


def is_public(address: Address) -> bool:
    """Whether the address is a public one; an IPv4 address inside an IPv6 one counts as itself."""
    if isinstance(address, IPv6Address):
        if any(address in net for net in _SPECIAL_IPV6):
            return False
        inner = embedded(address)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    elif any(address in net for net in _SPECIAL_IPV4):
        return False
    ordinary = address.is_global and not (address.is_multicast or address.is_reserved)
    return ordinary and not is_metadata(address)


def is_metadata(address: Address) -> bool:
    """Whether a metadata service of a cloud, which hands out credentials, may have the address."""
    if isinstance(address, IPv6Address):
        inner = embedded(address)
        if inner is not None:
            return is_metadata(inner)
        return any(address in net for net in _METADATA_IPV6)
    return any(address in net for net in _METADATA_IPV4)


def names_metadata(host: str) -> bool:
    """Whether the name is one of a metadata service, in any case, with or without a final dot."""
    name = host.rstrip(".").lower()
    return name in _METADATA_NAMES or name.endswith(".metadata.google.internal")


def embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address reach in the end, if there is one."""
    number = int(address)
    if address.ipv4_mapped is not None or address.sixtofour is not None:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    last = IPv4Address(number & 0xFFFFFFFF)
    if address in _NAT64 or (number >> 32) & 0xFFFFFFFF in _ISATAP:
        return last
    # IPv4-compatible addresses (RFC 4291, deprecated); `::` and `::1` are addresses of their own.
    return last if number >> 32 == 0 and number > 1 else None


def refusal(address: Address, *, allow_private: bool) -> str | None:
    """Why nothing may be sent to the address, or None where it may be."""
    if is_metadata(address):
        return "the address may be that of a cloud's metadata service"
    if allow_private or is_public(address):
        return None
    return (
        "the address is loopback, link-local, private or reserved; "
        "RUNSTREAM_ALLOW_PRIVATE_ADDRESSES would allow it"
    )
