"""SSH: versions and algorithms of both sides, which were chosen, what is weak; pure.

Sources: RFC 4253 (4.2 identification, 6 packets, 7.1 negotiation: the first algorithm of the
client that the server has). What follows the key exchange is encrypted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from drivers.analysis.connections import Connection, Connections
from drivers.analysis.findings import Anomalies, Options, Traffic, readable
from drivers.analysis.packets import Packet

PORTS: Final = frozenset({22, 2222})
_KEXINIT: Final = 20
_LISTS: Final[tuple[str, ...]] = (
    "key_exchange", "host_key", "cipher_to_server", "cipher_to_client", "mac_to_server",
    "mac_to_client", "compression_to_server", "compression_to_client",
)  # fmt: skip
_SHOWN: Final = 40
#: Long deprecated (RFC 8758, RFC 9142 and OpenSSH's own lists).
_WEAK: Final = re.compile(
    r"diffie-hellman-group1-sha1|diffie-hellman-group14-sha1|diffie-hellman-group-exchange-sha1|"
    r"ssh-dss(-cert.*)?|ssh-rsa|none|arcfour.*|(3des|blowfish|cast128|des)-cbc.*|hmac-md5.*|"
    r"hmac-sha1-96.*"
)
_AEAD: Final = re.compile(r".*gcm@openssh\.com|chacha20-poly1305@openssh\.com|AEAD_.*")


def analyse(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Every session with versions and algorithms, and what is weak."""
    traffic = Traffic()
    # A stored capture shows them at any port, where a listening one takes only the usual ports.
    begins = b"" if options.ports else b"SSH-"
    streams = Connections(options.ports or PORTS, begins=begins)
    streams.take(p for p in traffic.seen(packets, options) if p.protocol == "tcp")
    anomalies = Anomalies()
    found = [
        _session(one, anomalies)
        for one in streams.end()
        if one.from_client.data.startswith(b"SSH-") or one.from_server.data.startswith(b"SSH-")
    ]
    return {
        **traffic.summary(),
        "complete": streams.complete,
        "session_count": len(found),
        "completed": sum(bool(row["encrypted"]) for row in found),
        "server_versions": dict(Counter(str(row["server_version"]) for row in found)),
        "client_versions": dict(Counter(str(row["client_version"]) for row in found)),
        "sessions": found[: options.limit],
        "anomalies": anomalies.rows(),
    }


def _session(one: Connection, anomalies: Anomalies) -> dict[str, Any]:
    client, client_lists = _read(bytes(one.from_client.data))
    server, server_lists = _read(bytes(one.from_server.data))
    chosen: dict[str, str | None] = {
        name: _first_common(client_lists[name], server_lists[name])
        for name in _LISTS
        if name in client_lists and name in server_lists
    }
    # An authenticated cipher includes the MAC; the negotiated one is not used.
    for way in ("to_server", "to_client"):
        if _AEAD.fullmatch(chosen.get(f"cipher_{way}") or ""):
            chosen[f"mac_{way}"] = "implicit"
    _add_anomalies(one, server, server_lists, chosen, anomalies)
    return {
        **one.ends(),
        "complete": one.complete,
        "state": one.state,
        "client_version": client,
        "server_version": server,
        "chosen": chosen,
        "server_algorithms": {name: values[:_SHOWN] for name, values in server_lists.items()},
        "encrypted": bool(chosen) and one.from_server.payload_bytes > len(server or ""),
        "bytes_from_client": one.from_client.payload_bytes,
        "bytes_from_server": one.from_server.payload_bytes,
    }


def _add_anomalies(
    one: Connection,
    server: str | None,
    offered: dict[str, list[str]],
    chosen: dict[str, str | None],
    anomalies: Anomalies,
) -> None:
    name = f"{one.server[0]}:{one.server[1]}"
    if server is not None and not server.startswith(("SSH-2.0-", "SSH-1.99-")):
        anomalies.add("old_version", name, f"{name} speaks {server[:40]}")
    for kind, values in offered.items():
        for value in values:
            if kind.startswith("compression"):
                continue
            if _WEAK.fullmatch(value):
                subject = f"{name} {value}"
                anomalies.add("weak_algorithm", subject, f"{name} offers {value} as {kind}")
    for kind, picked in chosen.items():
        if picked is None:
            anomalies.add("no_common_algorithm", name, f"{one.name}: no common {kind}")


def _read(data: bytes) -> tuple[str | None, dict[str, list[str]]]:
    """The identification of one side and its algorithm lists."""
    position = 0
    # A server may send other lines before its identification.
    for _ in range(50):
        end = data.find(b"\n", position)
        if end < 0:
            return None, {}
        line = data[position:end].rstrip(b"\r")
        position = end + 1
        if line.startswith(b"SSH-"):
            return readable(line, 255), _lists(data[position:])
    return None, {}


def _lists(data: bytes) -> dict[str, list[str]]:
    if len(data) < 6:
        return {}
    length, padding = int.from_bytes(data[:4], "big"), data[4]
    payload = data[5 : 4 + length - padding]
    if not 0 < length <= 35_000 or len(data) < 4 + length or payload[:1] != bytes([_KEXINIT]):
        return {}
    position = 17  # After the message number and the cookie.
    found: dict[str, list[str]] = {}
    for name in _LISTS:
        size = int.from_bytes(payload[position : position + 4], "big")
        text = payload[position + 4 : position + 4 + size]
        if len(text) < size:
            return found
        found[name] = [readable(item, 100) for item in text.split(b",") if item]
        position += 4 + size
    return found


def _first_common(client: list[str], server: list[str]) -> str | None:
    offered = set(server)
    return next((name for name in client if name in offered), None)
