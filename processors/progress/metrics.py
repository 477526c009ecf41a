"""The projector's numbers for Prometheus; labels never carry the id of an execution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector

from processors.progress.last_hour import LastHour
from processors.progress.partition import Outcome
from streams.lifecycle import ENDED, TRANSITIONS

EVENTS: Final = Counter(
    "runstream_projector_events_total",
    "Events read, by what they did: folded, gap, duplicate, after_end, unknown, poison.",
    ["outcome"],
)
SNAPSHOTS: Final = Counter(
    "runstream_projector_snapshots_total", "Progress snapshots delivered to the broker."
)
EXECUTIONS: Final = Gauge(
    "runstream_executions",
    "Executions that have not ended, by status, of the partitions that this instance holds.",
    ["status"],
)
BEHIND: Final = Gauge(
    "runstream_projector_behind_seconds",
    "Age of the newest event when it was folded, by the broker's clock.",
)
DELAY: Final = Histogram(
    "runstream_projector_delay_seconds",
    "Age of the newest event of each batch when it was folded, by the broker's clock.",
    buckets=(
        0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 30
    ),
)  # fmt: skip

# Every labelled series whose labels are known exists from the start, at 0, so that the first
# event of its kind is an increase.
for _outcome in (*get_args(Outcome), "poison"):
    EVENTS.labels(_outcome)
EXECUTIONS_BY_STATUS: Final = {
    status: EXECUTIONS.labels(status) for status in TRANSITIONS if status not in ENDED
}


class LastHourCollector(Collector):
    """Shows the last hour's counts at each scrape."""

    def __init__(self, last_hour: LastHour) -> None:
        """Show the counts of `last_hour`."""
        self._last_hour = last_hour

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
        for (kind, name, outcome), count in dict(self._last_hour.totals).items():
            (executions if kind == "tenant" else attempts).add_metric([name, outcome], count)
        yield executions
        yield attempts


def show(last_hour: LastHour) -> LastHourCollector:
    """Register the counts with the process's metrics; the result is for `hide`."""
    collector = LastHourCollector(last_hour)
    REGISTRY.register(collector)
    return collector


def hide(collector: LastHourCollector) -> None:
    """Take the counts out of the process's metrics."""
    REGISTRY.unregister(collector)
