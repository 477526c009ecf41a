"""Ports that stay the same from one start to the next."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from devstack.errors import LocalStackError
from devstack.files import write_atomically

#: Below the range from which systems take source ports: a client that keeps calling a stopped
#: server's port could otherwise be given that very port, connect to itself and keep it occupied.
_RANGE = range(15_000, 32_000)
_ATTEMPTS = 500


def assign_ports(file: Path, names: list[str]) -> dict[str, int]:
    """A port for each name: the one in `file` if it is free, else a new one, written there."""
    remembered = _read(file)
    assigned: dict[str, int] = {}
    for name in names:
        port = remembered.get(name)
        if port is None or port in assigned.values() or not is_free(port):
            port = free_port(set(remembered.values()) | set(assigned.values()))
        assigned[name] = port
    write_atomically(file, json.dumps(remembered | assigned, indent=1))
    return assigned


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As servers do, so that connections in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(taken: set[int]) -> int:
    """A port on which a server could listen now, none of `taken`; raises LocalStackError."""
    for _ in range(_ATTEMPTS):
        port = random.choice(_RANGE)
        if port not in taken and is_free(port):
            return port
    raise LocalStackError(f"No free port found between {_RANGE.start} and {_RANGE.stop}.")


def _read(file: Path) -> dict[str, int]:
    try:
        content = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(name): port for name, port in content.items() if isinstance(port, int)}
