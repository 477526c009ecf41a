"""Delays: from the time of an event until it was handed to a connection."""

from __future__ import annotations

from collections.abc import Sequence

from api.live import metrics
from api.live.records import LiveEvent
from runtime import clock
from streams.timestamps import unix


def sent(events: Sequence[LiveEvent]) -> None:
    """Measure the oldest of those that were sent together."""
    if not events:
        return
    try:
        began = unix(events[0].at)
    except ValueError:
        return
    metrics.DELAY.observe(max(clock.now() - began, 0.0))
