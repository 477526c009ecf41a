"""`ngrep -q -t -W single`: a heading per packet, then its printable bytes."""

from __future__ import annotations

import re
from typing import Any, Final

_HEAD: Final = re.compile(
    r"(?P<kind>[A-Z?]) (?P<at>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+) "
    r"(?P<source>\S+) -> (?P<destination>\S+)"
    r"(?: \[(?P<flags>[A-Z]*)\])?(?: \d+:\d+)?(?: #\d+)?(?P<payload> .*)?"
)
_KINDS: Final = {"T": "tcp", "U": "udp", "I": "icmp", "G": "igmp"}


def parse(stdout: str) -> dict[str, Any]:
    """The packets that matched, with their ends, flags and payload as text."""
    matches: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        found = _HEAD.fullmatch(line)
        if found is not None:
            protocol = _KINDS.get(found["kind"], "other")
            source, source_port = _end(found["source"], protocol)
            destination, destination_port = _end(found["destination"], protocol)
            matches.append(
                {
                    # Run with TZ=UTC.
                    "at": found["at"].replace("/", "-", 2).replace(" ", "T") + "+00:00",
                    "protocol": protocol,
                    "source": source,
                    "source_port": source_port,
                    "destination": destination,
                    "destination_port": destination_port,
                    "flags": found["flags"] or "",
                    "payload": (found["payload"] or "").strip(),
                }
            )
        elif matches and line.startswith("  "):
            matches[-1]["payload"] = f"{matches[-1]['payload']} {line.strip()}".strip()
    return {"matches": matches, "count": len(matches)}


def _end(text: str, protocol: str) -> tuple[str, int | None]:
    """The address and the port; only TCP and UDP have one, and IPv6 addresses have colons too."""
    address, colon, port = text.rpartition(":")
    if protocol in ("tcp", "udp") and colon and port.isdigit():
        return address, int(port)
    return text, None
