"""The fold: from the events of an execution to its progress. Pure and deterministic.

`fold` tolerates duplicates (a number already seen changes nothing) and gaps (it goes on with what
is known). Percent never falls and is 100 exactly when the execution has ended. The weights of a
step's statuses are those of the reference implementation: 50 while it runs (more, once it reports
more), 100 when it has ended in whatever way, 0 before; the execution shows the mean over its
steps, kept below 100 until the terminal event, and never less than it has shown before, however
many attempts are repeated or steps are added by `for_each`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from sys import intern
from typing import Any, Final

from processors.progress.state import Facts, Pace, Progress, StepProgress
from streams.events import Event
from streams.lifecycle import STATUS_AFTER, STEP_ENDED, STEP_STATUS_AFTER, TERMINAL_EVENTS

DONE: Final = 1000
RUNNING_PERCENT: Final = 50
_MESSAGE_LENGTH: Final = 200

#: Fields of the state with their new values.
_Changes = dict[str, Any]

#: Events that may follow the end: of an execution that is not known they tell nothing.
_ASIDES: Final = frozenset({"execution.duplicate", "step.late_result", "audit.decision"})
_INTERRUPTIONS: Final = frozenset({"paused", "needs_attention"})
_ATTEMPT_FAILED: Final = frozenset({"step.failed", "step.timed_out"})
_KEEPS_PERCENT: Final = frozenset({"lost", "needs_attention"})


def fold(progress: Progress | None, event: Event) -> Progress | None:
    """Progress after `event`; the same object where it is a duplicate or comes after the end.

    None where nothing is known and the event tells nothing (a duplicate request, a late result or
    an audit of an execution that has been forgotten).
    """
    at = event.at.timestamp()
    if progress is None:
        if event.type in _ASIDES:
            return None
        progress = _begin(event, at)
    elif event.seq <= progress.seq or progress.ended_at is not None:
        return progress
    changes: _Changes = {}
    if event.type in _ASIDES:
        pass
    elif event.type.startswith("step."):
        changes = _step(progress, event, at)
    elif event.type.startswith("execution."):
        changes = _execution(progress, event, at)
    deadline = progress.facts.deadline
    return replace(
        progress,
        seq=event.seq,
        updated_at=max(at, progress.updated_at),
        breached=progress.breached or (deadline is not None and at > deadline),
        **changes,
    )


def _begin(event: Event, at: float) -> Progress:
    """The state before the first event that is seen, which usually is `execution.accepted`."""
    data = event.data if event.type == "execution.accepted" else {}
    carried = _mapping(data.get("carried"))
    steps: dict[str, StepProgress] = {}
    for number, item in enumerate(_list(_mapping(data.get("plan")).get("steps")), start=1):
        step = _mapping(item)
        ident = intern(_text(step.get("id")) or f"step_{number}")
        tool = intern(_text(step.get("tool")) or "")
        done = ident in carried
        steps[ident] = StepProgress(
            tool, "succeeded" if done else "pending", percent=100 if done else 0
        )
    sla_seconds = _number(data.get("sla_seconds"))
    points = sum(step.percent for step in steps.values())
    return Progress(
        facts=Facts(
            execution_id=event.execution_id,
            tenant=intern(event.tenant),
            name=_text(data.get("name")),
            accepted_at=at,
            sla_class=_text(data.get("sla_class")),
            deadline=None if sla_seconds is None else at + sla_seconds,
        ),
        seq=event.seq,
        status="approved",
        steps=steps,
        total=len(steps),
        updated_at=at,
        points=points,
        percent=_percent(0, points, len(steps)),
    )


def _execution(progress: Progress, event: Event, at: float) -> _Changes:
    if event.type in TERMINAL_EVENTS:
        status = STATUS_AFTER[event.type]
        return {"status": status, "percent": DONE, "ended_at": at, "resume_to": None}
    if event.type == "execution.resumed":
        now = _text(event.data.get("status")) or progress.resume_to or "running"
        return {"status": intern(now), "resume_to": None}
    after = STATUS_AFTER.get(event.type)
    if after is None:
        return {}
    resume_to = None
    if after in _INTERRUPTIONS:
        before = progress.status
        resume_to = progress.resume_to if before in _INTERRUPTIONS else before
    started_at = progress.started_at
    if event.type == "execution.started" and started_at is None:
        started_at = at
    return {"status": after, "resume_to": resume_to, "started_at": started_at}


def _step(progress: Progress, event: Event, at: float) -> _Changes:
    if event.step is None:
        return {}
    ident = intern(event.step)
    old = progress.steps.get(ident)
    new_step = old is None
    if old is None:  # A gap: the event that would have introduced the step was never seen.
        old = StepProgress(intern(_text(event.data.get("tool")) or ""))
    if event.type == "step.expanded":
        return _expand(progress, event, ident, old, new_step)
    new = _after(old, event)
    steps = {**progress.steps, ident: new}
    total = progress.total + new_step
    points = progress.points
    if not new.children:
        points += new.percent - (0 if new_step else old.percent)
    return {
        "steps": steps,
        "total": total,
        "points": points,
        "percent": _percent(progress.percent, points, total),
        "pace": _pace(progress.pace, new, event, at),
    }


def _expand(
    progress: Progress, event: Event, ident: str, parent: StepProgress, new_parent: bool
) -> _Changes:
    """The children take the parent's place in the total, and its place in the order."""
    added = {
        intern(child): StepProgress(parent.tool)
        for child in _list(event.data.get("steps"))
        if isinstance(child, str) and child not in progress.steps
    }
    children = parent.children + len(added)
    counted_before = not new_parent and not parent.children
    counted_after = not children
    now = parent._replace(status="running", percent=RUNNING_PERCENT, children=children)
    steps: dict[str, StepProgress] = {}
    for key, state in progress.steps.items():
        steps[key] = state
        if key == ident:
            steps[ident] = now
            steps.update(added)
    if new_parent:
        steps[ident] = now
        steps.update(added)
    total = progress.total + len(added) + counted_after - counted_before
    points = progress.points + now.percent * counted_after - parent.percent * counted_before
    return {
        "steps": steps,
        "total": total,
        "points": points,
        "percent": _percent(progress.percent, points, total),
    }


