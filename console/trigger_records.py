"""Triggers on the cluster: what the router keeps of them, and whether their topics are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.exits import Exit, Failure
from console.starter_commands import Commanded
from processors.triggers.state import PREFIX, TriggerState, decode
from streams.timestamps import iso
from streams.topics import TRIGGER_COMMANDS, TRIGGERS_STATE

if TYPE_CHECKING:
    from runtime.settings import CommonSettings

TOPICS = Commanded(TRIGGER_COMMANDS, TRIGGERS_STATE, PREFIX, lambda value: decode(value).followed)


@dataclass(frozen=True, slots=True)
class Known:
    """A trigger that is applied, and whether its topic is there."""

    state: TriggerState
    has_topic: bool

    @property
    def status(self) -> str:
        """What it does now, in a word or two."""
        if self.state.paused:
            return "paused"
        return "active" if self.has_topic else "topic missing"

    @property
    def document(self) -> dict[str, Any]:
        """What programs are told of it."""
        state = self.state
        assert state.trigger is not None  # `read` leaves removed ones out  # noqa: S101
        error = state.last_error
        return {
            "name": state.name,
            "status": self.status,
            "paused_reason": state.paused_reason,
            "applied_by": state.actor,
            "signed": state.kid is not None,
            "applied_at": iso(state.applied_at),
            "counts": state.counts,
            "last_error": None
            if error is None
            else {
                "at": iso(error.at), "field": error.field, "error": error.error,
                "record": error.record,
            },
            "history": [
                {
                    "at": iso(one.at), "what": one.what, "cause": one.cause, "count": one.count,
                    "execution_id": one.execution_id,
                }
                for one in reversed(state.history)
            ],
            "trigger": state.trigger.model_dump(mode="json", exclude_none=True),
        }  # fmt: skip


def read(settings: CommonSettings, tenant: str) -> dict[str, Known]:
    """The triggers of a tenant by name, removed ones left out; raises Failure."""
    from confluent_kafka import KafkaException

    from console import broker
    from runtime.kafka import clients
    from runtime.kafka.restore import read_changelog

    numbers = range(broker.partitions(settings, TRIGGERS_STATE))
    latest: dict[bytes, bytes | None] = {}
    try:
        for _, key, value in read_changelog(settings, TRIGGERS_STATE, numbers):
            latest[key] = value
    except KafkaException as error:
        name = clients.topic_name(settings, TRIGGERS_STATE)
        raise broker.refused(settings, name, error) from None
    try:
        states = [decode(value) for value in latest.values() if value is not None]
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(
            f"the records of {TRIGGERS_STATE.name} are of another version", Exit.FAILED
        ) from error
    topics = broker.probe(settings).topics
    return {
        state.name: Known(state, state.trigger.topic in topics)
        for state in sorted(states, key=lambda one: one.name)
        if state.tenant == tenant and state.trigger is not None
    }
