"""The ports on which processes show their health and metrics where nothing else is set."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: By kind of process. No IANA service and no range of ephemeral ports has them.
DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "router": 17101,
        "executor": 17102,
        "sink": 17103,
        "projector": 17104,
        "matcher": 17105,
        "api": 17106,
    }
)
_EACH: Final = ", ".join(f"{name} {port}" for name, port in DEFAULT_PORTS.items())
#: What the settings say of the port.
MEANING: Final = (
    "port of /healthz, /readyz, /metrics; 0 turns it off. By default each kind of process has its "
    f"own ({_EACH}), and one that finds it taken goes on without"
)
