"""One clear line for each event: for logs, pipes, and pages that list them."""

from __future__ import annotations

from typing import Any

import orjson

from reading.text import brief, count, counts, one_line, people, seconds
from streams.audit_payloads import Audit, SecretsUsed
from streams.control_payloads import (
    ApprovalGiven,
    ApprovalRequested,
    By,
    CancelRequested,
    NeedsAttention,
    Resumed,
    SlaBreached,
)
from streams.events import Event, encode_event
from streams.lock_payloads import LockAcquired, LockEnded
from streams.payloads import (
    Accepted,
    Compensated,
    CompensationScheduled,
    CompensationSkipped,
    Dispatched,
    Duplicate,
    Ended,
    Expanded,
    LateResult,
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


def document(event: Event) -> dict[str, Any]:
    """The event as the JSON object on its topic."""
    found: dict[str, Any] = orjson.loads(encode_event(event))
    return found


def sentence(event: Event) -> str:
    """What happened, in one line without its time; unknown types are named, never refused."""
    if event.step is not None:
        again = f" (attempt {event.attempt})" if (event.attempt or 1) > 1 else ""
        return one_line(f"{event.step}{again} {_step(event)}", 400)
    return one_line(_execution(event), 400)


def _execution(event: Event) -> str:
    kind = event.type.removeprefix("execution.").replace("_", " ")
    match event.data:
        case Accepted() as data:
            how = f"{data.sla_class}, {data.mode}, {data.action_class}"
            return f"accepted: {count(len(data.plan.roots), 'step')} ({how})"
        case Rejected(message=message):
            return f"rejected: {message}"
        case Duplicate(actor=actor):
            return f"the same request came again from {actor}; nothing was run for it"
        case ApprovalRequested(level=level, requested_by=actor):
            return f"waits for approval by {people(level)} other than {actor}"
        case ApprovalGiven() as data:
            why = _because(data.reason)
            return f"approved by {data.actor}, {data.given} of {data.level} approvals{why}"
        case By(actor=actor, reason=reason) | Resumed(actor=actor, reason=reason):
            return f"{kind} by {actor}{_because(reason)}"
        case CancelRequested(actor=actor, reason=reason):
            return f"cancel requested by {actor}{_because(reason)}"
        case NeedsAttention(message=message):
            return f"needs attention: {message}"
        case SlaBreached() as data:
            return f"is late: its SLA ({data.sla_class}) gave it {seconds(data.sla_seconds)}"
        case SecretsUsed() as data:
            names = ", ".join(use.path for use in data.uses)
            return f"{event.step} uses the secrets {names}"
        case Audit() as data:
            answer = "allowed" if data.allowed else "refused"
            return f"{data.action} by {data.actor} {answer}{_because(data.message)}"
        case Ended() as data:
            return f"{kind} {ending(data)}"
        case LockAcquired(tokens=tokens):
            return f"locked {one_line(', '.join(tokens), 120)}"
        case LockEnded(tokens=tokens):
            what = "unlocked" if event.type == "lock.released" else "lost the lock of"
            return f"{what} {one_line(', '.join(tokens), 120)}"
    return kind


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def ending(data: Ended) -> str:
    """How long it took and what became of the steps."""
    words = f"after {seconds(data.elapsed_seconds)}"
    if data.steps:
        words += f": {counts(data.steps)}"
    if data.compensations:
        words += f"; undoing: {counts(data.compensations)}"
    return words + _because(data.reason)


def _step(event: Event) -> str:
    kind = event.type.removeprefix("step.").replace("_", " ")
    match event.data:
        case Waiting(message=message):
            return f"waits: {message}"
        case NeedsAttention(message=message):
            return f"needs attention: {message}"
        case Expanded(items=items):
            return f"becomes {count(items, 'step')}"
        case Dispatched() as data:
            target = f" for {data.target}" if data.target else ""
            return f"sent to the {data.domain} executors ({data.tool}{target})"
        case StepStarted(executor=executor):
            return f"started on {executor}"
        case StepProgress(percent=percent, message=message):
            done = "running" if percent is None else f"{percent:.0f} %"
            return f"{done} {message or ''}".rstrip()
        case StepSucceeded() as data:
            took = f"succeeded in {seconds(data.duration_seconds)}"
            result = brief(data.output)
            return f"{took}: {result}" if result else took
        case Polled() as data:
            return f"until is not true yet ({data.poll} of {data.limit} attempts)"
        case StepFailed() as data:
            after = f"{kind} after {seconds(data.duration_seconds)}"
            return f"{after}: {data.error['message']} [{data.error['class']}]"
        case RetryScheduled() as data:
            tries = f"{data.next_attempt} of {data.max_attempts}"
            return f"will be tried again in {seconds(data.delay_seconds)} (attempt {tries})"
        case StepLost(lease_seconds=lease):
            return f"lost: its executor sent no heartbeat for {seconds(lease)}"
        case StepCancelRequested(reason=reason):
            return f"stop requested: {reason}"
        case StepCancelled(reason=reason, confirmed=confirmed):
            certain = "" if confirmed else ", without proof that it stopped"
            return f"cancelled{certain}: {reason}"
        case Skipped(reason=reason):
            return f"skipped: {reason}"
        case LateResult() as data:
            told = data.error["message"] if data.error is not None else data.message
            return f"late report ignored: {data.report}{_because(told)}"
        case CompensationScheduled(by=by):
            return f"will be undone by {by}"
        case CompensationSkipped(reason=reason):
            return f"is not undone: {reason}"
        case Compensated(by=by):
            return f"undone by {by}"
    return "goes on" if event.type == "step.resumed" else kind
