"""Reads a capture with pyshark (which runs tshark) and writes JSON: a program of its own."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

_TEXT = 200


def main() -> int:
    """Write one JSON object; 2 where tshark refuses the display filter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--operation", choices=sorted(_OPERATIONS), required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--packets", type=int, required=True)
    parser.add_argument("--display-filter")
    parser.add_argument("path")
    given = parser.parse_args()
    import pyshark
    from pyshark.capture.capture import TSharkCrashException

    capture = pyshark.FileCapture(
        given.path, display_filter=given.display_filter, keep_packets=False
    )
    try:
        found = _OPERATIONS[given.operation](_some(capture, given.packets), given.limit)
    except TSharkCrashException as error:
        sys.stderr.write(" ".join(str(error).split())[:400])
        return 2
    finally:
        capture.close()
    json.dump({"operation": given.operation, **found}, sys.stdout)
    return 0


def _some(capture: Any, limit: int) -> Iterator[Any]:
    for number, packet in enumerate(capture):
        if number >= limit:
            return
        yield packet


def _summary(packets: Iterator[Any], limit: int) -> dict[str, Any]:
    protocols: Counter[str] = Counter()
    number, size = 0, 0
    for packet in packets:
        number += 1
        size += int(packet.length)
        protocols[packet.highest_layer] += 1
    top = dict(protocols.most_common(limit))
    return {"packets": number, "bytes": size, "protocols": top, "rows": []}


def _packets(packets: Iterator[Any], limit: int) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    number = 0
    for packet in packets:
        number += 1
        if len(rows) < limit:
            ip = getattr(packet, "ip", None) or getattr(packet, "ipv6", None)
            rows.append(
                {
                    "number": int(packet.number),
                    "at": packet.sniff_time.isoformat() + "+00:00",
                    "length": int(packet.length),
                    "protocol": packet.highest_layer,
                    "transport": packet.transport_layer,
                    "source": str(ip.src) if ip is not None else None,
                    "destination": str(ip.dst) if ip is not None else None,
                    "layers": [layer.layer_name for layer in packet.layers],
                }
            )
    return {"packets": number, "rows": rows}


def _fields(packets: Iterator[Any], limit: int) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    number = 0
    for packet in packets:
        number += 1
        if len(rows) < limit:
            rows.append(
                {
                    layer.layer_name: {
                        str(name): str(layer.get_field_value(name))[:_TEXT]
                        for name in layer.field_names[:60]
                    }
                    for layer in packet.layers
                    if layer.layer_name != "DATA"
                }
            )
    return {"packets": number, "rows": rows}


_OPERATIONS = {"summary": _summary, "packets": _packets, "fields": _fields}

if __name__ == "__main__":
    sys.exit(main())
