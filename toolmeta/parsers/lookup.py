"""`host`: one sentence per record."""

from __future__ import annotations

import re
from typing import Any, Final

_SENTENCES: Final = {
    " has address ": "A",
    " has IPv6 address ": "AAAA",
    " is an alias for ": "CNAME",
    " mail is handled by ": "MX",
    " name server ": "NS",
    " domain name pointer ": "PTR",
    " has SOA record ": "SOA",
    " has SRV record ": "SRV",
    " has CAA record ": "CAA",
    " descriptive text ": "TXT",
}
_NOT_FOUND: Final = re.compile(r"^Host \S+ not found: \d+\((\w+)\)$", re.M)


def parse(stdout: str) -> dict[str, Any]:
    """The records; the status is `NOERROR` or why there are none."""
    records: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        if " " not in line:
            continue
        for sentence, kind in _SENTENCES.items():
            name, found, data = line.partition(sentence)
            if found and " " not in name:
                records.append({"name": name, "type": kind, "data": data})
                break
    missing = _NOT_FOUND.search(stdout)
    return {
        "status": missing[1] if missing is not None else "NOERROR",
        "records": records,
        "count": len(records),
        "addresses": [item["data"] for item in records if item["type"] in ("A", "AAAA")],
    }
