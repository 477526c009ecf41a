"""Triggers on the cluster: what the router keeps of them, and whether their topics are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from console import broker, starter_commands
from console.session import Session
from console.starter_commands import Kind
from processors.triggers.state import TriggerState, decode
from streams.timestamps import iso
from streams.topics import TRIGGER_COMMANDS, TRIGGERS_STATE
from streams.triggers import ApplyTrigger, PauseTrigger, RemoveTrigger, ResumeTrigger, Trigger

if TYPE_CHECKING:
    from runtime.settings import CommonSettings


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
            "pause_reason": state.pause_reason,
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


def read(session: Session) -> dict[str, Known]:
    """The triggers of the tenant by name; raises Failure."""
    found = starter_commands.read(session, TRIGGERS)
    topics = broker.probe(session.settings).topics
    return {
        name: Known(state, state.trigger.topic in topics)
        for name, state in found.items()
        if state.trigger is not None
    }


def _document(settings: CommonSettings, state: TriggerState) -> dict[str, Any]:
    assert state.trigger is not None  # it is applied  # noqa: S101
    return Known(state, state.trigger.topic in broker.probe(settings).topics).document


def _apply(tenant: str, actor: str, trigger: Trigger) -> ApplyTrigger:
    return ApplyTrigger(tenant=tenant, actor=actor, name=trigger.name, trigger=trigger)


TRIGGERS: Final = Kind(
    "trigger",
    TRIGGER_COMMANDS,
    TRIGGERS_STATE,
    decode,
    lambda state: state.trigger,
    _document,
    _apply,
    RemoveTrigger,
    PauseTrigger,
    ResumeTrigger,
)
