"""A connection through the HTTP proxy of the environment, between stdin and stdout.

Started by ssh as `python3 tunnel.py HOST PORT`: where a step has no other way out, ssh takes the
one that git's http takes too.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import sys
from urllib.parse import unquote, urlsplit

_HEAD_BYTES = 16 * 1024


def proxy() -> str | None:
    """The address of the proxy, None where the environment has none."""
    return os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")


def run(host: str, port: str) -> int:
    """Connect, then copy both ways until the server ends."""
    parts = urlsplit(proxy() or "")
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    token = base64.b64encode(login.encode()).decode()
    name = f"[{host}]" if ":" in host else host
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as peer:
        peer.sendall(
            f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n"
            f"Proxy-Authorization: Basic {token}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            data = peer.recv(1)
            if not data or len(head) > _HEAD_BYTES:
                break
            head += data
        status = head.split(b"\r\n")[0].decode("latin-1").split(" ")
        if status[1:2] != ["200"]:
            sys.stderr.write(f"{host}:{port} cannot be connected to: {' '.join(status[1:])}\n")
            return 1
        _copy(peer)
    return 0


def _copy(peer: socket.socket) -> None:
    sources = [0, peer.fileno()]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if peer.fileno() in ready:
            data = peer.recv(65_536)
            if not data:
                return
            while data:
                data = data[os.write(1, data) :]
        if 0 in ready:
            data = os.read(0, 65_536)
            if data:
                peer.sendall(data)
            else:
                peer.shutdown(socket.SHUT_WR)
                sources.remove(0)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2]))
