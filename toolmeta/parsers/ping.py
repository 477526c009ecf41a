"""`ping -n` of iputils."""

from __future__ import annotations

import re
from typing import Any, Final

_COUNTS: Final = re.compile(
    r"(?P<sent>\d+) packets transmitted, (?P<received>\d+) received.*?"
    r"(?P<loss>[\d.]+)% packet loss"
)
_RTT: Final = re.compile(r"= (?P<min>[\d.]+)/(?P<avg>[\d.]+)/(?P<max>[\d.]+)/(?P<mdev>[\d.]+) ms")


def parse(stdout: str) -> dict[str, Any]:
    """Packets, loss in percent and round trip times in milliseconds."""
    counts = _COUNTS.search(stdout)
    if counts is None:
        raise ValueError("no statistics line")
    rtt = _RTT.search(stdout)
    return {
        "is_reachable": int(counts["received"]) > 0,
        "packets_sent": int(counts["sent"]),
        "packets_received": int(counts["received"]),
        "packet_loss_percent": float(counts["loss"]),
        **{
            f"rtt_{name}_ms": None if rtt is None else float(rtt[name])
            for name in ("min", "avg", "max", "mdev")
        },
    }
