"""The fold: from the events of an execution to its progress. Pure and deterministic.

`fold` tolerates duplicates (a number already seen changes nothing) and gaps (it goes on with what
is known). Percent never falls and is 100 exactly when the execution has ended. The weights of a
step's statuses are those of the reference implementation: 50 while it runs (more, once it reports
more), 100 when it has ended in whatever way, 0 before; the execution shows the mean over its
steps, kept below 100 until the terminal event, and never less than it has shown before, however
many attempts are repeated or steps are added by `for_each` or to undo others.
"""

from __future__ import annotations

from sys import intern
from typing import Final, NamedTuple

from processors.progress.state import Durations, Facts, Progress, StepProgress
from streams.control_payloads import NeedsAttention
from streams.events import Event
from streams.lifecycle import (
    ASIDES,
    STEP_ENDED,
    TERMINAL_EVENTS,
    ends_step,
    execution_status,
    step_status,
)
from streams.payloads import (
    Accepted,
    Compensated,
    CompensationScheduled,
    Dispatched,
    Expanded,
    Payload,
    Polled,
    Rejected,
    RetryScheduled,
    Skipped,
    StepCancelled,
    StepFailed,
    StepSucceeded,
    Waiting,
)
from streams.payloads import StepProgress as ProgressReport

DONE: Final = 1000
RUNNING_PERCENT: Final = 50
_MESSAGE_LENGTH: Final = 200

#: Statuses in which the progress of the step is unknown: its percentage stays.
_KEEPS_PERCENT: Final = frozenset({"lost", "needs_attention", "cancelling"})


class _Steps(NamedTuple):
    """The part of the state that the events of steps change."""

    steps: dict[str, StepProgress]
    total: int
    points: int
    durations: Durations


def fold(progress: Progress | None, event: Event) -> Progress | None:
    """Progress after `event`; the same object where it is a duplicate or comes after the end.

    None where nothing is known and the event changes nothing (a duplicate request, a late result or
    an audit of an execution that is no longer remembered).
    """
    at = event.unix()
    if progress is None:
        if event.type in ASIDES:
            return None
        progress = _begin(event, at)
    elif event.seq <= progress.seq or progress.ended_at is not None:
        return progress
    changed = _Steps(progress.steps, progress.total, progress.points, progress.durations)
    if event.step is not None and event.type not in ASIDES:
        changed = _step(changed, event, event.step, at)
    started_at, ended_at = progress.started_at, None
    percent = _percent(progress.percent, changed.points, changed.total)
    if event.type in TERMINAL_EVENTS:
        percent, ended_at = DONE, at
    elif event.type == "execution.started" and started_at is None:
        started_at = at
    deadline = progress.facts.deadline
    return Progress(
        facts=progress.facts,
        seq=event.seq,
        status=execution_status(progress.status, event) or progress.status,
        steps=changed.steps,
        total=changed.total,
        updated_at=max(at, progress.updated_at),
        points=changed.points,
        percent=percent,
        started_at=started_at,
        ended_at=ended_at,
        breached=progress.breached or (deadline is not None and at > deadline),
        durations=changed.durations,
    )


def _begin(event: Event, at: float) -> Progress:
    """The state before the first event that is read, which usually is `execution.accepted`."""
    steps: dict[str, StepProgress] = {}
    name = sla_class = deadline = None
    if isinstance(event.data, Accepted):
        accepted = event.data
        carried = accepted.carried or {}
        for spec in accepted.plan.roots:
            done = spec.id in carried
            steps[intern(spec.id)] = StepProgress(
                intern(spec.tool), "succeeded" if done else "pending", percent=100 if done else 0
            )
        name, sla_class = accepted.name, intern(accepted.sla_class)
        deadline = at + accepted.sla_seconds
    elif isinstance(event.data, Rejected):
        name = event.data.name
    points = sum(step.percent for step in steps.values())
    return Progress(
        facts=Facts(
            execution_id=event.execution_id,
            tenant=intern(event.tenant),
            name=name,
            accepted_at=at,
            sla_class=sla_class,
            deadline=deadline,
        ),
        seq=event.seq,
        status="approved",
        steps=steps,
        total=len(steps),
        updated_at=at,
        points=points,
        percent=_percent(0, points, len(steps)),
    )


