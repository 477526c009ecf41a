"""Which addresses the programs of steps may connect to; one rule for every driver. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from drivers.http import ranges
from drivers.http.ranges import Address
from drivers.scans.scope import SETTING, Allowed, Scope, parse_scope
from toolmeta.hosts import Ports

if TYPE_CHECKING:
    from runtime.settings import ExecutorSettings


@dataclass(frozen=True, slots=True)
class Reach:
    """Public addresses; inner ones where the operator allows them; metadata services never."""

    allow_private: bool
    scope: Scope = ()

    def refusal(self, address: Address, ports: Ports = ()) -> str | None:
        """Why nothing may be sent to the address, or None; without ports any port is meant."""
        scoped = any(entry.covers(ports) for entry in self._around(address))
        return ranges.refusal(address, allow_private=self.allow_private or scoped)

    def beyond(self, address: Address, ports: Ports) -> str | None:
        """Why a probe may not ask the address at these ports, or None; for one that may be sent to.

        The scope binds probes where there is one. A probe without ports asks none.
        """
        if not self.scope:
            return None
        around = self._around(address)
        if not around:
            return f"{address} is not inside the networks of {SETTING}"
        if not any(entry.covers(ports) for entry in around):
            asked = ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ports)
            return f"{SETTING} does not allow port {asked} of {address}"
        return None

    def _around(self, address: Address) -> list[Allowed]:
        inner = ipv4_of(address) or address
        return [entry for entry in self.scope if inner in entry.network]

    @property
    def names_ipv6(self) -> bool:
        """Whether the scope has networks of IPv6; where it has none, these addresses are passed."""
        return any(entry.network.version == 6 for entry in self.scope)


def ipv4_of(address: Address) -> IPv4Address | None:
    """The IPv4 address that this one is or embeds, as 64:ff9b::/96 does."""
    return address if isinstance(address, IPv4Address) else ranges.embedded(address)


@lru_cache(maxsize=8)
def _parsed(text: str) -> Scope:
    return parse_scope(text)


def reach_of(settings: ExecutorSettings) -> Reach:
    """The reach of this executor; raises ValueError where the network scope is malformed."""
    return Reach(settings.allow_private_addresses, _parsed(settings.network_scope))
