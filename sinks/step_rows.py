"""What the events of a step change, one function per type; pure."""

from __future__ import annotations

from typing import Any, Final

from sinks.patches import Handler, Patch, Patches, moment_of, number, put, settle, text
from sinks.records import EventRow


def _waiting(patches: Patches, execution: Patch, event: EventRow) -> None:
    step = patches.step(event)
    reason = text(event.data.get("message")) or text(event.data.get("reason"))
    settle(step, "waiting", reason=reason, until=moment_of(event.data.get("until")))


def _expanded(patches: Patches, execution: Patch, event: EventRow) -> None:
    step = patches.step(event)
    settle(step, "running")
    step.setdefault("started_at", event.at)
    names = event.data.get("steps")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str):
            item = patches.step(event, name)
            put(item, parent=step["step"], tool=step.get("tool"), step_index=step.get("step_index"))
            settle(item, "pending")


def _compensation(patches: Patches, execution: Patch, event: EventRow) -> None:
    name = text(event.data.get("by"))
    if name is not None:
        step = patches.step(event, name)
        put(step, undoes=event.step, tool=text(event.data.get("tool")))
        settle(step, "pending")


def _dispatched(patches: Patches, execution: Patch, event: EventRow) -> None:
    data = event.data
    tool, domain, target = (text(data.get(name)) for name in ("tool", "domain", "target"))
    expires_at = moment_of(data.get("expires_at"))
    step = patches.step(event)
    settle(step, "dispatched")
    put(step, tool=tool, domain=domain, target=target, attempt=event.attempt, percent=0)
    put(step, input_data=data.get("parameters"))
    attempt = patches.attempt(event)
    put(attempt, tool=tool, domain=domain, target=target, status="dispatched")
    put(attempt, dispatched_at=event.at, expires_at=expires_at)
    queued = patches.queued(event)
    put(queued, tool=tool, domain=domain, target=target, status="dispatched")
    put(queued, enqueued_at=event.at, expires_at=expires_at, topic=text(data.get("topic")))
    put(queued, lease_seconds=number(data.get("lease_seconds")))


def _started(patches: Patches, execution: Patch, event: EventRow) -> None:
    executor = text(event.data.get("executor"))
    step = patches.step(event)
    settle(step, "running")
    step.setdefault("started_at", event.at)
    put(step, executor=executor, attempt=event.attempt)
    put(patches.attempt(event), executor=executor, status="running", started_at=event.at)
    put(patches.queued(event), executor=executor, status="running", claimed_at=event.at)


def _progress(patches: Patches, execution: Patch, event: EventRow) -> None:
    percent, message = number(event.data.get("percent")), text(event.data.get("message"))
    put(patches.step(event), percent=percent, progress_message=message)


def _close(patches: Patches, event: EventRow, status: str) -> Patch:
    """End the attempt that the event names; returns its patch."""
    data = event.data
    patches.unqueue(event)
    attempt = patches.attempt(event)
    put(attempt, status=status, completed_at=event.at)
    put(attempt, stdout=data.get("stdout"), stderr=data.get("stderr"))
    put(attempt, duration_seconds=number(data.get("duration_seconds")))
    return attempt


def _succeeded(patches: Patches, execution: Patch, event: EventRow) -> None:
    put(_close(patches, event, "succeeded"), final=True)
    step = patches.step(event)
    seconds = number(event.data.get("duration_seconds"))
    settle(step, "succeeded", at=event.at, seconds=seconds)
    put(step, output_data=event.data.get("output"), percent=100)


def _failed(patches: Patches, execution: Patch, event: EventRow) -> None:
    data = event.data
    status = event.type.removeprefix("step.")
    given = data.get("error")
    fault: dict[str, Any] = given if isinstance(given, dict) else {}
    error = (text(fault.get("class")), text(fault.get("message")))
    final = data.get("final") is not False
    attempt = _close(patches, event, status)
    put(attempt, final=final, transient=fault.get("transient") is True)
    put(attempt, error_class=error[0], error_message=error[1], output=data.get("output"))
    # A step that gets another attempt has not ended.
    at = event.at if final else None
    seconds = number(data.get("duration_seconds")) if final else None
    settle(patches.step(event), status, at=at, seconds=seconds, error=error)


def _retry(patches: Patches, execution: Patch, event: EventRow) -> None:
    following, most = event.data.get("next_attempt"), event.data.get("max_attempts")
    reason = f"back-off before attempt {following} of {most}"
    settle(patches.step(event), "waiting", reason=reason, until=moment_of(event.data.get("at")))


def _lost(patches: Patches, execution: Patch, event: EventRow) -> None:
    executor = text(event.data.get("executor")) or "the executor"
    seconds = number(event.data.get("lease_seconds"))
    silence = f"for {seconds:g} s" if seconds is not None else "for longer than its lease"
    message = f"{executor} was silent {silence}; nobody knows what became of the attempt"
    put(_close(patches, event, "lost"), error_class="lost", error_message=message)
    settle(patches.step(event), "lost", reason=message, error=("lost", message))


def _needs_attention(patches: Patches, execution: Patch, event: EventRow) -> None:
    message = text(event.data.get("message"))
    error = ("needs_attention", message)
    settle(patches.step(event), "needs_attention", reason=message, error=error)


def _cancelled(patches: Patches, execution: Patch, event: EventRow) -> None:
    data = event.data
    given = data.get("evidence")
    evidence = given if isinstance(given, dict) else {}
    attempt = _close(patches, event, "cancelled")
    put(attempt, evidence={**evidence, "confirmed": data.get("confirmed") is True}, final=True)
    settle(patches.step(event), "cancelled", reason=text(data.get("reason")), at=event.at)


def _skipped(patches: Patches, execution: Patch, event: EventRow) -> None:
    settle(patches.step(event), "skipped", reason=text(event.data.get("reason")), at=event.at)


def _compensated(patches: Patches, execution: Patch, event: EventRow) -> None:
    reason = f"undone by {text(event.data.get('by'))}"
    settle(patches.step(event), "compensated", reason=reason, at=event.at)


#: Types that are absent change the log, the last number and nothing else. So does, on purpose,
#: `step.late_result`: a report of an attempt that no longer counts.
STEP_HANDLERS: Final[dict[str, Handler]] = {
    "step.waiting": _waiting,
    "step.expanded": _expanded,
    "step.compensation_scheduled": _compensation,
    "step.dispatched": _dispatched,
    "step.started": _started,
    "step.progress": _progress,
    "step.succeeded": _succeeded,
    "step.failed": _failed,
    "step.timed_out": _failed,
    "step.retry_scheduled": _retry,
    "step.lost": _lost,
    "step.needs_attention": _needs_attention,
    "step.cancelled": _cancelled,
    "step.skipped": _skipped,
    "step.compensated": _compensated,
}
