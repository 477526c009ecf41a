"""Histories of executions as the router writes them, drawn by Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from streams.events import Event, EventRecord, typed
from streams.timestamps import iso

EXECUTION = "018f3c1e-0000-8000-8000-0000deadbeef"
START = 1_800_000_000.0
TERMINAL = ("completed", "partial", "failed", "cancelled", "timed_out")


#: What each type must say, for tests to which it does not matter.
_ENDED = {"steps": {}, "elapsed_seconds": 1.0}
_FAILED = {
    "duration_seconds": 1.0,
    "error": {"class": "exit", "message": "exit code 1", "transient": False},
}
_ERROR_FREE = {"duration_seconds": 1.0}
DEFAULTS: dict[str, dict[str, Any]] = {
    "execution.accepted": {
        "plan_hash": "abc", "actor": "ci", "environment": "dev", "idempotency_key": "k",
        "mode": "immediate", "action_class": "read", "priority": 1, "timeout_seconds": 60.0,
        "approval_level": 0,
    },
    "execution.rejected": {"reason": "invalid", "message": "no"},
    "execution.approval_requested": {
        "level": 1, "plan_hash": "abc", "requested_by": "ci", "expires_at": "2027-01-16T00:00:00Z",
    },
    "execution.approved": {"actor": "ann"},
    "execution.paused": {"actor": "ops"},
    "execution.resumed": {"actor": "ops", "status": "running"},
    "execution.cancel_requested": {"actor": "ops", "reason": "wrong", "ending": "cancelled"},
    "execution.duplicate": {"idempotency_key": "k", "actor": "ci"},
    **{f"execution.{kind}": _ENDED for kind in TERMINAL},
    "step.dispatched": {
        "tool": "noop", "domain": "test", "topic": "steps.test", "parameters": {},
        "timeout_seconds": 5.0, "lease_seconds": 15.0, "expires_at": "2027-01-16T00:00:00Z",
    },
    "step.started": {"executor": "e1"},
    "step.succeeded": _ERROR_FREE,
    "step.failed": _FAILED,
    "step.timed_out": _FAILED,
    "step.lost": {"executor": "e1", "lease_seconds": 15.0, "retry_safe": True},
    "step.expanded": {"values": []},
    "step.retry_scheduled": {
        "next_attempt": 2, "max_attempts": 3, "delay_seconds": 1.0, "at": "2027-01-16T00:00:00Z",
    },
    "step.late_result": {"report": "succeeded"},
    "audit.decision": {"actor": "ann", "action": "approve", "allowed": True},
}  # fmt: skip


class Log:
    """Appends numbered events; time passes by `seconds` before each one."""

    def __init__(self, execution_id: str = EXECUTION, begun: float = START) -> None:
        self.events: list[Event] = []
        self.at = begun
        self._id = execution_id

    def add(
        self,
        kind: str,
        data: dict[str, Any] | None = None,
        *,
        step: str | None = None,
        attempt: int | None = None,
        seconds: float = 1.0,
    ) -> Event:
        self.at = round(self.at + seconds, 3)
        record = EventRecord(
            execution_id=self._id,
            seq=len(self.events) + 1,
            type=kind,
            at=iso(self.at),
            tenant="acme",
            step=step,
            attempt=attempt,
            data={**DEFAULTS.get(kind, {}), **(data or {})},
        )
        self.events.append(typed(record))
        return self.events[-1]

    def accept(self, steps: list[str], *, sla_seconds: float = 30.0, **more: Any) -> None:
        spec = {
            "tool": "noop", "domain": "test", "parameters": {}, "timeout_seconds": 5.0,
            "lease_seconds": 15.0, "max_attempts": 3, "backoff_seconds": 1.0,
            "max_backoff_seconds": 10.0, "retry_safe": True,
        }  # fmt: skip
        waits = [[], *([step] for step in steps)]
        listed = [
            {"id": step, **spec, "depends_on": after}
            for step, after in zip(steps, waits, strict=False)
        ]
        plan = {"name": "a plan", "steps": listed}
        data = {"plan": plan, "name": "a plan", "sla_class": "fast", "sla_seconds": sla_seconds}
        self.add("execution.accepted", {**data, **more})

    def run(self, step: str, seconds: float = 1.0, attempt: int = 1) -> None:
        """A step from dispatch to success."""
        self.add("step.dispatched", {"tool": "noop"}, step=step, attempt=attempt, seconds=0)
        self.add("step.started", {"executor": "e1"}, step=step, attempt=attempt, seconds=0)
        ended = {"duration_seconds": seconds}
        self.add("step.succeeded", ended, step=step, attempt=attempt, seconds=seconds)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """One execution from its acceptance to its end, with retries, fan-out, pauses and asides."""
    log = Log()
    pause = st.floats(0, 20, allow_nan=False)
    steps = [f"step_{n}" for n in range(1, draw(st.integers(1, 5)) + 1)]
    log.accept(steps, sla_seconds=draw(st.floats(1, 60)))
    if draw(st.booleans()):
        log.add("execution.approval_requested")
        log.add("execution.approved", seconds=draw(pause))
    log.add("execution.queued")
    log.add("execution.started", seconds=draw(pause))
    for step in steps:
        if draw(st.booleans()):
            log.add("execution.duplicate", {"idempotency_key": "k", "actor": "a"})
        if draw(st.integers(0, 4)) == 0:
            children = [f"{step}[{n}]" for n in range(draw(st.integers(0, 4)))]
            log.add("step.expanded", {"items": len(children), "steps": children}, step=step)
            for child in children:
                _attempts(draw, log, child)
            log.add("step.succeeded", {"duration_seconds": 1.0}, step=step)
        elif draw(st.integers(0, 4)) == 0:
            log.add("step.skipped", {"reason": "the condition is false"}, step=step)
        else:
            _attempts(draw, log, step)
        if draw(st.integers(0, 5)) == 0:
            log.add("execution.paused")
            log.add("execution.resumed", seconds=draw(pause))
    if draw(st.booleans()):
        by = f"{steps[0]}.undo"
        log.add("step.compensation_scheduled", {"by": by, "tool": "noop"}, step=steps[0])
        _attempts(draw, log, by)
        log.add("step.compensated", {"by": by}, step=steps[0])
    log.add(f"execution.{draw(st.sampled_from(TERMINAL))}")
    if draw(st.booleans()):
        log.add("step.late_result", {"report": "succeeded"}, step=steps[0], attempt=1)
    return log.events


def _attempts(draw: st.DrawFn, log: Log, step: str) -> None:
    attempts = draw(st.integers(1, 3))
    for attempt in range(1, attempts + 1):
        log.add("step.dispatched", {"tool": "noop"}, step=step, attempt=attempt)
        if draw(st.integers(0, 5)) == 0:
            log.add("step.cancel_requested", {"reason": "timed_out"}, step=step, attempt=attempt)
        log.add("step.started", {"executor": "e1"}, step=step, attempt=attempt)
        if draw(st.integers(0, 5)) == 0:
            waiting = {"reason": "target_limit", "message": "the target is busy"}
            log.add("step.waiting", waiting, step=step, attempt=attempt)
            log.add("step.resumed", step=step, attempt=attempt)
        for percent in draw(st.lists(st.floats(0, 100), max_size=3)):
            log.add("step.progress", {"percent": percent}, step=step, attempt=attempt)
        if attempt < attempts:
            error = {"class": "refused", "message": "connection refused", "transient": True}
            failed = {"duration_seconds": 1.0, "error": error, "final": False}
            log.add("step.failed", failed, step=step, attempt=attempt)
            retry = {"next_attempt": attempt + 1, "max_attempts": 3, "delay_seconds": 1.5}
            log.add("step.retry_scheduled", retry, step=step, attempt=attempt)
        elif draw(st.booleans()):
            seconds = draw(st.floats(0, 10, allow_nan=False))
            ended = {"duration_seconds": seconds}
            log.add("step.succeeded", ended, step=step, attempt=attempt, seconds=seconds)
        else:
            error = {"class": "exit", "message": "exit code 1", "transient": False}
            failed = {"duration_seconds": 1.0, "error": error, "final": True}
            log.add("step.failed", failed, step=step, attempt=attempt)
