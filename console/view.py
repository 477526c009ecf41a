"""The state of one execution for display: a fold of its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reading.text import count, people, seconds
from streams.control_payloads import (
    ApprovalGiven,
    ApprovalRequested,
    By,
    CancelRequested,
    NeedsAttention,
    Resumed,
)
from streams.events import Event
from streams.lifecycle import (
    ASIDES,
    STEP_ENDED,
    STEP_FAILED,
    TERMINAL_EVENTS,
    execution_status,
    step_status,
)
from streams.payloads import (
    Accepted,
    Compensated,
    CompensationScheduled,
    CompensationSkipped,
    Dispatched,
    Ended,
    Expanded,
    Polled,
    Rejected,
    RetryScheduled,
    Skipped,
    StepCancelled,
    StepCancelRequested,
    StepFailed,
    StepLost,
    StepProgress,
    StepStarted,
    StepSucceeded,
    Waiting,
)
from streams.reports import StreamSummary
from streams.waits import Wait, execution_wait, step_wait


@dataclass(slots=True)
class StepView:
    """The state of one step; times are Unix seconds."""

    step: str
    tool: str = ""
    status: str = "pending"
    attempt: int = 0
    percent: float | None = None
    #: Why it waits, what it does, or why it failed.
    message: str = ""
    started: float | None = None
    seconds: float | None = None
    #: Of the last attempt that ended, a failed one too.
    output: Any = None
    error_class: str | None = None
    stdout: StreamSummary | None = None
    stderr: StreamSummary | None = None
    wait: Wait | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status in STEP_ENDED

    @property
    def failed(self) -> bool:
        """Whether it ended without success or its outcome is unknown."""
        return self.status in STEP_FAILED or self.status in ("lost", "needs_attention")


@dataclass(slots=True)
class ExecutionView:
    """The state of one execution after event `seq`."""

    execution_id: str
    tenant: str = ""
    name: str | None = None
    status: str = "submitted"
    seq: int = 0
    steps: dict[str, StepView] = field(default_factory=dict)
    #: Why the whole execution waits, in a sentence.
    message: str = ""
    #: The event that ended it.
    ended: Event | None = None
    #: Of the execution as a whole.
    wait: Wait | None = None
    #: The wait that ended with the last event, and how long it took.
    over: tuple[Wait, float] | None = None

    def apply(self, event: Event) -> bool:
        """Fold one event in; False for one that was seen before, which changes nothing."""
        if event.seq <= self.seq:
            return False
        self.seq = event.seq
        self.tenant = event.tenant
        self.status = execution_status(self.status, event) or self.status
        self.over = None
        if event.type in TERMINAL_EVENTS:
            self.ended = event
        if event.type in ASIDES:
            return True
        if event.step is not None:
            step = self.steps.setdefault(event.step, StepView(event.step))
            self._step(event, step)
            before, step.wait = step.wait, step_wait(step.wait, event, step.status)
            self._waited(before, step.wait, event)
        else:
            self._execution(event)
        before, self.wait = self.wait, execution_wait(self.wait, event, self.status)
        self._waited(before, self.wait, event)
        return True

    def _waited(self, before: Wait | None, after: Wait | None, event: Event) -> None:
        if before is not None and (after is None or after.since != before.since):
            self.over = before, max(0.0, event.unix() - before.since)

    def _execution(self, event: Event) -> None:
        match event.data:
            case Accepted() as data:
                self.name = data.name
                carried = data.carried or {}
                for spec in data.plan.roots:
                    step = self.steps.setdefault(spec.id, StepView(spec.id, tool=spec.tool))
                    if spec.id in carried:
                        step.status, step.output = "succeeded", carried[spec.id]
                        step.message = f"carried over from {data.rerun_of}"
            case ApprovalRequested(requested_by=actor, level=level):
                self.message = f"waits for approval by {people(level)} other than {actor}"
            case By(actor=actor) if event.type == "execution.paused":
                self.message = f"paused by {actor}"
            case ApprovalGiven(given=given, level=level):
                self.message = f"waits for {count(level - given, 'more approval')}"
            case By() | Resumed():
                self.message = ""
            case CancelRequested(actor=actor):
                self.message = f"{actor} requested its cancellation"
            case NeedsAttention(message=message):
                self.message = message
            case Rejected() as data:
                self.name, self.message = data.name or self.name, data.message
            case Ended(reason=reason):
                self.message = reason or ""

    def _step(self, event: Event, step: StepView) -> None:
        before, step.status = step.status, step_status(step.status, event)
        step.attempt = event.attempt or step.attempt
        match event.data:
            case Expanded(steps=children, items=items, tools=tools):
                step.message = f"{items} steps" if tools else f"one step for each of {items} items"
                named = zip(children, tools or [step.tool] * len(children), strict=True)
                for child, tool in named:
                    self.steps.setdefault(child, StepView(child, tool=tool))
            case Dispatched(tool=tool):
                step.tool, step.message, step.percent = tool, "", None
            case StepStarted():
                step.started, step.percent = event.unix(), None
                if before != "cancelling":
                    step.message = ""
            case StepProgress(percent=percent, message=message):
                step.percent, step.message = percent, message or step.message
            case StepSucceeded() as data:
                step.percent, step.message, step.error_class = 100.0, "", None
                self._result(step, data)
            case StepFailed() as data:
                step.error_class, step.message = data.error["class"], data.error["message"]
                self._result(step, data)
            case Polled() as data:
                step.message = f"until is not true yet: {data.poll} of {data.limit} attempts"
            case RetryScheduled() as data:
                step.message = (
                    f"attempt {data.next_attempt} of {data.max_attempts} "
                    f"in {seconds(data.delay_seconds)}"
                )
            case StepLost():
                step.message = "its executor sent no heartbeat"
            case Waiting(message=text) | NeedsAttention(message=text):
                step.message = text
            case StepCancelRequested(reason=reason) | Skipped(reason=reason):
                step.message = reason
            case StepCancelled(reason=reason, confirmed=confirmed):
                step.message = reason if confirmed else f"{reason}, without proof that it stopped"
            case CompensationScheduled(by=by, tool=undo):
                step.message = f"will be undone by {by}"
                self.steps.setdefault(by, StepView(by, tool=undo or ""))
            case CompensationSkipped(reason=reason):
                step.message = f"not undone: {reason}"
            case Compensated(by=by):
                step.message = f"undone by {by}"
            case _ if event.type == "step.resumed":
                step.message = ""

    def _result(self, step: StepView, data: StepSucceeded | StepFailed) -> None:
        step.output, step.seconds = data.output, data.duration_seconds
        step.stdout, step.stderr = data.stdout, data.stderr

    def counts(self) -> dict[str, int]:
        """Steps by status."""
        result: dict[str, int] = {}
        for step in self.steps.values():
            result[step.status] = result.get(step.status, 0) + 1
        return result
