"""The projector's numbers for Prometheus; labels never carry the id of an execution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector

from processors.progress.windows import Windows

EVENTS: Final = Counter(
    "runstream_projector_events_total",
    "Events read, by what they did: folded, gap, duplicate, after_end, unknown, poison.",
    ["outcome"],
)
SNAPSHOTS: Final = Counter(
    "runstream_projector_snapshots_total", "Progress snapshots delivered to the broker."
)
BREACHES: Final = Counter(
    "runstream_sla_breaches_total", "Executions whose SLA was broken.", ["sla_class"]
)
LIVE: Final = Gauge("runstream_projector_live_executions", "Executions that have not ended.")
BEHIND: Final = Gauge(
    "runstream_projector_behind_seconds",
    "Age of the newest event when it was folded, by the broker's clock.",
)


class WindowCollector(Collector):
    """Shows the last hour's counts at each scrape."""

    def __init__(self, windows: Windows) -> None:
        """Show what `windows` holds."""
        self._windows = windows

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family per kind of label."""
        executions = GaugeMetricFamily(
            "runstream_last_hour_executions",
            "Executions that ended within the last hour, seen since the projector's start.",
            labels=["tenant", "status"],
        )
        attempts = GaugeMetricFamily(
            "runstream_last_hour_attempts",
            "Attempts that ended within the last hour, seen since the projector's start.",
            labels=["tool", "status"],
        )
        # Copied in one step: the event loop's thread goes on counting.
        for (kind, name, outcome), count in dict(self._windows.totals).items():
            (executions if kind == "tenant" else attempts).add_metric([name, outcome], count)
        yield executions
        yield attempts


def show(windows: Windows) -> WindowCollector:
    """Register the windows with the process's metrics; the result is for `hide`."""
    collector = WindowCollector(windows)
    REGISTRY.register(collector)
    return collector


def hide(collector: WindowCollector) -> None:
    """Take the windows out of the process's metrics."""
    REGISTRY.unregister(collector)
