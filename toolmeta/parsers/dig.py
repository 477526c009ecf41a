"""`dig +noall +comments +answer +stats`."""

from __future__ import annotations

import re
from typing import Any, Final

_STATUS: Final = re.compile(r"status: (\w+)")
_FLAGS: Final = re.compile(r";; flags: ([a-z ]*);")
_TIME: Final = re.compile(r"Query time: (\d+) msec")
_SERVER: Final = re.compile(r"SERVER: (\S+?)#")


def parse(stdout: str) -> dict[str, Any]:
    """The status and the answer records; `NXDOMAIN` is a result and no failure."""
    status = _STATUS.search(stdout)
    if status is None:
        raise ValueError("no header of an answer")
    flags, time, server = (item.search(stdout) for item in (_FLAGS, _TIME, _SERVER))
    records = [
        _record(line) for line in stdout.split("\n") if line.strip() and not line.startswith(";")
    ]
    return {
        "status": status[1],
        "records": records,
        "count": len(records),
        "addresses": [item["data"] for item in records if item["type"] in ("A", "AAAA")],
        "authoritative": flags is not None and "aa" in flags[1].split(),
        "authenticated": flags is not None and "ad" in flags[1].split(),
        "query_time_ms": None if time is None else int(time[1]),
        "server": None if server is None else server[1],
    }


def _record(line: str) -> dict[str, Any]:
    name, ttl, _, kind, data = line.split(None, 4)
    return {"name": name, "ttl": int(ttl), "type": kind, "data": data.strip()}
