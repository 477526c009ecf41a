"""TCP: connections, handshake times, retransmissions, resets, scans, top talkers; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Final

from drivers.analysis.connections import Connection, Connections
from drivers.analysis.findings import (
    Anomalies,
    Options,
    Traffic,
    count,
    milliseconds,
    top,
)
from drivers.analysis.packets import Packet

_SCAN_PORTS: Final = 20
_SWEEP_HOSTS: Final = 20
_LOSSY_SHARE: Final = 0.02
_LOSSY_LEAST: Final = 3
_COUNTED: Final = (
    "retransmissions", "fast_retransmissions", "spurious_retransmissions", "repeated_bytes",
    "missing_bytes", "out_of_order", "duplicate_acks", "zero_windows", "keep_alives",
)  # fmt: skip


def analyse(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Every connection with its quality, and what is unusual about them."""
    traffic, found = Traffic(), Connections(options.ports)
    found.take(p for p in traffic.seen(packets, options) if p.protocol == "tcp")
    every = found.end()
    talkers: Counter[tuple[str, str]] = Counter()
    for one in every:
        moved = one.from_client.payload_bytes + one.from_server.payload_bytes
        count(talkers, (one.client[0], one.server[0]), moved)
    total = sum(one.from_client.packets + one.from_server.packets for one in every)
    repeated = _sum(every, "retransmissions")
    handshakes = [one.handshake_rtt for one in every if one.handshake_rtt is not None]
    return {
        **traffic.summary(),
        "complete": not found.ignored_packets,
        "connection_count": len(every),
        "states": dict(Counter(one.state for one in every)),
        "retransmissions": repeated,
        "retransmission_percent": round(100 * repeated / total, 3) if total else 0.0,
        "fast_retransmissions": _sum(every, "fast_retransmissions"),
        "spurious_retransmissions": _sum(every, "spurious_retransmissions"),
        "repeated_bytes": _sum(every, "repeated_bytes"),
        "missing_bytes": _sum(every, "missing_bytes"),
        "out_of_order": _sum(every, "out_of_order"),
        "duplicate_acks": _sum(every, "duplicate_acks"),
        "zero_windows": _sum(every, "zero_windows"),
        "handshake_rtt_min_ms": milliseconds(min(handshakes, default=None)),
        "handshake_rtt_avg_ms": milliseconds(
            sum(handshakes) / len(handshakes) if handshakes else None
        ),
        "handshake_rtt_max_ms": milliseconds(max(handshakes, default=None)),
        "ignored_packets": found.ignored_packets,
        "conversations": top(talkers, options.limit, "client", "server", "bytes"),
        "connections": [_row(one) for one in every[: options.limit]],
        "anomalies": _anomalies(every),
    }


def _sum(every: Iterable[Connection], field: str) -> int:
    return sum(getattr(o.from_client, field) + getattr(o.from_server, field) for o in every)


def _row(one: Connection) -> dict[str, Any]:
    samples = one.from_client.rtt + one.from_server.rtt
    return {
        **one.ends(),
        "state": one.state,
        "reset_by": one.reset_by,
        "packets": one.from_client.packets + one.from_server.packets,
        "bytes_from_client": one.from_client.payload_bytes,
        "bytes_from_server": one.from_server.payload_bytes,
        "handshake_rtt_ms": milliseconds(one.handshake_rtt),
        "data_rtt_avg_ms": milliseconds(sum(samples) / len(samples) if samples else None),
        **{field: _sum([one], field) for field in _COUNTED},
    }


def _anomalies(every: list[Connection]) -> list[dict[str, Any]]:
    found = Anomalies()
    ports: dict[tuple[str, str], set[int]] = defaultdict(set)
    hosts: dict[tuple[str, int], set[str]] = defaultdict(set)
    for one in every:
        server = f"{one.server[0]}:{one.server[1]}"
        if one.state == "refused":
            found.add("refused", server, f"{server} refuses connections")
        elif one.state == "unanswered":
            found.add("unanswered", server, f"{server} does not answer")
        elif one.state == "reset" and (
            one.from_client.payload_bytes or one.from_server.payload_bytes
        ):
            found.add("reset", server, f"a connection with {server} was reset by {one.reset_by}")
        if one.state in ("refused", "unanswered", "reset"):
            ports[one.client[0], one.server[0]].add(one.server[1])
            hosts[one.client[0], one.server[1]].add(one.server[0])
        sent = one.from_client.packets + one.from_server.packets
        again = _sum([one], "retransmissions")
        if again >= _LOSSY_LEAST and again / sent > _LOSSY_SHARE:
            message = f"{one.name}: {again} of {sent} packets were repetitions"
            found.add("retransmissions", one.name, message)
        if one.from_client.zero_windows or one.from_server.zero_windows:
            found.add("zero_window", one.name, f"{one.name}: a receiver could take no more")
    for (client, address), tried in ports.items():
        if len(tried) >= _SCAN_PORTS:
            found.add("port_scan", client, f"{client} tried {len(tried)} ports of {address}")
    for (client, port), reached in hosts.items():
        if len(reached) >= _SWEEP_HOSTS:
            found.add("sweep", client, f"{client} tried port {port} of {len(reached)} hosts")
    return found.rows()
