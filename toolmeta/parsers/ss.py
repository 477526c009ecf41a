"""`ss --no-header --numeric`: one socket per line."""

from __future__ import annotations

import re
from typing import Any, Final

_PROCESS: Final = re.compile(r'\("(?P<name>(?:[^"\\]|\\.)*)",pid=(?P<pid>\d+),fd=(?P<fd>\d+)\)')


def parse(stdout: str) -> dict[str, Any]:
    """The sockets with addresses, ports and, where the user may see them, processes."""
    lines = (line for line in stdout.split("\n") if line.strip())
    # Raw sockets are requested only so that ss names the kind of the others.
    sockets = [_socket(line) for line in lines if not line.startswith("raw")]
    return {"sockets": sockets, "count": len(sockets)}


def _socket(line: str) -> dict[str, Any]:
    protocol, state, received, sent, local, peer, *rest = line.split(None, 6)
    local_address, local_port = _end(local)
    peer_address, peer_port = _end(peer)
    return {
        "protocol": protocol,
        "state": state,
        "receive_queue": int(received),
        "send_queue": int(sent),
        "local_address": local_address,
        "local_port": local_port,
        "peer_address": peer_address,
        "peer_port": peer_port,
        "processes": [
            {"name": found["name"], "pid": int(found["pid"])}
            for found in _PROCESS.finditer(rest[0] if rest else "")
        ],
    }


def _end(text: str) -> tuple[str, int | None]:
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port) if port.isdigit() else None
