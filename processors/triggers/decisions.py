"""Decisions about triggers: what a command changes, and whether a match starts something; pure."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

from processors.triggers.state import (
    MAX_HISTORY,
    MAX_PARTITIONS,
    MAX_SAME,
    LastError,
    Outcome,
    Position,
    TriggerState,
)
from streams.ids import mint_execution_id, route_key
from streams.procedures import record_key
from streams.started import StartedBy, mark_of
from streams.topics import DEAD_LETTERS, EVENTS, HOOKS, all_topics
from streams.triggers import Matched, MatchFailed, Trigger

#: Records of so many seconds before a change are looked at again: what was found in them by the
#: trigger as it was may have come too late.
AGAIN_SECONDS: Final = 10.0
_LONGEST_KEY: Final = 256


@dataclass(frozen=True, slots=True)
class Start:
    """A request that a match leads to."""

    execution_id: str
    idempotency_key: str
    started_by: StartedBy


def refuse_topic(topic: str, prefix: str) -> str | None:
    """Why a trigger may not be on this topic, or None; `prefix` is that of our own."""
    if not topic.startswith(prefix):
        return None
    name = topic[len(prefix) :]
    allowed = {EVENTS.name, HOOKS.name, *(one.name for one in DEAD_LETTERS.values())}
    if name in allowed or all(name != one.name for one in all_topics()):
        return None
    return (
        f"{topic} is one of Runstream's own topics, of which triggers may read {EVENTS.name}, "
        f"{HOOKS.name} and dead letters only"
    )


def apply(
    before: TriggerState | None,
    trigger: Trigger,
    tenant: str,
    actor: str,
    kid: str | None,
    now: float,
) -> TriggerState:
    """The trigger as it is from now on; what it has done is kept where it reads the same topic."""
    begin = None if trigger.begin == "earliest" else now
    state = TriggerState(tenant, trigger.name, trigger, actor, kid, now, begin, now)
    state.paused = trigger.paused
    if before is None:
        return state
    state.signed, state.followed = before.signed, before.followed
    old = before.trigger
    if old is None:
        return state
    if old.paused == trigger.paused:
        # A pause, or its end, outlasts a change of the file that does not speak of it.
        state.paused, state.pause_reason = before.paused, before.pause_reason
    if old.topic != trigger.topic:
        return state
    for name in ("decided", "same", "span_began", "span_starts", "counts", "history"):
        setattr(state, name, getattr(before, name))
    if trigger.begin == old.begin:
        state.since = before.since
        if old == trigger:
            # Applied again, by somebody else or with another key: what is under way still counts.
            state.last_error = before.last_error
            state.changed_at, state.again = before.changed_at, before.again
        else:
            state.again = now - AGAIN_SECONDS
    if before.paused and not state.paused:
        # Paused triggers miss what comes meanwhile, whichever way that ends.
        _begin(state, now)
    return state


def pause(state: TriggerState, reason: str | None) -> None:
    """Start nothing from now on."""
    state.paused, state.pause_reason = True, reason


def resume(state: TriggerState, now: float) -> None:
    """Start for the records that come from now on; of one that is not paused nothing changes."""
    if state.paused:
        state.paused, state.pause_reason = False, None
        _begin(state, now)


def _begin(state: TriggerState, now: float) -> None:
    state.since = state.changed_at = now
    state.again = None


def remove(state: TriggerState, now: float) -> TriggerState:
    """What is kept of a trigger that is gone."""
    gone = TriggerState(
        state.tenant, state.name, None, state.actor, None, state.applied_at, now, now
    )
    gone.removed_at = now
    gone.signed, gone.followed = state.signed, state.followed
    return gone


def matched(state: TriggerState, match: Matched, now: float) -> Start | None:
    """What a match starts; None where it starts nothing, which is counted."""
    trigger = state.trigger
    if trigger is None or match.definition != state.definition or state.paused:
        state.count("outdated")
        return None
    at_ms = int(match.at.timestamp() * 1_000)
    if _is_decided(state, match, at_ms):
        return None
    cause = _cause(match)
    # A timestamp ahead of the clock here would keep a window open for ever.
    moment = min(at_ms / 1_000, now)
    window = 0 if trigger.deduplicate is None else trigger.deduplicate.window_seconds
    same = None if match.same is None or not window else match.same[:32]
    if same is not None and moment - state.same.get(same, -math.inf) < window:
        _note(state, "repeated", cause, now)
        return None
    if not 0 <= now - state.span_began < trigger.limit.per_seconds:
        state.span_began, state.span_starts = now, 0
    if state.span_starts >= trigger.limit.starts:
        _note(state, "limited", cause, now)
        return None
    state.span_starts += 1
    if same is not None:
        _remember(state, same, moment, window)
    key = _idempotency_key(state.name, cause, at_ms)
    route = route_key(state.tenant, key)
    mark = mark_of("trigger", record_key(state.tenant, state.name))
    execution_id = mint_execution_id(route, int(now * 1_000), mark)
    _note(state, "started", cause, now, execution_id)
    return Start(execution_id, key, StartedBy("trigger", state.name, cause, state.kid))


def failed(state: TriggerState, failure: MatchFailed) -> None:
    """Keep what an expression failed on last."""
    if state.trigger is None or failure.definition != state.definition:
        return
    state.count("failed", failure.count)
    record = f"{failure.topic}/{failure.partition}/{failure.offset}"
    state.last_error = LastError(
        failure.at.timestamp(), failure.field, failure.error, record, failure.count
    )


def _is_decided(state: TriggerState, match: Matched, at_ms: int) -> bool:
    """Whether the record was decided before; else it is the last one from now on.

    A record that lies before the last one and is younger is of a topic that was made anew.
    """
    here = Position(match.offset, 0 if match.item is None else match.item, at_ms)
    number = str(match.partition)
    last = state.decided.get(number)
    if last is not None:
        before = (here.offset, here.item) <= (last.offset, last.item)
        if before and here.at_ms <= last.at_ms:
            return True
    if last is not None or len(state.decided) < MAX_PARTITIONS:
        state.decided[number] = here
    return False


def _remember(state: TriggerState, same: str, moment: float, window: float) -> None:
    state.same.pop(same, None)
    state.same[same] = moment
    if len(state.same) <= MAX_SAME:
        return
    newest = max(state.same.values())
    state.same = {one: at for one, at in state.same.items() if newest - at < window}
    while len(state.same) > MAX_SAME:
        state.same.pop(next(iter(state.same)))
        state.count("forgotten")


def _note(
    state: TriggerState, what: str, cause: str, now: float, execution_id: str | None = None
) -> None:
    state.count(what)
    last = state.history[-1] if state.history else None
    if last is not None and last.what == what != "started":
        last.at, last.cause, last.count = now, cause, last.count + 1
        return
    state.history = [*state.history, Outcome(now, what, cause, execution_id)][-MAX_HISTORY:]


def _cause(match: Matched) -> str:
    where = f"{match.topic}/{match.partition}/{match.offset}"
    return where if match.item is None else f"{where}/{match.item}"


def _idempotency_key(name: str, cause: str, at_ms: int) -> str:
    """With the timestamp, since a topic that is made anew begins with the same offsets."""
    key = f"trigger:{name}:{cause}@{at_ms}"
    if len(key) > _LONGEST_KEY:
        key = f"trigger:{name}:{hashlib.sha256(key.encode()).hexdigest()}"
    return key
