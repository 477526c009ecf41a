"""`netstat -n` of net-tools: one socket per line under a heading, or the kernel's routes."""

from __future__ import annotations

from typing import Any


def parse(stdout: str) -> dict[str, Any]:
    """The TCP and UDP sockets; a UDP socket has no state of its own."""
    sockets = [
        _socket(line) for line in stdout.split("\n") if line.startswith(("tcp", "udp", "raw"))
    ]
    return {"sockets": sockets, "count": len(sockets)}


def _socket(line: str) -> dict[str, Any]:
    protocol, received, sent, local, peer, *rest = line.split()
    # Without a state the next word is the process, which is `-` or holds a slash.
    state = rest.pop(0) if rest and "/" not in rest[0] and rest[0] != "-" else ""
    process = " ".join(rest).strip()
    pid, _, name = process.partition("/")
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
        "pid": int(pid) if pid.isdigit() else None,
        "program": name.strip() or None,
    }


def _end(text: str) -> tuple[str, int | None]:
    address, _, port = text.rpartition(":")
    return address, int(port) if port.isdigit() else None
