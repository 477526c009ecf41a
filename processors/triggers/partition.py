"""One partition of the triggers: commands and matches in, requests and changelog records out.

Hosted in the router's loop, so that a match, the request that it leads to, and what is remembered
of it are one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final

from confluent_kafka import Message
from prometheus_client import Counter

from authority.verifier import refuse_match
from processors.command_authority import CommandAuthority, Commander
from processors.command_records import Place, decode, too_large, unknown
from processors.start_requests import SendSigned, StartRequest, request
from processors.triggers import decisions
from processors.triggers import state as states
from processors.triggers.state import PREFIX, TriggerState, TriggerStateError
from runtime.kafka.commit_counts import CommitCounts
from runtime.kafka.hosted import Fault
from runtime.kafka.partition import Output
from streams.limits import MAX_CONTROL_BYTES, MAX_RECORD_BYTES
from streams.procedures import record_key
from streams.topics import ROUTER_PARTITIONS, TRIGGER_COMMANDS, TRIGGERS_STATE, Topic
from streams.triggers import (
    TRIGGER_COMMAND,
    ApplyTrigger,
    Matched,
    MatchFailed,
    PauseTrigger,
    RemoveTrigger,
    ResumeTrigger,
)

#: Triggers whose commands lie in one partition.
MAX_TRIGGERS: Final = 2_000
#: How often those are looked for whose removal need not be remembered any more, in seconds.
_EXPIRE_SECONDS: Final = 600.0

_MATCHES = Counter("runstream_trigger_matches_total", "Matches by what became of them", ["outcome"])
for _outcome in ("started", "ignored"):
    _MATCHES.labels(_outcome)

_Command = ApplyTrigger | RemoveTrigger | PauseTrigger | ResumeTrigger


@dataclass(slots=True)
class TriggersPartition:
    """The triggers whose commands lie in the partition of this number."""

    source: ClassVar[Topic] = TRIGGER_COMMANDS
    prefix: ClassVar[bytes] = PREFIX

    number: int
    topic_prefix: str
    authority: CommandAuthority
    send: SendSigned
    counts: CommitCounts = field(default_factory=CommitCounts)
    triggers: dict[str, TriggerState] = field(default_factory=dict)
    _records: dict[bytes, bytes] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)
    _expire_at: float | None = None

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record; the latest of a key counts."""
        if value is None:
            self._records.pop(key, None)
        else:
            self._records[key] = value

    def restored(self, now: float) -> None:
        """Put the state together; raises TriggerStateError for records of another version."""
        records, self._records = self._records, {}
        for value in records.values():
            try:
                state = states.decode(value)
            except (KeyError, TypeError, ValueError) as error:
                raise TriggerStateError(
                    f"{TRIGGERS_STATE.name}, partition {self.number}: {error}"
                ) from error
            self.triggers[state.key] = state
        self._set_timer(now)

    def handle(self, message: Message, now: float, out: Output) -> Fault | None:
        """Decide about one record of `triggers.commands`; returns why it does not count."""
        here = Place(TRIGGER_COMMANDS, self.number, ROUTER_PARTITIONS)
        command = decode(message, TRIGGER_COMMAND, MAX_RECORD_BYTES, here, out)
        if command is None or isinstance(command, Fault):
            return command
        key = record_key(command.tenant, command.name)
        if isinstance(command, Matched | MatchFailed):
            # Of any age: the routers may have been away.
            wrong = refuse_match(self.authority.proof(message, TRIGGER_COMMANDS, now))
            if wrong is not None:
                return Fault("not_authentic", wrong)
            self._from_matcher(key, command, now)
            return None
        value = message.value() or b""
        if len(value) > MAX_CONTROL_BYTES:
            return too_large(value, MAX_CONTROL_BYTES)
        known = self.triggers.get(key)
        by = self.authority.commander(command, message, TRIGGER_COMMANDS, known, now)
        return by if isinstance(by, Fault) else self._follow(key, command, by, now)

    def next_deadline(self) -> float | None:
        """When removed triggers are looked through."""
        return self._expire_at

    def tick(self, now: float, out: Output) -> None:
        """Forget removed triggers of which no copy of a command could be taken any more."""
        if self._expire_at is None or now < self._expire_at:
            return
        oldest = now - self.authority.remembered
        for key, state in list(self.triggers.items()):
            if state.removed_at is not None and state.removed_at < oldest:
                del self.triggers[key]
                self._changed.add(key)
        self._set_timer(now)

    def flush(self, out: Output) -> None:
        """Write the changelog of everything that changed in this batch."""
        for key in sorted(self._changed):
            state = self.triggers.get(key)
            value = None if state is None else states.encode(state)
            out.send(TRIGGERS_STATE, PREFIX + key.encode(), value, None, self.number)
        self._changed.clear()

    def _follow(self, key: str, command: _Command, by: Commander, now: float) -> Fault | None:
        state = self.triggers.get(key)
        if isinstance(command, ApplyTrigger):
            fault = self._refuse_apply(key, command)
            if fault is not None:
                return fault
            who = by.identity
            state = decisions.apply(state, command.trigger, command.tenant, who.actor, who.kid, now)
        elif state is None or state.trigger is None:
            return unknown("trigger", command.name, self._names(command.tenant))
        elif isinstance(command, RemoveTrigger):
            state = decisions.remove(state, now)
            self._expire_at = self._expire_at or now + _EXPIRE_SECONDS
        elif isinstance(command, PauseTrigger):
            decisions.pause(state, command.reason)
        else:
            decisions.resume(state, now)
        self.authority.remember(state, by, now)
        self.triggers[key] = state
        self._changed.add(key)
        return None

    def _from_matcher(self, key: str, command: Matched | MatchFailed, now: float) -> None:
        state = self.triggers.get(key)
        if state is None or state.trigger is None:
            self.counts.add(_MATCHES.labels("ignored"))
            return
        self._changed.add(key)
        if isinstance(command, MatchFailed):
            decisions.failed(state, command)
            return
        start = decisions.matched(state, command, now)
        self.counts.add(_MATCHES.labels("ignored" if start is None else "started"))
        if start is None:
            return
        asked = StartRequest(
            state.tenant, state.actor, start.execution_id, start.idempotency_key, start.started_by
        )
        request(self.send, asked, state.trigger, command.inputs, now)

    def _refuse_apply(self, key: str, command: ApplyTrigger) -> Fault | None:
        wrong = decisions.refuse_topic(command.trigger.topic, self.topic_prefix)
        if wrong is not None:
            return Fault("invalid", f"trigger.topic: {wrong}")
        if key not in self.triggers and len(self.triggers) >= MAX_TRIGGERS:
            return Fault("too_many", f"there are {MAX_TRIGGERS} triggers here already; remove some")
        return None

    def _names(self, tenant: str) -> Iterator[str]:
        return (
            state.name
            for state in self.triggers.values()
            if state.tenant == tenant and state.trigger is not None
        )

    def _set_timer(self, now: float) -> None:
        removed = any(state.removed_at is not None for state in self.triggers.values())
        self._expire_at = now + _EXPIRE_SECONDS if removed else None
