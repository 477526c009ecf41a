"""Locking: which calls lock what they act on, and under which key. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from toolmeta.bind import target_key
from toolmeta.hosts import of_other_machines
from toolmeta.model import Tool
from toolmeta.risk import effect_of

#: Parameters of `target` that name a machine or an asset; a URL or an interface is neither.
_NAMES_AN_ASSET: Final = frozenset({"host", "server", "hostname", "asset_id", "ip_address"})
#: Its tools send messages to people; what they contact is not changed by that.
_MESSAGES: Final = "communication"

#: The class of the failure of an attempt whose lock does not cover every name that the inventory
#: has for its assets; the output has their rows. Nothing was done.
LOCK_NAMES: Final = "lock_names"


def locks(tool: Tool, parameters: dict[str, Any], *, assets: bool) -> bool:
    """Whether a step with this call locks: it may change something, and what is named.

    `assets`: the step names assets besides its parameters. A call that only reads never locks.
    """
    if tool.domain == _MESSAGES or effect_of(tool, parameters) == "read":
        return False
    return assets or bool(tool.targets) or not _NAMES_AN_ASSET.isdisjoint(tool.target)


def lock_key(target: Any) -> str | None:
    """The key under which a host or asset is locked, or None where it names no single one.

    Upper and lower case, a trailing dot, a port, and the spellings of one address are one. A
    loopback name or address says which machine it is only together with the executor: no asset.
    """
    key = target_key(target)
    if key is None or "/" in key or key in ("localhost", "localhost.localdomain"):
        return None
    return of_other_machines(key)


def names_of(row: Mapping[str, Any]) -> list[str]:
    """The keys of one asset by its row of the inventory, as its tools return it; without repeats.

    Each is a name by which a plan may name it: host name, addresses, number.
    """
    metadata = row.get("metadata")
    connection = metadata.get("connection") if isinstance(metadata, dict) else None
    address = connection.get("address") if isinstance(connection, dict) else None
    found = (row.get("hostname"), row.get("ip_address"), address, row.get("asset_id"))
    return list(dict.fromkeys(key for key in map(lock_key, found) if key is not None))
