"""`ngrep -q -t -W single`: a heading per packet, then its printable bytes."""

from __future__ import annotations

import re
from typing import Any, Final

_HEAD: Final = re.compile(
    r"(?P<kind>[A-Z?]) (?P<at>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+) "
    r"(?P<source>\S+?)(?::(?P<source_port>\d+))? -> "
    r"(?P<destination>\S+?)(?::(?P<destination_port>\d+))?"
    r"(?: \[(?P<flags>[A-Z]*)\])?(?: \d+:\d+)?(?: #\d+)?(?P<payload> .*)?"
)
_KINDS: Final = {"T": "tcp", "U": "udp", "I": "icmp", "G": "igmp"}


def parse(stdout: str) -> dict[str, Any]:
    """The packets that matched, with their ends, flags and payload as text."""
    matches: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        found = _HEAD.fullmatch(line)
        if found is not None:
            matches.append(
                {
                    # Run with TZ=UTC.
                    "at": found["at"].replace("/", "-", 2).replace(" ", "T") + "+00:00",
                    "protocol": _KINDS.get(found["kind"], "other"),
                    "source": found["source"],
                    "source_port": _port(found["source_port"]),
                    "destination": found["destination"],
                    "destination_port": _port(found["destination_port"]),
                    "flags": found["flags"] or "",
                    "payload": (found["payload"] or "").strip(),
                }
            )
        elif matches and line.startswith("  "):
            matches[-1]["payload"] = f"{matches[-1]['payload']} {line.strip()}".strip()
    return {"matches": matches, "count": len(matches)}


def _port(text: str | None) -> int | None:
    return int(text) if text else None
