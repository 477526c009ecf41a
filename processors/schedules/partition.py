"""One partition of the schedules: commands and time in, requests and changelog records out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

import orjson
from confluent_kafka import Message
from prometheus_client import Counter
from pydantic import ValidationError

from authority.identity import Forged, identify, refuse_signer
from authority.policy import Control, Policy
from authority.verifier import Proof, Window, as_signer, refuse_command
from processors.schedules import starting
from processors.schedules.commands import Command, Follow, follow
from processors.schedules.firing import fire, is_forgotten, next_timer
from processors.schedules.starting import Decision, Start, Stop
from processors.schedules.state import (
    MAX_FOLLOWED,
    PREFIX,
    Known,
    ScheduleState,
    decode,
    encode,
    record_key,
)
from processors.schedules.timers import Timers
from runtime.kafka.hosted import Fault
from runtime.kafka.partition import DecisionError, Output
from streams.envelope import FORWARDED, SIGNATURE, Headers, header, headers, message_headers
from streams.ids import mint_execution_id, partition_for, route_key, route_of
from streams.limits import MAX_CONTROL_BYTES
from streams.schedules import SCHEDULE_COMMAND, ApplySchedule, Schedule, StartEnded
from streams.timestamps import iso
from streams.topics import CONTROL, REQUESTS, SCHEDULE_COMMANDS, SCHEDULES_STATE, Topic

SOURCE: Final = "runstream/schedules"
#: Executions that one transaction starts at most: it must end in time, and plans must not wait.
MAX_STARTS: Final = 100
#: Schedules of one partition, removed ones that are still remembered included.
MAX_SCHEDULES: Final = 20_000
_MAX_ID: Final = 128

_STARTED = Counter("runstream_schedule_starts_total", "Executions that schedules have started")


class ScheduleStateError(Exception):
    """The changelog holds what this version cannot read; going on would start things twice."""


class Checks(Protocol):
    """What verifies signatures."""

    def check(
        self,
        value: bytes | None,
        token: str | None,
        topic: str,
        now: float,
        window: Window | None = None,
    ) -> Proof | Forged | None:
        """Who signed the value of a record of this topic; None where nobody did."""


class Signed(Protocol):
    """Where signed records go; they are sent when the batch is over."""

    def add(
        self, topic: Topic, key: bytes, value: bytes, headers: Headers, partition: int = -1
    ) -> None:
        """Send this when the batch is over."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Whose commands count."""

    verifier: Checks
    window: Window
    policy: Callable[[], Policy]
    #: Whether commands without a signature are refused before the policy is asked.
    signed_only: bool = False


