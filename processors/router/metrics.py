"""What the router counts of its decisions: each once, when its transaction has committed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from prometheus_client import Counter, Histogram

from processors.router.decision import Decision
from processors.router.state import Execution
from runtime.kafka.commit_counts import CommitCounts
from runtime.metric_labels import BoundedLabel
from streams.events import Event
from streams.lifecycle import TERMINAL_EVENTS
from streams.payloads import EVENT_TYPES, Rejected, StepFailed
from streams.topics import DOMAINS

REQUESTS: Final = Counter(
    "runstream_requests_total", "Requests by what became of them", ["outcome"]
)
EVENTS: Final = Counter("runstream_events_total", "Events written, by type", ["type"])
ENDED: Final = Counter(
    "runstream_executions_ended_total", "Executions and rejections by how they ended", ["status"]
)
DISPATCHED: Final = Counter("runstream_steps_dispatched_total", "Attempts dispatched", ["domain"])
STEPS: Final = Counter(
    "runstream_steps_ended_total",
    "Steps and items that ended for good, by how",
    ["domain", "tool", "status"],
)
RETRIES: Final = Counter(
    "runstream_step_retries_total",
    "Attempts that failed and that another one follows",
    ["domain", "tool"],
)
QUEUE_SECONDS: Final = Histogram(
    "runstream_step_queue_seconds",
    "From the dispatch of an attempt to its claim",
    ["domain"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
EXECUTION_SECONDS: Final = Histogram(
    "runstream_execution_seconds",
    "From the acceptance of an execution to its end",
    ["sla_class"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400),
)
LEASES_TAKEN: Final = Counter(
    "runstream_leases_taken_total", "Attempts that an executor holds a lease for", ["domain"]
)
LEASES_LOST: Final = Counter(
    "runstream_leases_lost_total", "Leases that ended without a word of the executor", ["domain"]
)
SLA: Final = Counter(
    "runstream_sla_executions_total",
    "Accepted executions that ended, by whether their SLA was met or breached",
    ["sla_class", "result"],
)
BREACHES: Final = Counter(
    "runstream_sla_breaches_total", "Executions whose SLA was broken, each once", ["sla_class"]
)
APPROVALS: Final = Counter(
    "runstream_approvals_total",
    "Approvals: asked for, given by one of several, and how the waiting ended",
    ["outcome"],
)

SLA_CLASSES: Final = ("fast", "medium", "long")
#: More tools than a catalogue has; one that is replaced under ever new names has no series each.
_TOOLS: Final = BoundedLabel(1_000)
_STEP_ENDS: Final = {
    "step.succeeded": "succeeded",
    "step.failed": "failed",
    "step.timed_out": "timed_out",
    "step.cancelled": "cancelled",
    "step.skipped": "skipped",
}
_APPROVALS: Final = {
    "execution.approval_requested": "asked",
    "execution.approval_given": "given",
    "execution.approved": "approved",
}
_ENDS_OF_APPROVAL: Final = {"not_approved": "rejected", "approval_expired": "expired"}
_OF_STEPS: Final = frozenset({*_STEP_ENDS, "step.started", "step.lost", "step.retry_scheduled"})
_OF_EXECUTIONS: Final = frozenset({*TERMINAL_EVENTS, *_APPROVALS, "execution.sla_breached"})

# Every series whose labels are known exists from the start, at 0: the first event of its kind is
# then an increase.
_EVENT: Final = {kind: EVENTS.labels(kind) for kind in EVENT_TYPES}
_END: Final = {kind: ENDED.labels(kind.removeprefix("execution.")) for kind in TERMINAL_EVENTS}
_DISPATCH: Final = {domain: DISPATCHED.labels(domain) for domain in DOMAINS}
_QUEUE: Final = {domain: QUEUE_SECONDS.labels(domain) for domain in DOMAINS}
_TAKEN: Final = {domain: LEASES_TAKEN.labels(domain) for domain in DOMAINS}
_LOST: Final = {domain: LEASES_LOST.labels(domain) for domain in DOMAINS}
_SECONDS: Final = {name: EXECUTION_SECONDS.labels(name) for name in SLA_CLASSES}
_BREACH: Final = {name: BREACHES.labels(name) for name in SLA_CLASSES}
_MET: Final = {name: SLA.labels(name, "met") for name in SLA_CLASSES}
_BREACHED: Final = {name: SLA.labels(name, "breached") for name in SLA_CLASSES}
_APPROVAL: Final = {
    name: APPROVALS.labels(name) for name in (*_APPROVALS.values(), *_ENDS_OF_APPROVAL.values())
}


def request_series(outcome: str) -> Counter:
    """The series of requests that became this."""
    return REQUESTS.labels(outcome)


@lru_cache(maxsize=8_192)
def _steps(domain: str, tool: str, status: str) -> Counter:
    """The series; finding it by its labels costs more than the count."""
    return STEPS.labels(domain, _TOOLS(tool), status)


@lru_cache(maxsize=8_192)
def _retries(domain: str, tool: str) -> Counter:
    return RETRIES.labels(domain, _TOOLS(tool))


@dataclass(frozen=True, slots=True)
class DecisionCounts:
    """Counts what the router decides."""

    counts: CommitCounts

    def written(self, kind: str) -> None:
        """An event of this type, whatever it is of."""
        self.counts.add(_EVENT[kind])
        if kind in TERMINAL_EVENTS:
            self.counts.add(_END[kind])

    def dispatched(self, domain: str) -> None:
        """A command for an attempt."""
        self.counts.add(_DISPATCH[domain])

    def decided(self, decision: Decision) -> None:
        """What the events of an execution mean."""
        for event in decision.events:
            if event.type in _OF_STEPS:
                self._step(decision, event)
            elif event.type in _OF_EXECUTIONS:
                self._execution(decision.execution, event, decision.now)

    def _step(self, decision: Decision, event: Event) -> None:
        execution = decision.execution
        step = execution.steps[event.step or ""]
        if step.is_container:
            # Of items and of the steps of a block each counts, and not what they are within.
            return
        spec, add = execution.spec(step), self.counts.add
        if event.type == "step.started":
            add(_TAKEN[spec.domain])
            waited = max(decision.now - step.dispatched_at, 0.0)
            self.counts.observe(_QUEUE[spec.domain], waited)
        elif event.type == "step.lost":
            add(_LOST[spec.domain])
        elif event.type == "step.retry_scheduled":
            add(_retries(spec.domain, spec.tool))
        elif not (isinstance(event.data, StepFailed) and not event.data.final):
            add(_steps(spec.domain, spec.tool, _STEP_ENDS[event.type]))

    def _execution(self, execution: Execution, event: Event, now: float) -> None:
        add, sla_class = self.counts.add, execution.sla_class
        if event.type == "execution.sla_breached":
            add(_BREACH[sla_class])
        elif event.type in _APPROVALS:
            add(_APPROVAL[_APPROVALS[event.type]])
        else:
            add(_BREACHED[sla_class] if execution.sla_breached else _MET[sla_class])
            self.counts.observe(_SECONDS[sla_class], max(now - execution.accepted_at, 0.0))
            if isinstance(event.data, Rejected) and event.data.reason in _ENDS_OF_APPROVAL:
                add(_APPROVAL[_ENDS_OF_APPROVAL[event.data.reason]])
