"""`ping -n` of iputils."""

from __future__ import annotations

import re
from typing import Any, Final

# Every part is bounded: what is searched for may be tried at each place of a hostile output.
_COUNTS: Final = re.compile(
    r"(?P<sent>\d{1,18}) packets transmitted, (?P<received>\d{1,18}) received.{0,200}?"
    r"(?P<loss>[\d.]{1,20})% packet loss"
)
_TIME: Final = r"[\d.]{1,20}"
_RTT: Final = re.compile(
    rf"= (?P<min>{_TIME})/(?P<avg>{_TIME})/(?P<max>{_TIME})/(?P<mdev>{_TIME}) ms"
)


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
