"""Ports that stay the same from one start to the next."""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path

from devstack.errors import LocalStackError
from devstack.files import write_atomically

#: Below the range from which systems take source ports: a client that keeps calling a stopped
#: server's port could otherwise be given that very port, connect to itself and keep it occupied.
_RANGE = range(15_000, 32_000)
_ATTEMPTS = 500
#: What this process was given; each is its own until it ends.
_ours: set[int] = set()
#: Not the shared generator: whoever seeds that would get the same ports in each process.
_random = random.SystemRandom()


def assign_ports(file: Path, names: list[str]) -> dict[str, int]:
    """A port for each name: the one in `file` if it is free, else a new one, written there."""
    remembered = _read(file)
    assigned: dict[str, int] = {}
    for name in names:
        port = remembered.get(name)
        if port is None or port in assigned.values() or not is_free(port) or not _reserve(port):
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


def free_port(taken: set[int] | frozenset[int] = frozenset()) -> int:
    """A port on which a server could listen, none of `taken`; raises LocalStackError.

    No other process is given it while this one lives, and this one is given it once: a server may
    take seconds from here to listening.
    """
    for _ in range(_ATTEMPTS):
        port = _random.choice(_RANGE)
        if port not in taken and port not in _ours and _reserve(port) and is_free(port):
            return port
    raise LocalStackError(f"No free port found between {_RANGE.start} and {_RANGE.stop}.")


def _reserve(port: int) -> bool:
    """Whether the port is this process's now: byte `port` of a file of the user's is locked."""
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _ours.add(port)
    return True


@cache
def _reservations() -> int:
    """The file of the locks; open for as long as the process lives, as its locks are."""
    path = Path(tempfile.gettempdir()) / f"runstream-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _read(file: Path) -> dict[str, int]:
    try:
        content = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(name): port for name, port in content.items() if isinstance(port, int)}