def _step(before: _Steps, event: Event, name: str, at: float) -> _Steps:
    ident, data = intern(name), event.data
    old = before.steps.get(ident)
    unseen = old is None
    if old is None:  # A gap: the first event of the step is missing.
        old = StepProgress("")
    new = _after(old, event)
    added: list[str] = []
    if isinstance(data, Expanded):
        # The children take the parent's place in the total, and its place in the order.
        tools = data.tools or [new.tool] * len(data.steps)
        pairs = zip(data.steps, tools, strict=False)
        fresh = [(intern(name), intern(tool)) for name, tool in pairs if name not in before.steps]
        added = [name for name, _ in fresh]
        new = new._replace(children=old.children + len(added))
    steps = {**before.steps, ident: new}
    if added and isinstance(data, Expanded):
        steps = _with_children(steps, ident, fresh)
    elif isinstance(data, CompensationScheduled) and data.by not in steps:
        added = [intern(data.by)]
        steps[added[0]] = StepProgress(intern(data.tool or ""))
    counted_before, counted_after = not unseen and not old.children, not new.children
    durations = before.durations
    if isinstance(data, StepSucceeded | StepFailed) and ends_step(event) and not new.children:
        durations = durations.add(data.duration_seconds, at)
    return _Steps(
        steps,
        before.total + len(added) + counted_after - counted_before,
        before.points + new.percent * counted_after - old.percent * counted_before,
        durations,
    )


def _with_children(
    steps: dict[str, StepProgress], parent: str, children: list[tuple[str, str]]
) -> dict[str, StepProgress]:
    ordered: dict[str, StepProgress] = {}
    for ident, state in steps.items():
        ordered[ident] = state
        if ident == parent:
            for child, tool in children:
                ordered[child] = StepProgress(tool)
    return ordered


def _after(old: StepProgress, event: Event) -> StepProgress:
    """The step after one of its events."""
    data = event.data
    status = step_status(old.status, event)
    percent = old.percent
    if status in STEP_ENDED:
        percent = 100
    elif status == "running":
        same_attempt = event.attempt is None or event.attempt == old.attempt
        percent = max(
            RUNNING_PERCENT, old.percent if same_attempt and old.status == "running" else 0
        )
        if isinstance(data, ProgressReport) and data.percent is not None:
            percent = max(percent, min(99, int(data.percent)))
    elif status not in _KEEPS_PERCENT:
        percent = 0
    return StepProgress(
        old.tool or (intern(data.tool) if isinstance(data, Dispatched) else ""),
        status,
        event.attempt if event.attempt is not None else old.attempt,
        percent,
        _message(data),
        old.children,
    )


def _message(data: Payload) -> str | None:
    """Why the step waits, what it does, or why it failed."""
    match data:
        case StepFailed():
            text: str | None = data.error["message"]
        case Polled():
            text = f"until is not true yet: {data.poll} of {data.limit} attempts"
        case RetryScheduled():
            text = f"attempt {data.next_attempt} follows after {data.delay_seconds:.1f} s"
        case ProgressReport() | Waiting() | NeedsAttention():
            text = data.message
        case Skipped() | StepCancelled():
            text = data.reason
        case Compensated():
            text = f"undone by {data.by}"
        case _:
            return None
    return text[:_MESSAGE_LENGTH] if text else None


def _percent(before: int, points: int, total: int) -> int:
    """Tenths of a percent, at most 999 until the execution ends, and never less than before."""
    return max(before, min(DONE - 1, points * 10 // total)) if total else before
