"""masscan's list format (`-oL -`): `open tcp 80 192.0.2.1 1795163649` per finding."""

from __future__ import annotations

from typing import Any


def parse(stdout: str) -> dict[str, Any]:
    """The open ports, each once, and by host."""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for line in stdout.split("\n"):
        words = line.split()
        if len(words) < 5 or line.startswith("#"):
            continue
        state, protocol, port, address, _ = words[:5]
        entry = {"address": address, "port": int(port), "protocol": protocol, "state": state}
        found[address, protocol, int(port)] = entry
    ports = [found[key] for key in sorted(found)]
    hosts = sorted({entry["address"] for entry in ports})
    return {"ports": ports, "count": len(ports), "hosts": hosts}