def _after(old: StepProgress, event: Event) -> StepProgress:
    """The step after one of its events."""
    data = event.data
    status = STEP_STATUS_AFTER.get(event.type, old.status)
    percent = old.percent
    if event.type in _ATTEMPT_FAILED and data.get("final") is False:
        pass  # Another attempt follows: this is not the end of the step.
    elif status in STEP_ENDED:
        percent = 100
    elif status == "running":
        same_attempt = event.attempt is None or event.attempt == old.attempt
        reported = _number(data.get("percent")) if event.type == "step.progress" else None
        percent = max(
            RUNNING_PERCENT,
            old.percent if same_attempt and old.status == "running" else 0,
            min(99, int(reported)) if reported is not None else 0,
        )
    elif status not in _KEEPS_PERCENT:
        percent = 0
    return StepProgress(
        old.tool or intern(_text(data.get("tool")) or ""),
        status,
        event.attempt if event.attempt is not None else old.attempt,
        percent,
        _message(event),
        old.children,
    )


def _message(event: Event) -> str | None:
    """Why the step waits, what it does, or why it failed."""
    data = event.data
    if event.type == "step.retry_scheduled":
        delay = _number(data.get("delay_seconds")) or 0.0
        return f"attempt {data.get('next_attempt')} follows after {delay:.1f} s"
    text = _text(data.get("message")) or _text(_mapping(data.get("error")).get("message"))
    if text is None and event.type == "step.skipped":
        text = _text(data.get("reason"))
    return text[:_MESSAGE_LENGTH] if text else None


def _pace(pace: Pace, step: StepProgress, event: Event, at: float) -> Pace:
    ended = event.type == "step.succeeded" or (
        event.type in _ATTEMPT_FAILED and event.data.get("final") is not False
    )
    seconds = _number(event.data.get("duration_seconds"))
    if not ended or step.children or seconds is None or seconds < 0:
        return pace
    return pace.add(seconds, at)


def _percent(before: int, points: int, total: int) -> int:
    """Tenths of a percent, at most 999 while the execution lives, and never less than before."""
    return max(before, min(DONE - 1, points * 10 // total)) if total else before


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None
