"""Writing: events, commands, changelog and dead letters as records with their headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from confluent_kafka import Message

from processors.router.changelog import ChangelogRecord
from processors.router.decision import (
    AskKeeper,
    CancelAttempt,
    DeadLetterStep,
    Decision,
    Dispatch,
)
from processors.router.event_traces import EventTrace, command_header
from processors.router.metrics import DecisionCounts
from processors.router.signed_output import SignedOutput
from runtime.kafka import dead_letters
from runtime.kafka.commit_counts import CommitCounts
from runtime.kafka.processor import Output
from streams.chain import start
from streams.envelope import FORWARDED, Headers, header, headers
from streams.events import Event, encode_chained
from streams.ids import attempt_id, route_of
from streams.lifecycle import TERMINAL_EVENTS
from streams.limits import MAX_RECORD_BYTES
from streams.locks import AnyLockCommand
from streams.payloads import EVENT_TYPES
from streams.schedules import StartEnded
from streams.timestamps import iso
from streams.topics import (
    EVENTS,
    EXECUTORS_CONTROL,
    LOCK_COMMANDS,
    ROUTER_STATE,
    SCHEDULE_COMMANDS,
    Topic,
)

SOURCE: Final = "runstream/router"
#: What an executor gives a program between the request to end and the kill.
GRACE_SECONDS: Final = 5.0
#: The headers that every event has alike; see streams/envelope.py for what they are.
_CONSTANT: Final = tuple(
    pair
    for pair in headers(ident="", kind="", source=SOURCE, time="", subject="")
    if pair[0] in ("ce_source", "ce_specversion", "content-type")
)

_TYPES: Final = {kind: f"runstream.{kind}.v1".encode() for kind in EVENT_TYPES}


@dataclass(frozen=True, slots=True)
class Writer:
    """Turns what was decided into records."""

    prefix: str
    group: str
    #: Where commands go, since executors take signed ones only; and the event that ends an
    #: execution, and those that follow it, with signatures over their chains.
    signed: SignedOutput
    #: What is written counts when it is committed.
    counts: CommitCounts = field(default_factory=CommitCounts)
    decisions: DecisionCounts = field(init=False)

    def __post_init__(self) -> None:
        """All counts of one transaction are kept together."""
        object.__setattr__(self, "decisions", DecisionCounts(self.counts))

    def events(
        self,
        out: Output,
        events: list[Event],
        partition: int,
        chain: str | None,
        *,
        ended: bool = False,
        trace: EventTrace | None = None,
    ) -> str | None:
        """Write the events of one execution under its route key; returns the chain after them.

        `chain` is that of the event before the first of them, None where there is none; `ended`
        says that the execution had ended before; `trace` is that of the execution, where it has
        one. Raises ValueError where one is beyond its budget:
        a defect, since every decision that can grow checks its own.
        """
        execution_id = events[0].execution_id
        subject = execution_id.encode()
        key = route_of(execution_id).encode()
        context = None if trace is None else trace.context(execution_id)
        for event in events:
            kind = event.type
            value = encode_chained(event, chain or start(execution_id))
            chain = event.chain
            if len(value) > MAX_RECORD_BYTES:
                raise ValueError(f"{kind} {event.seq} of {execution_id} has {len(value)} bytes")
            given: Headers = [
                ("ce_id", b"%b:%d" % (subject, event.seq)),
                ("ce_type", _TYPES[kind]),
                ("ce_time", event.at.encode()),
                ("ce_subject", subject),
                *_CONSTANT,
            ]
            if trace is not None and context is not None:
                given += trace.headers(context, kind)
            ended |= kind in TERMINAL_EVENTS
            if ended:
                # Held back, it still comes after the others of its execution.
                signed = (event.chain or "").encode()
                self.signed.add(EVENTS, key, value, given, partition, signed)
            else:
                out.send(EVENTS, key, value, given, partition)
            self.decisions.written(kind)
        return chain

    def effects(self, out: Output, decision: Decision) -> None:
        """Write the commands and dead letters of a decision, in its order."""
        for effect in decision.effects:
            match effect:
                case Dispatch():
                    self._dispatch(decision, effect)
                case CancelAttempt():
                    self._cancel(decision, effect)
                case AskKeeper(command):
                    self.ask_keeper(out, command, decision.now)
                case DeadLetterStep():
                    self._exhausted(out, decision, effect)

    def _dispatch(self, decision: Decision, effect: Dispatch) -> None:
        execution, spec = decision.execution, effect.spec
        command: dict[str, Any] = {
            "execution_id": execution.id,
            "step": effect.step,
            "attempt": effect.attempt,
            "tool": spec.tool,
            "domain": spec.domain,
            "parameters": effect.parameters,
            "tenant": execution.tenant,
            "actor": execution.actor,
            "environment": execution.environment,
            "priority": execution.priority,
            "target": effect.target,
            "timeout_seconds": spec.timeout_seconds,
            "lease_seconds": spec.lease_seconds,
            "dispatched_at": iso(decision.now),
            "expires_at": effect.expires_at,
        }
        if spec.assets:
            command["assets"] = spec.assets
        if effect.fencing_tokens:
            command["fencing_tokens"] = effect.fencing_tokens
        if spec.secrets:
            command["secrets"] = spec.secrets
        if spec.definition is not None:
            command["definition"] = spec.definition
        if spec.become is not None:
            command["become"] = spec.become
        if spec.connection is not None:
            command["connection"] = spec.connection
        if spec.secret_paths:
            command["secret_paths"] = spec.secret_paths
        if execution.approval_level:
            command["plan_hash"] = execution.plan_hash
            command["approval"] = {
                "level": execution.approval_level,
                "by": execution.approved_by,
                "definition": (execution.definitions or {}).get(spec.tool),
            }
        key = effect.target or execution.id
        given = _command_headers(decision, effect, "step.command")
        self.signed.add(effect.topic, key.encode(), orjson.dumps(command), given)
        self.decisions.dispatched(spec.domain)

    def _cancel(self, decision: Decision, effect: CancelAttempt) -> None:
        ident = attempt_id(decision.execution.id, effect.step, effect.attempt)
        command = {
            "execution_id": decision.execution.id,
            "step": effect.step,
            "attempt": effect.attempt,
            "reason": effect.reason,
            "grace_seconds": GRACE_SECONDS,
            "at": iso(decision.now),
        }
        if effect.executor is not None:
            command["executor"] = effect.executor
        given = _command_headers(decision, effect, "step.cancel")
        self.signed.add(EXECUTORS_CONTROL, ident.encode(), orjson.dumps(command), given)

    def ask_keeper(self, out: Output, command: AnyLockCommand, now: float) -> None:
        """Write a command to the lock keeper, to the partition of its tenant."""
        execution_id = command.execution_id
        given = headers(
            ident=f"{execution_id}:{command.type}:{now:.3f}",
            kind=f"lock.{command.type}",
            source=SOURCE,
            time=iso(now),
            subject=execution_id,
        )
        out.send(LOCK_COMMANDS, command.tenant.encode(), command.model_dump_json().encode(), given)

    def tell_schedule(self, told: StartEnded | None, now: float) -> None:
        """Tell a schedule what became of what it started, where there is something to tell."""
        if told is None:
            return
        given = headers(
            ident=f"{told.execution_id}:{told.status}:{told.cause}", kind="schedule.ended",
            source=SOURCE, time=iso(now), subject=told.execution_id,
        )  # fmt: skip
        key = f"{told.tenant}/{told.name}".encode()
        self.signed.add(SCHEDULE_COMMANDS, key, told.model_dump_json().encode(), given)

    def _exhausted(self, out: Output, decision: Decision, effect: DeadLetterStep) -> None:
        execution, spec = decision.execution, effect.spec
        command = {
            "execution_id": execution.id,
            "step": effect.step,
            "attempt": effect.attempt,
            "tool": spec.tool,
            "domain": spec.domain,
            "tenant": execution.tenant,
            "parameters": spec.parameters,
            "attempts": effect.failures,
        }
        last = effect.failures[-1].error
        letter = dead_letters.exhausted(
            self.prefix + effect.topic.name,
            (effect.target or execution.id).encode(),
            orjson.dumps(command),
            message_text=f"{effect.attempt} attempts failed: {last['message']}",
            attempt=effect.attempt,
            app=self.group,
            headers=list(_command_headers(decision, effect, "step.command")),
        )
        self._letter(out, letter, effect.topic, dead_letters.RETRIES_EXHAUSTED)

    def dead_letter(
        self, out: Output, topic: Topic, message: Message, error_class: str, text: str
    ) -> None:
        """Park a record that cannot be decided about, unchanged."""
        letter = dead_letters.dead_letter(
            self.prefix + topic.name,
            message,
            error_class=error_class,
            message_text=text,
            stage="decide",
            group=self.group,
        )
        self._letter(out, letter, topic, error_class)

    def _letter(
        self, out: Output, letter: dead_letters.DeadLetter, topic: Topic, error_class: str
    ) -> None:
        partition = -1 if letter.partition is None else letter.partition
        given: Any = letter.headers
        out.send_named(letter.topic, letter.key, letter.value, given, partition)
        self.counts.add(dead_letters.WRITTEN.labels(topic.name, error_class))

    def forward(self, out: Output, topic: Topic, message: Message, route: str, home: int) -> None:
        """Send a record on to the partition where its execution lives, once."""
        given: Any = message.headers() or []
        if header(given, FORWARDED) is not None:
            text = "it was forwarded before and still is not where it belongs"
            self.dead_letter(out, topic, message, "misrouted", text)
            return
        kept = [(name, value) for name, value in given if value is not None]
        value: Any = message.value()
        out.send(topic, route.encode(), value, [*kept, (FORWARDED, b"1")], home)

    def changelog(self, out: Output, partition: int, records: Iterable[ChangelogRecord]) -> None:
        """Write changelog records to the partition whose state they are.

        Raises ValueError where one is beyond its budget: a defect.
        """
        for key, value in records:
            if value is not None and len(value) > MAX_RECORD_BYTES:
                raise ValueError(f"the changelog record {key!r} has {len(value)} bytes")
            out.send(ROUTER_STATE, key, value, None, partition)


def _command_headers(
    decision: Decision, effect: Dispatch | CancelAttempt | DeadLetterStep, kind: str
) -> Headers:
    subject = decision.execution.id
    given: Headers = [
        ("ce_id", attempt_id(subject, effect.step, effect.attempt).encode()),
        ("ce_type", f"runstream.{kind}.v1".encode()),
        ("ce_time", iso(decision.now).encode()),
        ("ce_subject", subject.encode()),
        *_CONSTANT,
    ]
    trace = decision.execution.trace
    if trace is not None:
        given.append(command_header(trace, subject, effect.step, effect.attempt))
    return given
