"""Triggers: as they were applied, and what they have done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from processors.triggers.state import TriggerState, decode
from reading.compacted import CompactedTopic
from reading.models.starters import TriggerError, TriggerList, TriggerOutcome, TriggerView
from streams.topics import TRIGGERS_STATE

if TYPE_CHECKING:
    from confluent_kafka import Message

    from runtime.settings import CommonSettings


def topic(settings: CommonSettings) -> CompactedTopic[TriggerState]:
    """Triggers as they stand on their topic."""
    return CompactedTopic(settings, TRIGGERS_STATE, take)


def take(message: Message) -> TriggerState | None:
    """The trigger in a record; None where it was removed, or another version wrote it."""
    try:
        state = decode(message.value() or b"")
    except (KeyError, TypeError, ValueError):
        return None
    return None if state.trigger is None else state


def of_tenant(found: Mapping[bytes, TriggerState], tenant: str) -> dict[str, TriggerState]:
    """The triggers of a tenant, by name."""
    mine = [state for state in found.values() if state.tenant == tenant]
    return {state.name: state for state in sorted(mine, key=lambda state: state.name)}


def listing(
    found: Iterable[TriggerState], as_of: datetime, topics: Collection[str] | None
) -> TriggerList:
    """The triggers as a list; `topics` are those of the cluster, None where nobody knows them."""
    views = [view for state in found if (view := document(state, topics)) is not None]
    return TriggerList(triggers=views, as_of=as_of)


def document(state: TriggerState, topics: Collection[str] | None) -> TriggerView | None:
    """One trigger; None where it was removed."""
    trigger, error = state.trigger, state.last_error
    if trigger is None:
        return None
    return TriggerView(
        name=state.name,
        tenant=state.tenant,
        status=_status(state.paused, trigger.topic, topics),
        description=trigger.description,
        topic=trigger.topic,
        procedure=trigger.procedure,
        version=trigger.version,
        pause_reason=state.pause_reason,
        applied_by=state.actor,
        signed=state.kid is not None,
        applied_at=_moment(state.applied_at),
        counts=state.counts,
        last_error=None
        if error is None
        else TriggerError(
            at=_moment(error.at), field=error.field, error=error.error, record=error.record
        ),
        history=[
            TriggerOutcome(
                at=_moment(one.at),
                what=one.what,
                cause=one.cause,
                execution_id=one.execution_id,
                count=one.count,
            )
            for one in reversed(state.history)
        ],
        definition=trigger.model_dump(mode="json", exclude_none=True),
    )


def _status(
    paused: bool, topic: str, topics: Collection[str] | None
) -> Literal["paused", "active", "topic missing", "unknown"]:
    if paused:
        return "paused"
    if topics is None:
        return "unknown"
    return "active" if topic in topics else "topic missing"


def _moment(unix_seconds: float) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC)
