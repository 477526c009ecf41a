"""Starting: what becomes of a moment, by what still runs; pure.

A state is changed in place; what it takes to run is returned and becomes records.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from processors.schedules.state import (
    LOST_SECONDS,
    MAX_REASON,
    MAX_RUNNING,
    Kind,
    Known,
    Outcome,
    Running,
    ScheduleState,
    Waiting,
)
from streams.schedules import StartEnded
from streams.timestamps import iso

#: The execution id for a tenant and an idempotency key.
Mint = Callable[[str, str], str]
#: The executions of one decision, in the place of which a later one is started.
_REPLACED: Final = "a later moment of its schedule takes its place"


@dataclass(frozen=True, slots=True)
class Start:
    """Run the procedure of a schedule as this execution."""

    state: ScheduleState
    execution_id: str
    cause: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Cancel an execution of a schedule."""

    state: ScheduleState
    running: Running
    reason: str = _REPLACED


@dataclass(slots=True)
class Decision:
    """What is decided at one time; no more than `budget` executions are started."""

    now: float
    mint: Mint
    budget: int
    starts: list[Start] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)

    @property
    def spent(self) -> bool:
        """Whether nothing more may be started."""
        return len(self.starts) >= self.budget


def cause_of(moment: float) -> str:
    """A moment as it stands in a request: whole seconds, milliseconds only where there are some."""
    return iso(moment).replace(".000Z", "Z")


def offer(known: Known, moment: float, kind: Kind, decision: Decision) -> None:
    """Start, keep or drop a moment that has come, as `overlap` says."""
    state = known.state
    schedule = state.schedule
    if schedule is None or _is_there(state, moment):
        return
    if schedule.overlap == "allow":
        if len(state.running) < MAX_RUNNING:
            _start(state, moment, kind, decision)
        else:
            _skip(state, moment, kind, decision.now, f"{MAX_RUNNING} executions run already")
        return
    own = [running for running in state.running if running.kind != "backfill"]
    if schedule.overlap == "skip" and own:
        message = f"the execution {own[0].execution_id} has not ended"
        _skip(state, moment, kind, decision.now, message)
        return
    if schedule.overlap == "cancel":
        for running in own:
            if not running.cancelled:
                running.cancelled = True
                decision.stops.append(Stop(state, running))
    most = 1 if schedule.overlap != "queue" else schedule.max_queued
    state.waiting.append(Waiting(moment, kind))
    while len(state.waiting) > most:
        dropped = state.waiting.pop(0)
        message = "a later moment has taken its place in the queue"
        state.note(Outcome(dropped.moment, dropped.kind, "dropped", decision.now, message=message))
    pump(known, decision)


def pump(known: Known, decision: Decision) -> None:
    """Start what waits, if nothing runs: moments first, then those of backfills."""
    state = known.state
    if state.schedule is None or state.running or decision.spent:
        return
    for index, waiting in enumerate(state.waiting):
        if not state.paused or waiting.kind == "run":
            del state.waiting[index]
            _start(state, waiting.moment, waiting.kind, decision)
            return
    while state.backfills and not state.paused and known.timing is not None:
        first = state.backfills[0]
        moment = known.timing.after(first.done)
        if moment is None or moment > first.end:
            del state.backfills[0]
            continue
        first.done = moment
        _start(state, moment, "backfill", decision)
        return


def can_pump(state: ScheduleState) -> bool:
    """Whether something waits that could be started now."""
    if state.schedule is None or state.running:
        return False
    if state.paused:
        return any(waiting.kind == "run" for waiting in state.waiting)
    return bool(state.waiting or state.backfills)


def end(known: Known, ended: StartEnded, decision: Decision) -> bool:
    """Take the end of an execution, and start what waited; False where it is not known here."""
    state = known.state
    found = next(
        (one for one in state.running if one.execution_id == ended.execution_id), None
    ) or next((one for one in state.running if one.cause == ended.cause), None)
    if found is None:
        return False
    state.running.remove(found)
    reason = None if ended.reason is None else ended.reason[:MAX_REASON]
    state.note(
        Outcome(
            found.moment, found.kind, ended.status, decision.now, ended.execution_id,
            message=reason,
        )
    )  # fmt: skip
    pump(known, decision)
    return True


def drop_lost(known: Known, decision: Decision) -> None:
    """Stop to wait for the end of executions of which nothing was heard for long."""
    state = known.state
    for running in list(state.running):
        if running.started + LOST_SECONDS > decision.now:
            continue
        state.running.remove(running)
        message = "nothing was heard of its end for 7 days"
        state.note(
            Outcome(
                running.moment, running.kind, "lost", decision.now, running.execution_id,
                message=message,
            )
        )  # fmt: skip
    pump(known, decision)


def lost_at(state: ScheduleState) -> float | None:
    """When the first of the executions counts as lost."""
    began = min((running.started for running in state.running), default=math.inf)
    return None if began == math.inf else began + LOST_SECONDS


def _is_there(state: ScheduleState, moment: float) -> bool:
    return any(one.moment == moment for one in state.running) or any(
        one.moment == moment for one in state.waiting
    )


def _skip(state: ScheduleState, moment: float, kind: Kind, now: float, message: str) -> None:
    state.note(Outcome(moment, kind, "skipped", now, message=message))


def _start(state: ScheduleState, moment: float, kind: Kind, decision: Decision) -> None:
    cause = cause_of(moment)
    key = f"schedule:{state.name}:{cause}"
    ident = decision.mint(state.tenant, key)
    state.running.append(Running(ident, cause, moment, kind, decision.now))
    decision.starts.append(Start(state, ident, cause, key))
