"""The fold: from the events of an execution to its progress. Pure and deterministic.

`fold` tolerates duplicates (a number already seen changes nothing) and gaps (it goes on with what
is known). A step has the percent that its attempt has reported, 100 once it has ended in whatever
way, and 0 where nothing is known; what an execution shows follows from its steps and from earlier
runs when its snapshot is made (`snapshot.py`), and is 100 exactly when it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from sys import intern
from typing import Final

from processors.progress.graph import graph_of
from processors.progress.state import HELD_BACK, Durations, Facts, Progress, StepProgress
from streams.control_payloads import NeedsAttention
from streams.events import Event
from streams.lifecycle import (
    ASIDES,
    HELD,
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
    StepStarted,
    StepSucceeded,
    Waiting,
)
from streams.payloads import StepProgress as ProgressReport
from streams.timestamps import unix
from streams.waits import MESSAGE_LENGTH, STEP_WAITS, Wait, execution_wait, step_wait

DONE: Final = 1000
#: Statuses in which the execution waits for a person, and its time limit with it.
_CLOCK_STOPS: Final = frozenset({"paused", "needs_attention"})

#: Statuses in which the progress of the step is unknown: its percentage stays.
_KEEPS_PERCENT: Final = frozenset({"lost", "needs_attention", "cancelling"})
_NOT_BEGUN: Final = STEP_ENDED | {"pending"}


#: Of the state: steps, total, points, durations, and what was waited.
_Steps = tuple[dict[str, StepProgress], int, int, Durations, dict[str, float] | None]


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
    if event.step is not None and event.type not in ASIDES:
        steps, total, points, durations, waited = _step(progress, event, event.step, at)
    else:
        steps, total, points = progress.steps, progress.total, progress.points
        durations, waited = progress.durations, progress.waited
    started_at, ended_at, percent = progress.started_at, None, progress.percent
    if event.type in TERMINAL_EVENTS:
        percent, ended_at = DONE, at
    elif event.type == "execution.started" and started_at is None:
        started_at = at
    status = execution_status(progress.status, event) or progress.status
    paused_at, paused_seconds = progress.paused_at, progress.paused_seconds
    wait = progress.wait
    if status in HELD or wait is not None:
        wait = execution_wait(wait, event, status)
        waited = _with_wait(waited, progress.wait, wait, at)
        if status in _CLOCK_STOPS:
            paused_at = at if paused_at is None else paused_at
        elif paused_at is not None and status != progress.status:
            paused_seconds, paused_at = paused_seconds + at - paused_at, None
    deadline = progress.facts.deadline
    return Progress(
        facts=progress.facts,
        seq=event.seq,
        status=status,
        steps=steps,
        total=total,
        updated_at=at if at > progress.updated_at else progress.updated_at,
        points=points,
        percent=percent,
        started_at=started_at,
        ended_at=ended_at,
        breached=progress.breached or (deadline is not None and at > deadline),
        finally_at=at if event.type == "execution.finally_started" else progress.finally_at,
        paused_at=paused_at,
        paused_seconds=paused_seconds,
        wait=wait,
        waited=waited,
        durations=durations,
    )


def _begin(event: Event, at: float) -> Progress:
    """The state before the first event that is read, which usually is `execution.accepted`."""
    steps: dict[str, StepProgress] = {}
    facts = Facts(event.execution_id, intern(event.tenant), None, at, None, None)
    data = event.data
    if isinstance(data, Accepted):
        carried = data.carried or {}
        for spec in data.plan.roots:
            done = spec.id in carried
            steps[intern(spec.id)] = StepProgress(
                intern(spec.tool), "succeeded" if done else "pending", percent=100 if done else 0
            )
        facts = Facts(
            execution_id=event.execution_id,
            tenant=intern(event.tenant),
            name=data.name,
            accepted_at=at,
            sla_class=intern(data.sla_class),
            deadline=at + data.sla_seconds,
            procedure=None if data.procedure is None else intern(data.procedure.name),
            timeout_seconds=data.timeout_seconds,
            finally_seconds=data.plan.finally_seconds,
            finally_from=len(data.plan.steps),
            graph=graph_of(data.plan),
        )
    elif isinstance(data, Rejected):
        facts = replace(facts, name=data.name)
    return Progress(
        facts=facts,
        seq=event.seq,
        status="approved",
        steps=steps,
        total=len(steps),
        updated_at=at,
        points=sum(step.percent for step in steps.values()),
    )


def _step(before: Progress, event: Event, name: str, at: float) -> _Steps:
    """The part of the state that the events of steps change, after one of them."""
    ident, data = intern(name), event.data
    old = before.steps.get(ident)
    unseen = old is None
    if old is None:  # A gap: the first event of the step is missing.
        old = StepProgress("")
    new = _after(old, event, at, before.facts.accepted_at)
    added: Sequence[str] = ()
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
    waited = before.waited
    if old.wait is not None:
        waited = _with_wait(waited, old.wait, new.wait, at)
    return (
        steps,
        before.total + len(added) + counted_after - counted_before,
        before.points + new.percent * counted_after - old.percent * counted_before,
        durations,
        waited,
    )


def _with_wait(
    waited: dict[str, float] | None, old: Wait | None, new: Wait | None, at: float
) -> dict[str, float] | None:
    """The seconds by reason, with those of a wait that is over."""
    if old is None or (new is not None and new.since == old.since):
        return waited
    before = 0.0 if waited is None else waited.get(old.reason, 0.0)
    return {**(waited or {}), old.reason: round(before + max(0.0, at - old.since), 3)}


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


def _after(old: StepProgress, event: Event, at: float, accepted_at: float) -> StepProgress:
    """The step after one of its events."""
    data = event.data
    status = step_status(old.status, event)
    now = round(at - accepted_at, 3)
    percent, begun, ended = old.percent, old.begun, old.ended
    target, acting, timeout, expires = old.target, old.acting, old.timeout, old.expires
    if begun < 0 and status not in _NOT_BEGUN:
        begun = now
    if status in STEP_ENDED:
        percent = 100
        if ended < 0:
            ended = now
            acting = expires = -1.0
            timeout = 0.0
            if begun < 0 and isinstance(data, StepSucceeded | StepFailed):
                begun = round(max(0.0, now - data.duration_seconds), 3)
    elif status == "running":
        same_attempt = event.attempt is None or event.attempt == old.attempt
        percent = old.percent if same_attempt and old.status == "running" else 0
        if isinstance(data, ProgressReport) and data.percent is not None:
            percent = max(percent, min(99, int(data.percent)))
        if isinstance(data, StepStarted) or event.type == "step.resumed":
            acting, expires = now, -1.0
    elif status not in _KEEPS_PERCENT:
        percent, acting = 0, -1.0
        if isinstance(data, Dispatched):
            target = None if data.target is None else intern(data.target[:MESSAGE_LENGTH])
            timeout = data.timeout_seconds
            expires = round(unix(data.expires_at) - accepted_at, 3)
    wait, waited, held = old.wait, old.waited, old.held
    if wait is not None or status in STEP_WAITS:
        wait = step_wait(old.wait, event, status)
        if old.wait is not None and (wait is None or wait.since != old.wait.since):
            seconds = max(0.0, at - old.wait.since)
            waited = round(waited + seconds, 3)
            held = round(held + seconds, 3) if old.wait.reason in HELD_BACK else held
    return StepProgress(
        old.tool or (intern(data.tool) if isinstance(data, Dispatched) else ""),
        status,
        event.attempt if event.attempt is not None else old.attempt,
        percent,
        _message(data),
        old.children,
        begun,
        ended,
        waited,
        held,
        wait,
        target,
        acting,
        timeout,
        expires,
        old.polls + isinstance(data, Polled),
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
    return text[:MESSAGE_LENGTH] if text else None
