"""What the events of a step change, one function per type; pure."""

from __future__ import annotations

from typing import Final

from sinks.patches import Handler, Patch, Patches, introduce, put, settle
from streams.control_payloads import NeedsAttention
from streams.events import Event
from streams.lifecycle import STEP_STATUS_AFTER
from streams.payloads import (
    Compensated,
    CompensationScheduled,
    Dispatched,
    Expanded,
    Nothing,
    Polled,
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


def _waiting(patches: Patches, event: Event, data: Waiting) -> None:
    settle(patches, event, reason=data.message or data.reason, until=data.until)
    _out(patches, event)


def _resumed(patches: Patches, event: Event, data: Nothing) -> None:
    settle(patches, event)
    _out(patches, event)


def _cancel_requested(patches: Patches, event: Event, data: StepCancelRequested) -> None:
    step = settle(patches, event, reason=data.reason)
    step["cancel_requested_at"] = event.at
    _out(patches, event)


def _expanded(patches: Patches, event: Event, data: Expanded) -> None:
    step = settle(patches, event)
    step.setdefault("started_at", event.at)
    tools: list[str | None] = [*(data.tools or ())] or [step.get("tool")] * len(data.steps)
    for name, tool in zip(data.steps, tools, strict=True):
        item = patches.step(event, name)
        put(item, parent=event.step, tool=tool, step_index=step.get("step_index"))
        introduce(item)


def _compensation(patches: Patches, event: Event, data: CompensationScheduled) -> None:
    step = patches.step(event, data.by)
    put(step, undoes=event.step, tool=data.tool)
    introduce(step)


def _dispatched(patches: Patches, event: Event, data: Dispatched) -> None:
    step = settle(patches, event)
    put(step, tool=data.tool, domain=data.domain, target=data.target, attempt=event.attempt)
    put(step, percent=0, input_data=data.parameters)
    attempt = patches.attempt(event)
    put(attempt, tool=data.tool, domain=data.domain, target=data.target)
    put(attempt, dispatched_at=event.at, expires_at=data.expires_at)
    queued = patches.queued(event)
    put(queued, tool=data.tool, domain=data.domain, target=data.target, topic=data.topic)
    put(queued, enqueued_at=event.at, expires_at=data.expires_at, lease_seconds=data.lease_seconds)
    _out(patches, event)


def _started(patches: Patches, event: Event, data: StepStarted) -> None:
    step = settle(patches, event)
    step.setdefault("started_at", event.at)
    put(step, executor=data.executor, attempt=event.attempt)
    put(patches.attempt(event), executor=data.executor, started_at=event.at)
    put(patches.queued(event), executor=data.executor, claimed_at=event.at)
    _out(patches, event)


def _out(patches: Patches, event: Event) -> None:
    """The attempt is dispatched: it and its row of the queue have the step's status."""
    status = patches.status_of(event)
    put(patches.attempt(event), status=status)
    put(patches.queued(event), status=status)


def _progress(patches: Patches, event: Event, data: StepProgress) -> None:
    put(patches.step(event), percent=data.percent, progress_message=data.message)


def _close(patches: Patches, event: Event) -> Patch:
    """End the attempt that the event names; returns its patch."""
    patches.unqueue(event)
    attempt = patches.attempt(event)
    put(attempt, status=STEP_STATUS_AFTER[event.type], completed_at=event.at)
    return attempt


def _succeeded(patches: Patches, event: Event, data: StepSucceeded) -> None:
    attempt = _close(patches, event)
    put(attempt, stdout=data.stdout, stderr=data.stderr)
    put(attempt, final=True, duration_seconds=data.duration_seconds)
    step = settle(patches, event, seconds=data.duration_seconds)
    put(step, output_data=data.output, percent=100)


def _polled(patches: Patches, event: Event, data: Polled) -> None:
    attempt = _close(patches, event)
    put(attempt, status="succeeded", stdout=data.stdout, stderr=data.stderr, output=data.output)
    put(attempt, final=False, duration_seconds=data.duration_seconds)
    reason = f"until is not true yet ({data.poll} of {data.limit} attempts)"
    settle(patches, event, reason=reason, until=data.at)


def _failed(patches: Patches, event: Event, data: StepFailed) -> None:
    error = (data.error["class"], data.error["message"])
    attempt = _close(patches, event)
    put(attempt, stdout=data.stdout, stderr=data.stderr, output=data.output)
    put(attempt, final=data.final, duration_seconds=data.duration_seconds)
    put(attempt, transient=data.error.get("transient", False))
    put(attempt, error_class=error[0], error_message=error[1])
    settle(patches, event, seconds=data.duration_seconds, error=error)


def _retry(patches: Patches, event: Event, data: RetryScheduled) -> None:
    reason = f"back-off before attempt {data.next_attempt} of {data.max_attempts}"
    settle(patches, event, reason=reason, until=data.at)


def _lost(patches: Patches, event: Event, data: StepLost) -> None:
    message = (
        f"{data.executor or 'the executor'} sent no heartbeat for {data.lease_seconds:g} s; "
        "the outcome of the attempt is unknown"
    )
    put(_close(patches, event), error_class="lost", error_message=message)
    settle(patches, event, reason=message, error=("lost", message))


def _needs_attention(patches: Patches, event: Event, data: NeedsAttention) -> None:
    settle(patches, event, reason=data.message, error=("needs_attention", data.message))


def _cancelled(patches: Patches, event: Event, data: StepCancelled) -> None:
    evidence = {**data.evidence, "confirmed": data.confirmed}
    put(_close(patches, event), evidence=evidence, output=data.output, final=True)
    settle(patches, event, reason=data.reason)


def _skipped(patches: Patches, event: Event, data: Skipped) -> None:
    settle(patches, event, reason=data.reason)


def _compensated(patches: Patches, event: Event, data: Compensated) -> None:
    settle(patches, event, reason=f"undone by {data.by}")


#: Types that are absent change the log, the last number and nothing else. So does, on purpose,
#: `step.late_result`: a report of an attempt that no longer counts.
STEP_HANDLERS: Final[dict[str, Handler]] = {
    "step.waiting": _waiting,
    "step.resumed": _resumed,
    "step.expanded": _expanded,
    "step.compensation_scheduled": _compensation,
    "step.dispatched": _dispatched,
    "step.started": _started,
    "step.progress": _progress,
    "step.succeeded": _succeeded,
    "step.polled": _polled,
    "step.failed": _failed,
    "step.timed_out": _failed,
    "step.retry_scheduled": _retry,
    "step.lost": _lost,
    "step.needs_attention": _needs_attention,
    "step.cancel_requested": _cancel_requested,
    "step.cancelled": _cancelled,
    "step.skipped": _skipped,
    "step.compensated": _compensated,
}
