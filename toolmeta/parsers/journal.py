"""`journalctl --reverse --output=json`: one JSON object per line, the newest entry first.

Every value is text, or bytes as numbers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import orjson

_PRIORITIES: Final = (
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
)  # fmt: skip


def parse(stdout: str) -> dict[str, Any]:
    """The entries, the oldest first, and how many of them are errors and warnings."""
    entries = [_entry(orjson.loads(line)) for line in stdout.split("\n") if line.strip()][::-1]
    priorities = [entry["priority"] for entry in entries]
    return {
        "entries": entries,
        "count": len(entries),
        "error_count": sum(name in _PRIORITIES[:4] for name in priorities),
        "warning_count": priorities.count("warning"),
    }


def _entry(raw: dict[str, Any]) -> dict[str, Any]:
    level = str(raw.get("PRIORITY", ""))
    pid = str(raw.get("_PID", ""))
    return {
        "at": _time(raw.get("__REALTIME_TIMESTAMP")),
        "priority": _PRIORITIES[int(level)] if level in tuple("01234567") else None,
        "unit": raw.get("_SYSTEMD_UNIT") or raw.get("UNIT"),
        "identifier": _text(raw.get("SYSLOG_IDENTIFIER") or raw.get("_COMM")),
        "pid": int(pid) if pid.isdigit() else None,
        "host": raw.get("_HOSTNAME"),
        "message": _text(raw.get("MESSAGE")) or "",
    }


def _time(microseconds: Any) -> str | None:
    if microseconds is None:
        return None
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC).isoformat(timespec="milliseconds")


def _text(value: Any) -> str | None:
    # journald gives a field that is not clean UTF-8 as a list of byte values.
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return bytes(value).decode("utf-8", "replace")
    return None if value is None else str(value)
