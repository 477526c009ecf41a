"""What an executor counts; labels name lanes, tools and statuses, never executions."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from runtime.metric_labels import BoundedLabel

CLAIMS: Final = Counter(
    "runstream_executor_claims_total",
    "Commands taken from a lane, by decision",
    ("domain", "lane", "decision"),
)
CLAIM_SECONDS: Final = Histogram(
    "runstream_executor_claim_seconds",
    "Time of one claim transaction",
    ("domain", "lane"),
    buckets=(0.002, 0.004, 0.006, 0.01, 0.02, 0.05, 0.1, 0.25, 0.35, 0.5, 1, 5, 10),
)
CLAIMS_FAILED: Final = Counter(
    "runstream_executor_claim_transactions_failed_total",
    "Claim transactions that did not commit at once, by outcome",
    ("domain", "lane", "outcome"),
)
RUNNING: Final = Gauge(
    "runstream_executor_running", "Attempts that hold a slot", ("domain", "lane")
)
SLOTS: Final = Gauge("runstream_executor_slots", "Slots of a lane", ("domain", "lane"))
STEP_SECONDS: Final = Histogram(
    "runstream_executor_step_seconds",
    "Time from claim to end of an attempt",
    ("tool", "status"),
    buckets=(
        *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
        *(1, 2, 5, 10, 30, 60, 300, 1800),
    ),
)
UNREPORTED: Final = Gauge(
    "runstream_executor_unreported_results", "Results that the broker does not have yet"
)
CONTROL_UNREADABLE: Final = Counter(
    "runstream_executor_control_unreadable_total", "Records of executors.control that are no cancel"
)


#: More tools than a catalogue has.
_TOOLS: Final = BoundedLabel(1_000)


@lru_cache(maxsize=4_096)
def step_seconds(tool: str, status: str) -> Histogram:
    """The series of one tool and status; finding it by labels costs more than the observation."""
    return STEP_SECONDS.labels(_TOOLS(tool), status)
