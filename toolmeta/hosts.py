"""Hosts as a plan names them: a name or an address, with or without a port."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
#: Ranges of ports, as first and last.
Ports = tuple[tuple[int, int], ...]

_NUMBERS: Final = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)(\.(0[xX][0-9a-fA-F]*|[0-9]+)){0,3}")
#: Below it a number is that of an asset; as an address it would be one of 0.0.0.0/8, which is none.
_LEAST_NUMBER: Final = 1 << 24
_MAX_PORT: Final = 65_535
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def ascii_lower(text: str) -> str:
    """The text with the letters A to Z in lower case; every other character is left as it is."""
    # In ASCII both are the same, and the first is faster.
    return text.lower() if text.isascii() else text.translate(_LOWER)


def split_port(host: str) -> tuple[str, int | None]:
    """Name and port of `name`, `name:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.

    Text after the colon that is no port number from 1 to 65535 stays part of the name, which is
    then no host name.
    """
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], None
    name, colon, port = host.rpartition(":")
    bracketed = name.startswith("[") and name.endswith("]")
    if not colon or (":" in name and not bracketed):
        return host, None
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) <= _MAX_PORT):
        return host, None
    return (name[1:-1] if bracketed else name), int(port)


def literal_address(host: str) -> Address | None:
    """The address that the text is, in every spelling that a connect would take; None for a name.

    Besides the usual forms those of inet_aton: `0x7f.1`, `2130706433`, `0177.0.0.1`, `127.0.0.1.`.
    """
    text = host.partition("%")[0].rstrip(".")
    numbers = _NUMBERS.fullmatch(text)
    if numbers is None and ":" not in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None if numbers is None else _of_numbers(text)


def _of_numbers(text: str) -> IPv4Address | None:
    """One to four numbers, decimal, octal or hexadecimal, of which the last fills the rest.

    Source: inet_aton(3).
    """
    try:
        *first, last = (int(part, _base(part)) for part in text.split("."))
    except ValueError:
        return None
    if any(number > 0xFF for number in first) or last >= 1 << 8 * (4 - len(first)):
        return None
    for place, number in enumerate(first):
        last |= number << 8 * (3 - place)
    return IPv4Address(last)


def _base(number: str) -> int:
    if number[:2] in ("0x", "0X"):
        return 16
    return 8 if number[0] == "0" else 10


# A key has at most 253 characters; every step of an execution asks for the same ones.
@lru_cache(maxsize=4_096)
def of_other_machines(key: str) -> str | None:
    """The key itself for a name, its address in the usual form, None for a loopback address."""
    address = _address_of(key)
    if address is None:
        return key
    return None if address.is_loopback or address.is_unspecified else str(address)


def _address_of(key: str) -> Address | None:
    """The address that the key of a host or asset is; None for a name and the number of an asset.

    One IPv4 address inside IPv6 (`::ffff:10.0.0.7`) is the IPv4 address.
    """
    if not (key[0].isdigit() or ":" in key):
        return None
    if key.isascii() and key.isdigit() and (len(key) > 10 or int(key) < _LEAST_NUMBER):
        return None
    address = literal_address(key)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
