"""What a watcher knows of one execution: a fold of its events, made for showing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from console.text import seconds
from streams.events import Event
from streams.lifecycle import STATUS_AFTER, STEP_ENDED, STEP_STATUS_AFTER, TERMINAL_EVENTS


@dataclass(slots=True)
class StepView:
    """One step as it stands now."""

    step: str
    tool: str = ""
    status: str = "pending"
    attempt: int = 0
    percent: float | None = None
    #: Why it waits, what it does, or why it failed.
    message: str = ""
    started: datetime | None = None
    seconds: float | None = None
    output: Any = None
    error_class: str | None = None
    stderr_tail: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be expected of it."""
        return self.status in STEP_ENDED


@dataclass(slots=True)
class ExecutionView:
    """One execution as it stands after event `seq`."""

    execution_id: str
    tenant: str = ""
    name: str | None = None
    status: str = "submitted"
    seq: int = 0
    steps: dict[str, StepView] = field(default_factory=dict)
    #: Why the whole execution waits, in a sentence.
    message: str = ""
    started: datetime | None = None
    ended: Event | None = None

    def apply(self, event: Event) -> bool:
        """Fold one event in; False for one that was seen before, which changes nothing."""
        if event.seq <= self.seq:
            return False
        self.seq = event.seq
        self.tenant = event.tenant
        self.status = STATUS_AFTER.get(event.type, self.status)
        if event.type.startswith("execution."):
            self._execution(event)
        elif event.step is not None and event.type != "step.late_result":
            self._step(event, event.step)
        return True

    def _execution(self, event: Event) -> None:
        data = event.data
        match event.type:
            case "execution.accepted":
                self.started, self.name = event.at, data.get("name")
                for step in data.get("plan", {}).get("steps", []):
                    ident = str(step.get("id"))
                    self.steps.setdefault(ident, StepView(ident, tool=str(step.get("tool", ""))))
            case "execution.approval_requested":
                self.message = (
                    f"waits for approval by someone other than {data.get('requested_by')}"
                )
            case "execution.paused":
                self.message = f"paused by {data.get('actor')}"
            case "execution.needs_attention":
                self.message = str(data.get("message"))
            case "execution.approved" | "execution.resumed":
                self.message = ""
                self.status = str(data.get("status", self.status))
            case "execution.cancel_requested":
                self.message = f"{data.get('actor')} asked to cancel it"
        if event.type in TERMINAL_EVENTS:
            self.ended = event
            self.message = str(data.get("reason") or data.get("message") or "")

    def _step(self, event: Event, name: str) -> None:
        data = event.data
        step = self.steps.setdefault(name, StepView(name))
        step.status = STEP_STATUS_AFTER.get(event.type, step.status)
        step.attempt = event.attempt or step.attempt
        match event.type:
            case "step.expanded":
                step.message = f"one step for each of {data.get('items')} items"
                for child in data.get("steps", []):
                    self.steps.setdefault(child, StepView(child, tool=step.tool))
            case "step.waiting" | "step.needs_attention":
                step.message = str(data.get("message"))
            case "step.dispatched":
                step.tool = str(data.get("tool", step.tool))
                step.message, step.percent = "", None
            case "step.started":
                step.started, step.percent, step.message = event.at, None, ""
            case "step.progress":
                step.percent = data.get("percent")
                step.message = str(data.get("message") or step.message)
            case "step.succeeded":
                step.percent, step.message = 100.0, ""
                step.output, step.seconds = data.get("output"), data.get("duration_seconds")
                step.error_class = None
            case "step.failed" | "step.timed_out":
                error = data.get("error", {})
                step.error_class = error.get("class")
                step.message, step.seconds = str(error.get("message")), data.get("duration_seconds")
                stderr = data.get("stderr") or {}
                step.stderr_tail = str(stderr.get("tail") or stderr.get("head") or "")
            case "step.retry_scheduled":
                step.message = (
                    f"attempt {data.get('next_attempt')} of {data.get('max_attempts')} "
                    f"in {seconds(data.get('delay_seconds'))}"
                )
            case "step.lost":
                step.message = "its executor went silent"
            case "step.cancelled" | "step.skipped":
                step.message = str(data.get("reason"))
            case "step.compensation_scheduled":
                step.message = f"will be undone by {data.get('by')}"
            case "step.compensated":
                step.message = f"undone by {data.get('by')}"

    def counts(self) -> dict[str, int]:
        """Steps by status."""
        result: dict[str, int] = {}
        for step in self.steps.values():
            result[step.status] = result.get(step.status, 0) + 1
        return result
