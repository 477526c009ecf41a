"""`ss --no-header --numeric`: one socket per line."""

from __future__ import annotations

import re
from typing import Any, Final

#: Where a socket begins: a process may have a name with a line break, of at most 15 bytes.
_ROW: Final = re.compile(
    r"^(?=(?:\S{1,8}) +[A-Z][A-Z0-9-]* +\d+ +\d+ +\S+:\S+ +\S+:\S+(?: |$))", re.MULTILINE
)
#: A name may hold what looks like the end of an entry; then it goes on until the real one, since
#: 15 bytes have no room for an end and a beginning. `users:((` and `))` stand around all of them.
_PROCESS: Final = re.compile(
    r'\("(?P<name>.{0,15}?)",pid=(?P<pid>\d+),fd=(?P<fd>\d+)\)(?=,\("|\)\s*\Z)', re.DOTALL
)
_USERS: Final = "users:("


def parse(stdout: str) -> dict[str, Any]:
    """The sockets with addresses, ports and, where the user may see them, processes."""
    begin, *rows = _ROW.split(stdout)
    if begin.strip():
        raise ValueError(f"unexpected line {begin[:80]!r}")
    # Raw sockets are requested only so that ss names the kind of the others.
    sockets = [_socket(row) for row in rows if not row.startswith("raw")]
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
            for found in _PROCESS.finditer(rest[0].partition(_USERS)[2] if rest else "")
        ],
    }


def _end(text: str) -> tuple[str, int | None]:
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port) if port.isdigit() else None
