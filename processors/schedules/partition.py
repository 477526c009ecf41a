"""One partition of the schedules: commands and time in, requests and changelog records out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final

import orjson
from confluent_kafka import Message
from prometheus_client import Counter

from authority.verifier import refuse_command
from processors.command_authority import CommandAuthority, Commander
from processors.command_records import Place, decode, unknown
from processors.schedules import starting
from processors.schedules import state as states
from processors.schedules.commands import Command, Follow, follow
from processors.schedules.firing import fire, is_forgotten, next_timer
from processors.schedules.starting import Decision, Start, Stop
from processors.schedules.state import PREFIX, Known, ScheduleState
from processors.schedules.timers import Timers
from processors.start_requests import SendSigned, StartRequest, request
from runtime.kafka.commit_counts import CommitCounts
from runtime.kafka.hosted import Fault
from runtime.kafka.partition import DecisionError, Output
from streams.envelope import headers
from streams.ids import mint_execution_id, partition_for, route_key, route_of
from streams.limits import MAX_CONTROL_BYTES
from streams.procedures import record_key
from streams.schedules import SCHEDULE_COMMAND, ApplySchedule, Schedule, StartEnded
from streams.started import StartedBy
from streams.timestamps import iso
from streams.topics import CONTROL, SCHEDULE_COMMANDS, SCHEDULES_STATE, Topic

_SOURCE: Final = "runstream/schedules"
#: Executions that one transaction starts at most: it must end in time, and plans must not wait.
MAX_STARTS: Final = 100
#: Schedules of one partition, removed ones that are still remembered included.
MAX_SCHEDULES: Final = 20_000

_STARTED = Counter("runstream_schedule_starts_total", "Executions that schedules have started")


class ScheduleStateError(Exception):
    """The changelog holds what this version cannot read; going on would start things twice."""


@dataclass(slots=True)
class SchedulesPartition:
    """The schedules whose commands lie in the partition of this number."""

    source: ClassVar[Topic] = SCHEDULE_COMMANDS
    prefix: ClassVar[bytes] = PREFIX

    number: int
    count: int
    authority: CommandAuthority
    send: SendSigned
    random_bits: Callable[[], int]
    #: The keys of schedules whose timers failed to run, with those of other parts of the process.
    suspended: set[str] = field(default_factory=set)
    counts: CommitCounts = field(default_factory=CommitCounts)
    schedules: dict[str, Known] = field(default_factory=dict)
    _timers: Timers = field(default_factory=Timers)
    _changed: dict[str, None] = field(default_factory=dict)
    _records: dict[bytes, bytes] = field(default_factory=dict)

    # -- restoring -------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record; the latest of a key counts."""
        if value is None:
            self._records.pop(key, None)
        else:
            self._records[key] = value

    def restored(self, now: float) -> None:
        """Put the state together; raises ScheduleStateError for records of another version."""
        records, self._records = self._records, {}
        for key, value in records.items():
            try:
                state = states.decode(value)
            except ValueError as error:
                where = f"{SCHEDULES_STATE.name}, partition {self.number}, key {key!r:.200}"
                raise ScheduleStateError(where) from error
            known = self.schedules[state.key] = Known(state)
            known.define()
            self._set(known)

    # -- commands --------------------------------------------------------------------------------

    def handle(self, message: Message, now: float, out: Output) -> Fault | None:
        """Decide about one record of `schedules.commands`; returns why it does not count."""
        here = Place(SCHEDULE_COMMANDS, self.number, self.count)
        command = decode(message, SCHEDULE_COMMAND, MAX_CONTROL_BYTES, here, out)
        if command is None or isinstance(command, Fault):
            return command
        if isinstance(command, StartEnded):
            return self._ended(command, message, now)
        known = self.schedules.get(record_key(command.tenant, command.name))
        state = None if known is None else known.state
        by = self.authority.commander(command, message, SCHEDULE_COMMANDS, state, now)
        return by if isinstance(by, Fault) else self._follow(known, command, by, now)

    def _ended(self, command: StartEnded, message: Message, now: float) -> Fault | None:
        # Of any age: the routers may have been away.
        wrong = refuse_command(self.authority.proof(message, SCHEDULE_COMMANDS, now))
        if wrong is not None:
            return Fault("not_authentic", f"only a router says that an execution ended: {wrong}")
        known = self.schedules.get(record_key(command.tenant, command.name))
        if known is None:
            return None  # Long removed; what it started has ended now.
        decision = self._decision(now, MAX_STARTS)
        if starting.end(known, command, decision):
            self._write(known, decision)
        return None

    def _follow(
        self, known: Known | None, command: Command, by: Commander, now: float
    ) -> Fault | None:
        if not isinstance(command, ApplySchedule):
            if known is None or known.state.schedule is None:
                return unknown("schedule", command.name, self._names(command.tenant))
        elif known is None and len(self.schedules) >= MAX_SCHEDULES:
            text = f"partition {self.number} has {MAX_SCHEDULES} schedules; remove some"
            return Fault("too_many", text)
        decision = self._decision(now, MAX_STARTS)
        found = follow(known, Follow(command, by.identity, decision))
        if isinstance(found, Fault):
            return found
        self.schedules[found.state.key] = found
        self.authority.remember(found.state, by, now)
        self._write(found, decision)
        return None

    def _names(self, tenant: str) -> Iterator[str]:
        return (
            known.state.name
            for known in self.schedules.values()
            if known.state.tenant == tenant and known.state.schedule is not None
        )

    # -- time ------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When the first schedule is due, in Unix seconds."""
        return self._timers.next()

    def tick(self, now: float, out: Output) -> None:
        """Start what is due, and no more than one transaction may have."""
        budget = MAX_STARTS
        while budget > 0 and (key := self._timers.take(now)) is not None:
            known = self.schedules.get(key)
            if known is None or _name(key) in self.suspended:
                continue
            decision = self._decision(now, budget)
            try:
                if is_forgotten(known, self.authority.window.age, now):
                    del self.schedules[key]
                    self._changed[key] = None
                    continue
                fire(known, decision)
                self._write(known, decision)
            except Exception as error:
                raise DecisionError(_name(key)) from error
            # One that starts nothing takes its time, too.
            budget -= max(1, len(decision.starts))

    def flush(self, out: Output) -> None:
        """Write the changelog of everything that changed in this batch."""
        for key in self._changed:
            known = self.schedules.get(key)
            value = None if known is None else states.encode(known.state)
            out.send(SCHEDULES_STATE, states.record_key(key), value, None, self.number)
        self._changed.clear()

    # -- inside ----------------------------------------------------------------------------------

    def _decision(self, now: float, budget: int) -> Decision:
        def mint(tenant: str, idempotency_key: str) -> str:
            route = route_key(tenant, idempotency_key)
            return mint_execution_id(route, int(now * 1_000), self.random_bits())

        return Decision(now, mint, budget)

    def _write(self, known: Known, decision: Decision) -> None:
        key = known.state.key
        self.suspended.discard(_name(key))
        for start in decision.starts:
            self._start(start, decision.now)
        for stop in decision.stops:
            self._stop(stop, decision.now)
        self._changed[key] = None
        self._set(known)

    def _set(self, known: Known) -> None:
        self._timers.set(known.state.key, next_timer(known, self.authority.window.age))

    def _start(self, start: Start, now: float) -> None:
        state = start.state
        schedule = state.schedule
        if schedule is None:
            return
        origin = _origin(state, start.cause)
        asked = StartRequest(
            state.tenant, state.actor, start.execution_id, start.idempotency_key, origin
        )
        request(self.send, asked, schedule, _inputs(schedule, start.cause), now)
        self.counts.add(_STARTED)

    def _stop(self, stop: Stop, now: float) -> None:
        state, running = stop.state, stop.running
        ident = running.execution_id
        command = {
            "type": "cancel",
            "execution_id": ident,
            "actor": state.actor,
            "reason": stop.reason,
            "schedule": _origin(state, running.cause),
        }
        given = headers(
            ident=f"{ident}:cancel:{state.name}",
            kind="control.cancel",
            source=_SOURCE,
            time=iso(now),
            subject=ident,
        )
        route = route_of(ident).encode()
        home = partition_for(route, CONTROL.partitions)
        self.send(CONTROL, route, orjson.dumps(command), given, home)


def _origin(state: ScheduleState, cause: str) -> StartedBy:
    """On whose behalf."""
    return StartedBy("schedule", state.name, cause, state.kid)


def _inputs(schedule: Schedule, cause: str) -> dict[str, object] | None:
    """The inputs of an execution, with the moment where the schedule asks for it."""
    if schedule.moment_input is None:
        return schedule.inputs
    return {**(schedule.inputs or {}), schedule.moment_input: cause}


def _name(key: str) -> str:
    """The key of a schedule among those of everything in the process whose timers may fail."""
    return PREFIX.decode() + key
