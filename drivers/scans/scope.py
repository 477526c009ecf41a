"""The network scope: its entries, and which targets scans may be pointed at; pure.

Default deny: without `RUNSTREAM_NETWORK_SCOPE` nothing may be scanned. A target is an address, a
network or a host name. An entry of the scope may name ports. Names are resolved once, every address
of a name must lie in the scope, and the program is given the addresses, so that a name cannot
resolve to another one afterwards. A name stands for its IPv4 addresses, and for those of IPv6 where
it has no others or these are asked for. Ranges of octets (`10.0.0.1-9`), lists and wildcards are
refused, and so are IPv6 addresses that hold an IPv4 one: what they reach is that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from drivers.http.ranges import embedded
from toolmeta.formats import FORMATS
from toolmeta.hosts import Ports

#: Addresses of all targets of one step together.
MAX_ADDRESSES: Final = 4_096
SETTING: Final = "RUNSTREAM_NETWORK_SCOPE"

Network = IPv4Network | IPv6Network
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

    network: Network
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

    `10.1.0.0/16:22+80+8000-8100` allows these ports there, `[2001:db8::/64]:22` this one. A network
    must be written with its own first address: `10.0.0.7/24` is more likely a mistake than meant as
    256 addresses.
    """
    entries: list[Allowed] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        written, colon, ports = _entry(part)
        try:
            network = ip_network(written)
        except ValueError as error:
            raise ValueError(f"{part!r} is not a network: {error}") from None
        try:
            entries.append(Allowed(network, parse_ports(ports, "+") if colon else ()))
        except ValueError as error:
            raise ValueError(f"{part!r}: {error}") from None
    return tuple(entries)


def _entry(part: str) -> tuple[str, str, str]:
    """The network, a colon where ports follow, and the ports; IPv6 with ports is in brackets."""
    if part.startswith("["):
        written, bracket, after = part[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ValueError(f"{part!r} has no `]` with ports behind it")
        return written, after[:1], after[1:]
    return (part, "", "") if part.count(":") > 1 else part.partition(":")


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
    targets: Iterable[str],
    scope: Scope,
    resolve: Resolve,
    ports: Ports = (),
    *,
    version: int | None = None,
) -> list[str]:
    """The targets as addresses and networks in canonical spelling, each once, of one IP version.

    Of a name the addresses of `version`; where that is None the IPv4 ones, else those of IPv6.
    Raises BadTarget or OutOfScope. `resolve` gives every address of a name; its OSError, for a name
    without one, is not caught.
    """
    if not scope:
        raise OutOfScope(f"nothing may be scanned: {SETTING} names no network")
    found: dict[Network, None] = {}
    for target in targets:
        for network in _networks(target, resolve, version):
            shown = target if target == _text(network) else f"{target} ({_text(network)})"
            around = [entry for entry in scope if _within(network, entry.network)]
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
    if len({network.version for network in found}) > 1:
        raise BadTarget("one scan has targets of IPv4 or of IPv6, not of both")
    return [_text(network) for network in found]


def _within(network: Network, around: Network) -> bool:
    if isinstance(network, IPv4Network) and isinstance(around, IPv4Network):
        return network.subnet_of(around)
    if isinstance(network, IPv6Network) and isinstance(around, IPv6Network):
        return network.subnet_of(around)
    return False


def _networks(target: str, resolve: Resolve, version: int | None) -> list[Network]:
    if ":" in target:
        if "%" in target:
            raise BadTarget(f"{target[:60]}: an address of one link cannot be named")
        try:
            network = IPv6Network(target, strict=False)
        except ValueError as error:
            raise BadTarget(f"{target[:60]} is no address or network: {error}") from None
        inner = embedded(network.network_address)
        if inner is not None:
            raise OutOfScope(f"{target[:60]} holds the IPv4 address {inner}: name that itself")
        return [network]
    if _ADDRESS.fullmatch(target):
        try:
            return [IPv4Network(target, strict=False)]
        except ValueError as error:
            raise BadTarget(f"{target[:60]} is no address or network: {error}") from None
    # `10.0.0.1-9` could be a name as well, but is meant as a range.
    if not FORMATS["hostname"].accepts(target) or not _LETTER.search(target.rpartition(".")[2]):
        raise BadTarget(f"{target[:60]!r} is neither an address, a network nor a host name")
    inner_most = [_unwrapped(ip_address(text.partition("%")[0])) for text in resolve(target)]
    wanted = version or min((address.version for address in inner_most), default=4)
    networks = [ip_network(address) for address in inner_most if address.version == wanted]
    if not networks:
        raise OutOfScope(f"{target} has no address of IPv{wanted}")
    return networks


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv6 address that holds an IPv4 one counts as that."""
    inner = None if isinstance(address, IPv4Address) else embedded(address)
    return address if inner is None else inner


def _text(network: Network) -> str:
    alone = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if alone else str(network)
