"""The network scope: which addresses the scan tools may be pointed at; pure.

Default deny: without `RUNSTREAM_NETWORK_SCOPE` nothing may be scanned. A target is an IPv4
address, an IPv4 network or a host name. Names are resolved once, every IPv4 address of a name must
lie in the scope, and the program is given the addresses, so that a name cannot resolve to another
one afterwards. Ranges of octets (`10.0.0.1-9`), lists and wildcards are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Final

from toolmeta.formats import FORMATS

#: Addresses of all targets of one step together.
MAX_ADDRESSES: Final = 4_096
SETTING: Final = "RUNSTREAM_NETWORK_SCOPE"

Resolve = Callable[[str], Sequence[str]]

_LETTER: Final = re.compile(r"[A-Za-z]")
_ADDRESS: Final = re.compile(r"[0-9.]+(?:/[0-9]{1,2})?", re.ASCII)


class OutOfScope(Exception):
    """A target may not be scanned; the message is one sentence."""


class BadTarget(Exception):
    """A target is malformed; the message is one sentence."""


def parse_scope(text: str) -> tuple[IPv4Network, ...]:
    """The networks of a comma separated list; raises ValueError with a sentence.

    A network must be written with its own first address: `10.0.0.7/24` is more likely a mistake
    than meant as 256 addresses.
    """
    networks: list[IPv4Network] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            networks.append(IPv4Network(part))
        except ValueError as error:
            raise ValueError(f"{part!r} is not an IPv4 network: {error}") from None
    return tuple(networks)


def check_targets(
    targets: Iterable[str], scope: tuple[IPv4Network, ...], resolve: Resolve
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
            if not any(network.subnet_of(allowed) for allowed in scope):
                shown = target if target == _text(network) else f"{target} ({_text(network)})"
                raise OutOfScope(f"{shown} is not inside the networks of {SETTING}")
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
