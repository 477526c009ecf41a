"""The clock: wall time in UTC for what is written down, monotonic time for durations."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=64)
def iso(unix_seconds: float) -> str:
    """A moment as RFC 3339 text in UTC with milliseconds."""
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> float:
    """Unix seconds, UTC."""
    return time.time()


def parse(text: str) -> float:
    """Unix seconds of an RFC 3339 text; raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


monotonic = time.monotonic
