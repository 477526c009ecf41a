"""Moments on the wire: RFC 3339 text in UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=64)
def iso(unix_seconds: float) -> str:
    """Unix seconds as text, such as `2026-11-20T07:00:00.123Z`."""
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(text: str) -> float:
    """Text as Unix seconds; raises ValueError where it is no moment."""
    return datetime.fromisoformat(text).timestamp()
