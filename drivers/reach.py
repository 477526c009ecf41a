"""Which addresses the programs of steps may connect to; one rule for every driver. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from drivers.http import ranges
from drivers.http.ranges import Address
from drivers.scans.scope import Scope, parse_scope

if TYPE_CHECKING:
    from runtime.settings import ExecutorSettings


@dataclass(frozen=True, slots=True)
class Reach:
    """Public addresses; inner ones where the operator allows them; metadata services never."""

    allow_private: bool
    scope: Scope = ()

    def refusal(self, address: Address, port: int | None = None) -> str | None:
        """Why nothing may be sent to the address, or None; without a port any port is meant."""
        # An address that embeds another one, as 64:ff9b::/96 does, counts as that one.
        inner = address if isinstance(address, IPv4Address) else ranges.embedded(address)
        scoped = inner is not None and any(
            inner in allowed.network and (port is None or allowed.covers(((port, port),)))
            for allowed in self.scope
        )
        return ranges.refusal(address, allow_private=self.allow_private or scoped)


@lru_cache(maxsize=8)
def _parsed(text: str) -> Scope:
    return parse_scope(text)


def reach_of(settings: ExecutorSettings) -> Reach:
    """The reach of this executor; raises ValueError where the network scope is malformed."""
    return Reach(settings.allow_private_addresses, _parsed(settings.network_scope))
