"""`traceroute -n`: a line per hop; `*` for a probe without a response."""

from __future__ import annotations

import re
from typing import Any, Final

_TARGET: Final = re.compile(r"traceroute to (\S+) \(([^)]+)\)")
_HOP: Final = re.compile(r"\s*(\d+)\s+(.*)")
_PART: Final = re.compile(
    r"(?P<time>[\d.]+) ms|(?P<lost>\*)|(?P<mark>![A-Z0-9]*)|(?P<address>[0-9a-fA-F.:]+)"
)


def parse(stdout: str) -> dict[str, Any]:
    """The hops with the addresses that responded; `reached` if the target did."""
    target = _TARGET.search(stdout)
    if target is None:
        raise ValueError("no header line")
    hops = [
        _hop(int(found[1]), found[2])
        for found in map(_HOP.fullmatch, stdout[target.end() :].split("\n")[1:])
        if found is not None
    ]
    reached = bool(hops) and any(probe["address"] == target[2] for probe in hops[-1]["probes"])
    return {"target": target[1], "address": target[2], "hops": hops, "reached": reached}


def _hop(number: int, text: str) -> dict[str, Any]:
    probes: list[dict[str, Any]] = []
    address: str | None = None
    for part in _PART.finditer(text):
        if part["address"]:
            address = part["address"]
        elif part["time"]:
            probes.append({"address": address, "rtt_ms": float(part["time"])})
        elif part["lost"]:
            probes.append({"address": None, "rtt_ms": None})
    return {"hop": number, "probes": probes}
