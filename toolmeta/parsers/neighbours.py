"""Lists of neighbours on a network: arp-scan in our format, and netdiscover's `-P`."""

from __future__ import annotations

import re
from typing import Any, Final

_LINE: Final = re.compile(
    r"\s*(?P<address>\d+\.\d+\.\d+\.\d+)\s+(?P<mac>[0-9a-fA-F:]{17})\s+"
    r"(?P<count>\d+)\s+(?P<bytes>\d+)\s+(?P<vendor>.*?)\s*"
)


def arp_scan(stdout: str) -> dict[str, Any]:
    """`address TAB mac TAB rtt TAB vendor`; one address with two MACs is a duplicate."""
    hosts: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        words = line.split("\t")
        if len(words) < 4:
            continue
        address, mac, rtt, vendor = words[:4]
        hosts.append(
            {
                "address": address.strip(),
                "mac_address": mac.lower(),
                "rtt_ms": float(rtt) if rtt else None,
                "vendor": _vendor(vendor),
            }
        )
    return _with_duplicates(hosts)


def netdiscover(stdout: str) -> dict[str, Any]:
    """Address, MAC, count, bytes and vendor, each pair of addresses once."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for found in filter(None, map(_LINE.fullmatch, stdout.split("\n"))):
        latest[found["address"], found["mac"].lower()] = {
            "address": found["address"],
            "mac_address": found["mac"].lower(),
            "arp_packets": int(found["count"]),
            "vendor": _vendor(found["vendor"]),
        }
    return _with_duplicates(list(latest.values()))


def _vendor(text: str) -> str | None:
    return None if not text.strip() or text.lower().lstrip("(").startswith("unknown") else text


def _with_duplicates(hosts: list[dict[str, Any]]) -> dict[str, Any]:
    macs: dict[str, set[str]] = {}
    for host in hosts:
        macs.setdefault(host["address"], set()).add(host["mac_address"])
    duplicates = sorted(address for address, several in macs.items() if len(several) > 1)
    return {"hosts": hosts, "count": len(macs), "duplicate_addresses": duplicates}
