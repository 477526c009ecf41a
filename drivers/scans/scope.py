"""The network scope: its entries, and which targets scans may be pointed at; pure.

Default deny: without `RUNSTREAM_NETWORK_SCOPE` nothing may be scanned. A target is an IPv4
address, an IPv4 network or a host name. An entry of the scope may name ports. Names are resolved
once, every IPv4 address of a name must lie in the scope, and the program is given the addresses, so
that a name cannot resolve to another one afterwards. Ranges of octets (`10.0.0.1-9`), lists and
wildcards are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Final

from toolmeta.formats import FORMATS
from toolmeta.hosts import Ports

#: Addresses of all targets of one step together.
MAX_ADDRESSES: Final = 4_096
SETTING: Final = "RUNSTREAM_NETWORK_SCOPE"

Resolve = Callable[[str], Sequence[str]]
#: What a scan asks that names no ports.
EVERY_PORT: Final[Ports] = ((0, 65_535),)
_MAX_PORT: Final = 65_535

_LETTER: Final = re.compile(r"[A-Za-z]")
_ADDRESS: Final = re.compile(r"[0-9.]+(?:/[0-9]{1,2})?", re.ASCII)


class OutOfScope(Exception):
    """A target may not be scanned; the message is one sentence."""


class BadTarget(Exception):
    """A target is malformed; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of the scope: a network, and the ports that may be asked there."""

    network: IPv4Network
    #: Empty: every port.
    ports: Ports = ()

    def covers(self, ports: Ports) -> bool:
        """Whether every one of the ports may be asked; no ports are always allowed."""
        return not self.ports or all(
            any(low <= first and last <= high for low, high in self.ports) for first, last in ports
        )


Scope = tuple[Allowed, ...]


def parse_scope(text: str) -> Scope:
    """The entries of a comma separated list, `NETWORK` or `NETWORK:PORTS`; raises ValueError.

    `10.1.0.0/16:22+80+8000-8100` allows these ports there. A network must be written with its own
    first address: `10.0.0.7/24` is more likely a mistake than meant as 256 addresses.
    """
    entries: list[Allowed] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        written, colon, ports = part.partition(":")
        try:
            network = IPv4Network(written)
        except ValueError as error:
            raise ValueError(f"{part!r} is not an IPv4 network: {error}") from None
        try:
            entries.append(Allowed(network, parse_ports(ports, "+") if colon else ()))
        except ValueError as error:
            raise ValueError(f"{part!r}: {error}") from None
    return tuple(entries)


def parse_ports(text: str, separator: str = ",") -> Ports:
    """Ports and ranges, as first and last; raises ValueError for what is none."""
    found: list[tuple[int, int]] = []
    for piece in text.split(separator):
        first, dash, last = piece.partition("-")
        written = (first, last if dash else first)
        if not all(number.isascii() and number.isdigit() for number in written):
            raise ValueError(f"{piece!r} is no port or range of ports")
        low, high = int(written[0]), int(written[1])
        if not 0 <= low <= high <= _MAX_PORT:
            raise ValueError(f"{piece!r} is no port or range of ports from 0 to {_MAX_PORT}")
        found.append((low, high))
    return tuple(found)


def check_targets(
    targets: Iterable[str], scope: Scope, resolve: Resolve, ports: Ports = ()
) -> list[str]:
    """The targets as addresses and networks in canonical spelling, each once.

    Raises BadTarget or OutOfScope. `resolve` gives every address of a name; its OSError, for a name
    without one, is not caught.
    """
    if not scope:
        raise OutOfScope(f"nothing may be scanned: {SETTING} names no network")
    found: dict[IPv4Network, None] = {}
    for target in targets:
        for network in _networks(target, resolve):
            shown = target if target == _text(network) else f"{target} ({_text(network)})"
            around = [entry for entry in scope if network.subnet_of(entry.network)]
            if not around:
                raise OutOfScope(f"{shown} is not inside the networks of {SETTING}")
            if not any(entry.covers(ports) for entry in around):
                raise OutOfScope(
                    f"{SETTING} allows only some ports of {shown}: name `ports` inside these"
                )
            found[network] = None
    total = sum(network.num_addresses for network in found)
    if not found:
        raise BadTarget("there is no target")
    if total > MAX_ADDRESSES:
        raise OutOfScope(f"{total} addresses at once; at most {MAX_ADDRESSES} are allowed")
    return [_text(network) for network in found]


def _networks(target: str, resolve: Resolve) -> list[IPv4Network]:
    if ":" in target:
        raise OutOfScope(f"{target[:60]}: IPv6 targets are not scanned")
    if _ADDRESS.fullmatch(target):
        try:
            return [IPv4Network(target, strict=False)]
        except ValueError as error:
            raise BadTarget(f"{target[:60]} is no address or network: {error}") from None
    # `10.0.0.1-9` could be a name as well, but is meant as a range.
    if not FORMATS["hostname"].accepts(target) or not _LETTER.search(target.rpartition(".")[2]):
        raise BadTarget(f"{target[:60]!r} is neither an IPv4 address, a network nor a host name")
    addresses = [ip_address(text.partition("%")[0]) for text in resolve(target)]
    inner = [_unwrapped(address) for address in addresses]
    networks = [IPv4Network(address) for address in inner if address is not None]
    if not networks:
        raise OutOfScope(f"{target} has no IPv4 address, and IPv6 targets are not scanned")
    return networks


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped


def _text(network: IPv4Network) -> str:
    return str(network.network_address) if network.prefixlen == 32 else str(network)
