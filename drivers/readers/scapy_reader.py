"""Reads a capture with scapy and writes JSON: a program of its own, started by the executor.

Nothing is sent, and nothing in the packets is executed: the operations are fixed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

_TEXT = 200


def main() -> int:
    """Write one JSON object; the exit code is 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--operation", choices=sorted(_OPERATIONS), required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--packets", type=int, required=True)
    parser.add_argument("path")
    given = parser.parse_args()
    from scapy.all import PcapReader

    with PcapReader(given.path) as packets:
        found = _OPERATIONS[given.operation](islice(packets, given.packets), given.limit)
    json.dump({"operation": given.operation, **found}, sys.stdout)
    return 0


def _summary(packets: Iterator[Any], limit: int) -> dict[str, Any]:
    layers: Counter[str] = Counter()
    size, number = 0, 0
    lines: list[str] = []
    for packet in packets:
        number += 1
        size += len(packet)
        layers.update({layer.__name__ for layer in packet.layers()})
        if len(lines) < limit:
            lines.append(packet.summary()[:_TEXT])
    return {"packets": number, "bytes": size, "layers": dict(layers), "rows": lines}


def _packets(packets: Iterator[Any], limit: int) -> dict[str, Any]:
    rows = [
        {"at": float(packet.time), "layers": [_layer(layer) for layer in _each(packet)]}
        for packet in islice(packets, limit)
    ]
    return {"packets": len(rows), "rows": rows}


def _sessions(packets: Iterator[Any], limit: int) -> dict[str, Any]:
    from scapy.all import PacketList

    every = PacketList(list(packets))
    rows: list[dict[str, Any]] = [
        {"session": name, "packets": len(items), "bytes": sum(len(item) for item in items)}
        for name, items in every.sessions().items()
    ]
    rows.sort(key=lambda row: -row["bytes"])
    return {"packets": len(every), "session_count": len(rows), "rows": rows[:limit]}


def _each(packet: Any) -> Iterator[Any]:
    for index in range(len(packet.layers())):
        yield packet.getlayer(index)


def _layer(layer: Any) -> dict[str, Any]:
    return {
        "name": layer.name,
        "fields": {name: _value(value) for name, value in layer.fields.items()},
    }


def _value(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, bytes):
        return value[:_TEXT].decode("latin-1").encode("unicode_escape").decode()
    return str(value)[:_TEXT]


_OPERATIONS = {"summary": _summary, "packets": _packets, "sessions": _sessions}

if __name__ == "__main__":
    sys.exit(main())
