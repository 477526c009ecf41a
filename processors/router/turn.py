"""One turn of the router: the events and effects that one command or moment leads to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from processors.router.evolve import accepted, evolve
from processors.router.state import Execution
from streams.timestamps import iso
from streams.topics import Topic


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Put a step command on its domain topic."""

    topic: Topic
    key: str
    command: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell the executors to end an attempt, or never to start it."""

    command: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exhaust:
    """Park a step that failed for the last time, with all its attempts."""

    topic: Topic
    key: str
    command: dict[str, Any]
    failures: list[dict[str, Any]]


Effect = Dispatch | Stop | Exhaust


@dataclass(slots=True)
class Turn:
    """Collects what is decided; every event is applied at once, so decisions can build on it."""

    execution: Execution
    now: float
    events: list[dict[str, Any]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    #: The steps that changed and must go to the changelog.
    dirty: dict[str, None] = field(default_factory=dict)
    #: The steps that ended in this turn and whose dependents are not looked at yet.
    ended: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, execution_id: str, tenant: str, data: dict[str, Any], now: float) -> Turn:
        """The turn that admits a new execution."""
        event = {
            "execution_id": execution_id,
            "seq": 1,
            "type": "execution.accepted",
            "at": iso(now),
            "tenant": tenant,
            "data": data,
        }
        turn = cls(accepted(event, now), now, events=[event])
        turn.dirty = dict.fromkeys(data.get("carried") or ())
        return turn

    def emit(
        self,
        kind: str,
        data: dict[str, Any] | None = None,
        step: str | None = None,
        attempt: int | None = None,
    ) -> None:
        """Add one event and apply it."""
        execution = self.execution
        event: dict[str, Any] = {
            "execution_id": execution.id,
            "seq": execution.seq + 1,
            "type": kind,
            "at": iso(self.now),
            "tenant": execution.tenant,
        }
        if step is not None:
            event["step"] = step
            if attempt is not None:
                event["attempt"] = attempt
        event["data"] = data if data is not None else {}
        evolve(execution, event, self.now)
        self.events.append(event)
        if step is not None:
            self.dirty[step] = None
            execution.steps[step].written = None
            if kind in _ENDS_STEP and not (data and data.get("final") is False):
                self.ended.append(step)


_ENDS_STEP = frozenset(
    {"step.succeeded", "step.failed", "step.timed_out", "step.cancelled", "step.skipped"}
)
