"""An overview of any capture, in the operations of the `dpkt` tool; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from drivers.analysis.findings import Options, Traffic, count, moment, readable, top
from drivers.analysis.packets import Packet


def summary(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Counts, protocols and top talkers."""
    traffic = Traffic()
    for _ in traffic.seen(_chosen(packets, options), options):
        pass
    return traffic.summary(options.limit)


def conversations(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Pairs of addresses, by bytes."""
    traffic, pairs, frames = Traffic(), Counter[Any](), Counter[Any]()
    for packet in traffic.seen(_chosen(packets, options), options):
        if packet.source:
            ends = sorted((packet.source, packet.destination))
            count(pairs, (*ends, packet.protocol), packet.length)
            count(frames, (*ends, packet.protocol))
    rows = top(pairs, options.limit, "a", "b", "protocol", "bytes")
    for row in rows:
        row["packets"] = frames[row["a"], row["b"], row["protocol"]]
    return {**traffic.summary(), "rows": rows, "count": len(pairs)}


def endpoints(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """What each address sent and received."""
    traffic = Traffic()
    sent, received, peers = Counter[str](), Counter[str](), Counter[str]()
    for packet in traffic.seen(_chosen(packets, options), options):
        if packet.source:
            count(sent, packet.source, packet.length)
            count(received, packet.destination, packet.length)
            count(peers, packet.source)
            count(peers, packet.destination)
    rows = [
        {
            "address": address,
            "packets": number,
            "bytes_sent": sent[address],
            "bytes_received": received[address],
        }
        for address, number in peers.most_common(options.limit)
    ]
    return {**traffic.summary(), "rows": rows, "count": len(peers)}


def ports(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """The lower port of every datagram and segment, by packets."""
    traffic, found = Traffic(), Counter[Any]()
    for packet in traffic.seen(_chosen(packets, options), options):
        if packet.source_port:
            port = min(packet.source_port, packet.destination_port)
            count(found, (packet.protocol, port))
    rows = top(found, options.limit, "protocol", "port", "packets")
    return {**traffic.summary(), "rows": rows, "count": len(found)}


def listing(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """The first packets, one by one, with the beginning of their payload as text."""
    traffic = Traffic()
    rows: list[dict[str, Any]] = []
    for packet in traffic.seen(_chosen(packets, options), options):
        if len(rows) < options.limit:
            rows.append(
                {
                    "at": moment(packet.time),
                    "protocol": packet.protocol,
                    "source": packet.source,
                    "source_port": packet.source_port,
                    "destination": packet.destination,
                    "destination_port": packet.destination_port,
                    "length": packet.length,
                    "payload_bytes": packet.payload_length,
                    "payload": readable(packet.payload, 64),
                }
            )
    return {**traffic.summary(), "rows": rows, "count": traffic.packets}


def _chosen(packets: Iterable[Packet], options: Options) -> Iterable[Packet]:
    ports = options.ports
    if ports is None:
        return packets
    return (p for p in packets if p.source_port in ports or p.destination_port in ports)
