"""UDP: conversations, services, datagrams without a response or refused by ICMP; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from drivers.analysis.findings import (
    Anomalies,
    Options,
    Traffic,
    count,
    milliseconds,
    moment,
    top,
)
from drivers.analysis.internet import ipv4, ipv6
from drivers.analysis.packets import Packet

End = tuple[str, int]

MAX_CONVERSATIONS: Final = 10_000
_SCAN_PORTS: Final = 20
_UDP: Final = 17
_AMPLIFIED: Final = 10
_AMPLIFIED_BYTES: Final = 10_000
#: Destination unreachable, port unreachable: RFC 792 and RFC 4443 (3.1).
_PORT_UNREACHABLE: Final = {"icmp": (3, 3), "icmp6": (1, 4)}


@dataclass(slots=True)
class Conversation:
    """Datagrams between two ends; `client` sent the first one."""

    client: End
    server: End
    start: float
    end: float
    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    answered_after: float | None = None
    unreachable: bool = False


def analyse(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Every conversation, the services, and what is unusual."""
    traffic = Traffic()
    found: dict[tuple[End, End], Conversation] = {}
    services: Counter[int] = Counter()
    ignored = 0
    for packet in traffic.seen(packets, options):
        if packet.icmp is not None and packet.icmp == _PORT_UNREACHABLE.get(packet.protocol):
            _unreachable(packet, found)
        if packet.protocol != "udp" or (packet.fragment and not packet.source_port):
            continue
        ends = {packet.source_port, packet.destination_port}
        if options.ports is None or ends & options.ports:
            ignored += not _add(packet, found, services)
    every = list(found.values())
    pairs: Counter[tuple[str, str]] = Counter()
    for one in every:
        count(pairs, (one.client[0], one.server[0]), one.sent_bytes + one.received_bytes)
    return {
        **traffic.summary(),
        "complete": not ignored,
        "conversation_count": len(every),
        "unanswered": sum(not one.received for one in every),
        "unreachable": sum(one.unreachable for one in every),
        "ignored_packets": ignored,
        "services": top(services, options.limit, "port", "packets"),
        "top_conversations": top(pairs, options.limit, "client", "server", "bytes"),
        "conversations": [_row(one) for one in every[: options.limit]],
        "anomalies": _anomalies(every),
    }


def _add(
    packet: Packet, found: dict[tuple[End, End], Conversation], services: Counter[int]
) -> bool:
    source = (packet.source, packet.source_port)
    destination = (packet.destination, packet.destination_port)
    key = (min(source, destination), max(source, destination))
    one = found.get(key)
    if one is None:
        if len(found) >= MAX_CONVERSATIONS:
            return False
        one = found[key] = Conversation(source, destination, packet.time, packet.time)
    one.end = max(one.end, packet.time)
    count(services, one.server[1])
    if source == one.client:
        one.sent += 1
        one.sent_bytes += packet.payload_length
    else:
        one.received += 1
        one.received_bytes += packet.payload_length
        if one.answered_after is None:
            one.answered_after = packet.time - one.start
    return True


def _unreachable(packet: Packet, found: dict[tuple[End, End], Conversation]) -> None:
    """The ICMP error quotes the datagram that it is about."""
    read = ipv6 if packet.protocol == "icmp6" else ipv4
    quoted = read(packet.payload, len(packet.payload))
    if quoted is None or quoted.protocol != _UDP or len(quoted.data) < 4:
        return
    ends = (
        (quoted.source, int.from_bytes(quoted.data[:2], "big")),
        (quoted.destination, int.from_bytes(quoted.data[2:4], "big")),
    )
    one = found.get((min(ends), max(ends)))
    if one is not None:
        one.unreachable = True


def _row(one: Conversation) -> dict[str, Any]:
    return {
        "client": one.client[0],
        "client_port": one.client[1],
        "server": one.server[0],
        "server_port": one.server[1],
        "started_at": moment(one.start),
        "duration_seconds": round(one.end - one.start, 6),
        "packets_from_client": one.sent,
        "bytes_from_client": one.sent_bytes,
        "packets_from_server": one.received,
        "bytes_from_server": one.received_bytes,
        "answered_after_ms": milliseconds(one.answered_after),
        "unreachable": one.unreachable,
    }


def _anomalies(every: list[Conversation]) -> list[dict[str, Any]]:
    found = Anomalies()
    ports: dict[tuple[str, str], set[int]] = defaultdict(set)
    for one in every:
        server = f"{one.server[0]}:{one.server[1]}"
        if one.unreachable:
            found.add("port_unreachable", server, f"nobody listens at UDP {server}")
        if not one.received:
            ports[one.client[0], one.server[0]].add(one.server[1])
        if one.received_bytes > max(_AMPLIFIED_BYTES, _AMPLIFIED * one.sent_bytes):
            factor = one.received_bytes / max(1, one.sent_bytes)
            found.add("amplification", server, f"{server} answers with {factor:.0f} times as much")
    for (client, address), tried in ports.items():
        if len(tried) >= _SCAN_PORTS:
            found.add("port_scan", client, f"{client} tried {len(tried)} UDP ports of {address}")
    return found.rows()