@dataclass(slots=True)
class SchedulesPartition:
    """The schedules whose commands lie in the partition of this number."""

    source: ClassVar[Topic] = SCHEDULE_COMMANDS
    prefix: ClassVar[bytes] = PREFIX

    number: int
    count: int
    authority: Authority
    signed: Signed
    random_bits: Callable[[], int]
    #: The keys of schedules whose timers failed to run, with those of other parts of the process.
    suspended: set[str] = field(default_factory=set)
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
                state = decode(value)
            except ValueError as error:
                where = f"{SCHEDULES_STATE.name}, partition {self.number}, key {key!r:.200}"
                raise ScheduleStateError(where) from error
            known = self.schedules[state.key] = Known(state)
            known.define()
            self._set(known)

    # -- commands --------------------------------------------------------------------------------

    def handle(self, message: Message, now: float, out: Output) -> Fault | None:
        """Decide about one record of `schedules.commands`; returns why it does not count."""
        value = message.value()
        if not value:
            return Fault("empty", "the record has no value")
        if len(value) > MAX_CONTROL_BYTES:
            message_text = f"the record has {len(value)} bytes; {MAX_CONTROL_BYTES} are allowed"
            return Fault("too_large", message_text)
        try:
            command = SCHEDULE_COMMAND.validate_json(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            # The first is the type that was read.
            where = ".".join(str(part)[:64] for part in first["loc"][1:])
            return Fault("invalid", f"{where}: {first['msg']}" if where else first["msg"])
        key = f"{command.tenant}/{command.name}"
        if message.key() != key.encode():
            return Fault("no_route_key", f"its key must be the tenant and the name, {key}")
        home = partition_for(key.encode(), self.count)
        if home != self.number:
            return self._forward(message, value, key, home, out)
        given = message_headers(message)
        token = header(given, SIGNATURE)
        if isinstance(command, StartEnded):
            return self._ended(command, value, token, now)
        proof = self.authority.verifier.check(
            value, token, SCHEDULE_COMMANDS.name, now, self.authority.window
        )
        fault = self._refused(command, proof)
        if fault is not None:
            return fault
        return self._follow(command, proof, header(given, "ce_id"), now)

    def _forward(
        self, message: Message, value: bytes, key: str, home: int, out: Output
    ) -> Fault | None:
        """Send a record on that a client with another partitioner has put here, once."""
        given = message_headers(message)
        if header(given, FORWARDED) is not None:
            text = "it was forwarded before and still is not where it belongs"
            return Fault("misrouted", text)
        kept = [(name, one) for name, one in given if one is not None]
        out.send(SCHEDULE_COMMANDS, key.encode(), value, [*kept, (FORWARDED, b"1")], home)
        return None

    def _ended(
        self, command: StartEnded, value: bytes, token: str | None, now: float
    ) -> Fault | None:
        # Of any age: the routers may have been away.
        proof = self.authority.verifier.check(value, token, SCHEDULE_COMMANDS.name, now)
        wrong = refuse_command(proof)
        if wrong is not None:
            return Fault("not_authentic", f"only a router says that an execution ended: {wrong}")
        known = self.schedules.get(f"{command.tenant}/{command.name}")
        if known is None:
            return None  # Long removed; what it started has ended now.
        decision = self._decision(now, MAX_STARTS)
        if starting.end(known, command, decision):
            self._write(known, decision)
        return None

    def _refused(self, command: Command, proof: Proof | Forged | None) -> Fault | None:
        """Why a command does not count, by its signature and by the policy."""
        signer = as_signer(proof)
        authority = self.authority
        wrong = refuse_signer(signer, command.tenant, command.actor, required=authority.signed_only)
        if wrong is not None or isinstance(signer, Forged):
            return Fault("not_authentic", str(wrong))
        known = self.schedules.get(f"{command.tenant}/{command.name}")
        last = None if known is None or signer is None else known.state.signed.get(signer.kid)
        if signer is not None and last is not None and signer.signed_at <= last:
            return Fault(
                "not_authentic",
                f"what the key {signer.kid} signed at this time or later was followed already",
            )
        identity = identify(signer, command.tenant, command.actor)
        verdict = authority.policy().decide(identity, Control("apply", "prod", 0, True))
        return None if verdict.allowed else Fault("forbidden", verdict.message)

    def _follow(
        self, command: Command, proof: Proof | Forged | None, ident: str | None, now: float
    ) -> Fault | None:
        signer = as_signer(proof)
        assert not isinstance(signer, Forged)  # refused above  # noqa: S101
        identity = identify(signer, command.tenant, command.actor)
        key = f"{command.tenant}/{command.name}"
        known = self.schedules.get(key)
        full = len(self.schedules) >= MAX_SCHEDULES
        if isinstance(command, ApplySchedule) and known is None and full:
            text = f"partition {self.number} has {MAX_SCHEDULES} schedules; remove some"
            return Fault("too_many", text)
        decision = self._decision(now, MAX_STARTS)
        found = follow(known, Follow(command, identity, decision))
        if isinstance(found, Fault):
            return found
        self.schedules[key] = found
        state = found.state
        if signer is not None:
            oldest = (now - self.authority.window.age) * 1_000_000
            kept = {kid: at for kid, at in state.signed.items() if at >= oldest}
            state.signed = {**kept, signer.kid: signer.signed_at}
        if ident is not None:
            state.followed = [*state.followed, ident[:_MAX_ID]][-MAX_FOLLOWED:]
        self._write(found, decision)
        return None

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
            value = None if known is None else encode(known.state)
            out.send(SCHEDULES_STATE, record_key(key), value, None, self.number)
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
        request = {
            "tenant": state.tenant,
            "actor": state.actor,
            "procedure": schedule.procedure,
            "idempotency_key": start.idempotency_key,
            "execution_id": start.execution_id,
            "started_by": self._origin(state, start.cause),
        }
        if schedule.version is not None:
            request["version"] = schedule.version
        inputs = _inputs(schedule, start.cause)
        if inputs is not None:
            request["inputs"] = inputs
        ident = start.execution_id
        given = headers(
            ident=ident, kind="execution.request", source=SOURCE, time=iso(now), subject=ident
        )
        self.signed.add(REQUESTS, route_of(ident).encode(), orjson.dumps(request), given)
        _STARTED.inc()

    def _stop(self, stop: Stop, now: float) -> None:
        state, running = stop.state, stop.running
        ident = running.execution_id
        command = {
            "type": "cancel",
            "execution_id": ident,
            "actor": state.actor,
            "reason": stop.reason,
            "schedule": self._origin(state, running.cause),
        }
        given = headers(
            ident=f"{ident}:cancel:{state.name}",
            kind="control.cancel",
            source=SOURCE,
            time=iso(now),
            subject=ident,
        )
        self.signed.add(CONTROL, route_of(ident).encode(), orjson.dumps(command), given)

    def _origin(self, state: ScheduleState, cause: str) -> dict[str, str | None]:
        """On whose behalf: a StartedBy."""
        return {"kind": "schedule", "name": state.name, "cause": cause, "key": state.kid}


def _inputs(schedule: Schedule, cause: str) -> dict[str, object] | None:
    """The inputs of an execution, with the moment where the schedule asks for it."""
    if schedule.moment_input is None:
        return schedule.inputs
    return {**(schedule.inputs or {}), schedule.moment_input: cause}


def _name(key: str) -> str:
    """The key of a schedule among those of everything in the process whose timers may fail."""
    return PREFIX.decode() + key
