"""A decision: the events and effects that one record or moment leads to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from processors.router.evolve import accepted, evolve
from processors.router.sla import breach
from processors.router.state import Execution, FailedAttempt
from runtime.cel.evaluation import Spent
from streams.admitted import AdmittedStep
from streams.events import Event
from streams.lifecycle import TERMINAL_EVENTS, ends_step
from streams.locks import AnyLockCommand
from streams.payloads import Accepted, Nothing, Payload, StepFailed
from streams.timestamps import iso
from streams.topics import Topic


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Put the command of an attempt on its domain topic."""

    topic: Topic
    spec: AdmittedStep
    step: str
    attempt: int
    parameters: dict[str, Any]
    target: str | None
    expires_at: str
    fencing_tokens: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class CancelAttempt:
    """Tell the executors to end an attempt, or never to start it."""

    step: str
    attempt: int
    reason: str
    #: The instance that is meant; None: whichever has the attempt.
    executor: str | None = None


@dataclass(frozen=True, slots=True)
class AskKeeper:
    """Tell the lock keeper what the execution needs, or that it lives, or has ended."""

    command: AnyLockCommand


@dataclass(frozen=True, slots=True)
class DeadLetterStep:
    """Send a step that failed for the last time to its dead-letter topic, with its attempts."""

    topic: Topic
    spec: AdmittedStep
    step: str
    attempt: int
    target: str | None
    failures: tuple[FailedAttempt, ...]


Effect = Dispatch | CancelAttempt | AskKeeper | DeadLetterStep

_NOTHING = Nothing()


@dataclass(slots=True)
class Decision:
    """Collects what is decided; every event is applied at once, so decisions can build on it."""

    execution: Execution
    #: Unix seconds: everything in one decision happens at one moment.
    now: float
    events: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    #: The steps whose changelog record must be written.
    changed_steps: dict[str, None] = field(default_factory=dict)
    #: Whether the record of the execution itself must be written.
    head_changed: bool = False
    #: The steps that ended here and whose dependents are not looked at yet.
    ended: list[str] = field(default_factory=list)
    #: The time that its expressions have taken.
    spent: Spent = field(default_factory=Spent)
    #: The bytes of the parameters of items and of filled parameters that it sends.
    dispatched_bytes: int = 0

    @classmethod
    def accept(cls, execution_id: str, tenant: str, data: Accepted, now: float) -> Decision:
        """The decision that admits a new execution."""
        event = Event(execution_id, 1, "execution.accepted", iso(now), tenant, data)
        decision = cls(accepted(event, now), now, events=[event], head_changed=True)
        decision.changed_steps = dict.fromkeys(data.carried or ())
        return decision

    def tell_breach(self) -> None:
        """Say that the SLA is broken, where that is so and was not said before."""
        broken = breach(self.execution, self.now)
        if broken is not None:
            self.emit("execution.sla_breached", broken)

    def emit(
        self,
        kind: str,
        data: Payload = _NOTHING,
        step: str | None = None,
        attempt: int | None = None,
    ) -> None:
        """Add one event and apply it; before the end, that the SLA is broken where it is."""
        execution = self.execution
        if kind in TERMINAL_EVENTS:
            self.tell_breach()
        event = Event(
            execution.id, execution.seq + 1, kind, iso(self.now), execution.tenant, data, step,
            attempt,
        )  # fmt: skip
        stopping = execution.stopping
        evolve(execution, event, self.now)
        self.events.append(event)
        if step is None:
            self.head_changed = True
            return
        self.changed_steps[step] = None
        self.head_changed |= execution.stopping != stopping
        if isinstance(data, StepFailed) and data.final:
            # It may stop the list or the block that it is in.
            around = execution.around(execution.steps[step])
            self.changed_steps |= dict.fromkeys(one.id for one in around)
        if ends_step(event):
            self.ended.append(step)
