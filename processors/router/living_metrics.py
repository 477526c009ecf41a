"""What lives in a router now, for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from processors.router.living import REASONS, STUCK, Living, add
from processors.router.metrics import SLA_CLASSES
from processors.router.partition import RouterPartition
from runtime import clock
from streams.topics import DOMAINS

#: Every step of every living execution is looked at, which takes a moment where there are many:
#: whoever asks more often gets what was found before.
FRESH_SECONDS: Final = 5.0


class LivingCollector(Collector):
    """Works out the sums when they are asked for."""

    def __init__(self, partitions: Callable[[], Sequence[RouterPartition]]) -> None:
        """`partitions` gives those that are here now; called from any thread."""
        self._partitions = partitions
        self._lock = threading.Lock()
        self._found = Living()
        self._at = float("-inf")

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families, without looking at anything."""
        return _families(Living(), 0.0)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families with what is known now."""
        with self._lock:
            if clock.monotonic() - self._at > FRESH_SECONDS:
                self._found = self._look()
                self._at = clock.monotonic()
            found = self._found
        return _families(found, clock.now())

    def _look(self) -> Living:
        found = Living()
        for partition in self._partitions():
            living = list(partition.store.living.values())
            add(found, living, frozenset(list(partition.suspended)), clock.now())
        return found


def _families(found: Living, now: float) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily(
        "runstream_executions_active", "Executions that have not ended", found.executions
    )
    queued = GaugeMetricFamily(
        "runstream_steps_queued", "Attempts that are dispatched and not claimed", labels=["domain"]
    )
    oldest = GaugeMetricFamily(
        "runstream_step_queue_oldest_seconds",
        "How long the oldest attempt that nobody has claimed has waited; 0 where there is none",
        labels=["domain"],
    )
    leases = GaugeMetricFamily(
        "runstream_leases", "Attempts that an executor holds a lease for", labels=["domain"]
    )
    near = GaugeMetricFamily(
        "runstream_leases_near_expiry",
        "Leases of which less than a third is left, so that heartbeats are missing",
        labels=["domain"],
    )
    waiting = GaugeMetricFamily(
        "runstream_steps_waiting", "Steps that wait, by what for", labels=["domain", "reason"]
    )
    for domain in DOMAINS:
        queued.add_metric([domain], found.queued[domain])
        since = found.oldest_queued.get(domain)
        oldest.add_metric([domain], 0.0 if since is None else max(now - since, 0.0))
        leases.add_metric([domain], found.leases[domain])
        near.add_metric([domain], found.near_expiry[domain])
        for reason in REASONS:
            waiting.add_metric([domain, reason], found.waiting[domain, reason])
    yield from (queued, oldest, leases, near, waiting)
    yield GaugeMetricFamily(
        "runstream_approvals_waiting", "Executions that wait for approval", found.approvals
    )
    asked = found.oldest_approval
    yield GaugeMetricFamily(
        "runstream_approval_oldest_seconds",
        "How long the oldest execution that waits for approval has waited; 0 where there is none",
        0.0 if asked is None else max(now - asked, 0.0),
    )
    late = GaugeMetricFamily(
        "runstream_sla_late_executions",
        "Executions that have not ended and whose SLA is broken",
        labels=["sla_class"],
    )
    for sla_class in SLA_CLASSES:
        late.add_metric([sla_class], found.late[sla_class])
    yield late
    stuck = GaugeMetricFamily(
        "runstream_executions_stuck",
        "Executions that do not go on by themselves: needs_attention, timer_failed, overdue",
        labels=["reason"],
    )
    for reason in STUCK:
        stuck.add_metric([reason], found.stuck[reason])
    yield stuck
