"""How the tests' own Kafka clients, and the processes that tests start, log in to a broker."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

#: The options for each broker that a test has started, by its address.
_KNOWN: dict[str, dict[str, Any]] = {}


def remember(options: Mapping[str, Any]) -> str:
    """Keep the options of a broker's clients, its address among them; returns the address."""
    servers = str(options["bootstrap.servers"])
    _KNOWN[servers] = dict(options)
    return servers


def client_options(servers: str) -> dict[str, Any]:
    """What every client of the broker at this address is given, the address included."""
    known = _KNOWN.get(servers)
    if known is not None:
        return dict(known)
    given = json.loads(os.environ.get("RUNSTREAM_KAFKA_OPTIONS") or "{}")
    return {**given, "bootstrap.servers": servers}


def kafka_options(servers: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same as the setting of this name: without the address."""
    options = client_options(servers) | dict(more or {})
    del options["bootstrap.servers"]
    return options


def environment(servers: str, more: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The variables of a process that a test starts."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "RUNSTREAM_KAFKA_OPTIONS": json.dumps(kafka_options(servers, more)),
    }
