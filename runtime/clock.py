"""The clock: wall time in UTC for what is recorded, monotonic time for durations."""

from __future__ import annotations

import time

from streams.timestamps import iso

__all__ = ["iso", "monotonic", "now"]


def now() -> float:
    """Unix seconds, UTC, in whole milliseconds, so that decisions use exactly what is recorded."""
    return time.time_ns() // 1_000_000 / 1_000


monotonic = time.monotonic
