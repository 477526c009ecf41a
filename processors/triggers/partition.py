"""One partition of the triggers: commands and matches in, requests and changelog records out.

Hosted in the router's loop, so that a match, the request that it leads to, and what is remembered
of it are one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import ClassVar, Final, Protocol

import orjson
from confluent_kafka import Message
from prometheus_client import Counter
from pydantic import ValidationError

from authority.identity import Forged, Signer, identify, refuse_signer
from authority.policy import Control, Policy
from processors.triggers import decisions
from processors.triggers.decisions import Start
from processors.triggers.state import (
    PREFIX,
    TriggerState,
    TriggerStateError,
    decode,
    encode,
)
from runtime.kafka.hosted import Fault
from runtime.kafka.partition import Output
from streams.envelope import Headers, headers
from streams.ids import partition_for, route_of
from streams.limits import MAX_CONTROL_BYTES, MAX_RECORD_BYTES
from streams.procedures import record_key
from streams.timestamps import iso
from streams.topics import REQUESTS, ROUTER_PARTITIONS, TRIGGER_COMMANDS, TRIGGERS_STATE, Topic
from streams.triggers import (
    TRIGGER_COMMAND,
    ApplyTrigger,
    Matched,
    MatchFailed,
    PauseTrigger,
    RemoveTrigger,
    ResumeTrigger,
)

SOURCE: Final = "runstream/triggers"
#: Triggers whose commands lie in one partition.
MAX_TRIGGERS: Final = 2_000
#: How often those are looked for whose removal need not be remembered any more, in seconds.
_EXPIRE_SECONDS: Final = 600.0

_MATCHES = Counter("runstream_trigger_matches_total", "Matches by what became of them", ["outcome"])
for _outcome in ("started", "ignored"):
    _MATCHES.labels(_outcome)

_Operators = ApplyTrigger | RemoveTrigger | PauseTrigger | ResumeTrigger


class Authority(Protocol):
    """What a partition asks about who may say something to a trigger."""

    @property
    def require_signatures(self) -> bool:
        """Whether a command without a signature is refused."""

    @property
    def remembered(self) -> float:
        """For how many seconds a signature on a command counts."""

    def policy(self) -> Policy:
        """The policy that counts now."""

    def signer(self, message: Message, now: float) -> Signer | Forged | None:
        """Whose key signed a command; None where it is not signed."""

    def refuse_match(self, message: Message, now: float) -> str | None:
        """Why a record is not that of a matcher, or None."""


class Send(Protocol):
    """Sends a record with the router's signature when the batch is over."""

    def __call__(
        self, topic: Topic, key: bytes, value: bytes, headers: Headers, partition: int
    ) -> None:
        """See processors/router/signed_output.py."""


@dataclass(slots=True)
class TriggersPartition:
    """The triggers whose commands lie in the partition of this number."""

    source: ClassVar[Topic] = TRIGGER_COMMANDS
    prefix: ClassVar[bytes] = PREFIX

    number: int
    topic_prefix: str
    authority: Authority
    send: Send
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
                state = decode(value)
            except (KeyError, TypeError, ValueError) as error:
                raise TriggerStateError(
                    f"{TRIGGERS_STATE.name}, partition {self.number}: {error}"
                ) from error
            self.triggers[state.key] = state
        self._set_timer(now)

    def handle(self, message: Message, now: float, out: Output) -> Fault | None:
        """Decide about one record of `triggers.commands`; returns why it is none, or None."""
        value = message.value()
        if value is None:
            return Fault("empty", "the record has no value")
        if len(value) > MAX_RECORD_BYTES:
            return Fault("too_large", f"{len(value)} bytes; {MAX_RECORD_BYTES} are allowed")
        try:
            command = TRIGGER_COMMAND.validate_json(value)
        except ValidationError as error:
            return Fault("invalid", _sentence(error))
        key = record_key(command.tenant, command.name)
        home = partition_for(key.encode(), ROUTER_PARTITIONS)
        if home != self.number:
            where = f"it lies in partition {self.number}, and its key {key} belongs in {home}"
            return Fault("misrouted", f"{where}: set the key, and partition by murmur2")
        if isinstance(command, Matched | MatchFailed):
            wrong = self.authority.refuse_match(message, now)
            if wrong is not None:
                return Fault("not_authentic", wrong)
            self._from_matcher(key, command, now)
            return None
        if len(value) > MAX_CONTROL_BYTES:
            return Fault("too_large", f"{len(value)} bytes; {MAX_CONTROL_BYTES} are allowed")
        return self._from_operator(key, command, message, now)

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
            value = None if state is None else encode(state)
            out.send(TRIGGERS_STATE, PREFIX + key.encode(), value, None, self.number)
        self._changed.clear()

    def _from_operator(
        self, key: str, command: _Operators, message: Message, now: float
    ) -> Fault | None:
        state = self.triggers.get(key)
        signer = self.authority.signer(message, now)
        required = self.authority.require_signatures
        wrong = refuse_signer(signer, command.tenant, command.actor, required=required)
        if wrong is None and isinstance(signer, Signer) and state is not None:
            last = state.signed.get(signer.kid)
            if last is not None and signer.signed_at <= last:
                wrong = f"what the key {signer.kid} signed at this time or later was followed"
        if wrong is not None or isinstance(signer, Forged):
            return Fault("not_authentic", wrong or "it is not authentic")
        identity = identify(signer, command.tenant, command.actor)
        verdict = self.authority.policy().decide(identity, Control("apply", "prod", 0, True))
        if not verdict.allowed:
            return Fault("forbidden", verdict.message)
        if isinstance(command, ApplyTrigger):
            fault = self._refuse_apply(key, command)
            if fault is not None:
                return fault
            kid = None if signer is None else signer.kid
            trigger, tenant = command.trigger, command.tenant
            state = decisions.apply(state, trigger, tenant, identity.actor, kid, now)
        elif state is None or state.trigger is None:
            return Fault("unknown_trigger", self._absent(command.tenant, command.name))
        elif isinstance(command, RemoveTrigger):
            state = decisions.remove(state, now)
            self._expire_at = self._expire_at or now + _EXPIRE_SECONDS
        elif isinstance(command, PauseTrigger):
            decisions.pause(state, command.reason)
        else:
            decisions.resume(state, now)
        if signer is not None:
            state.signed[signer.kid] = signer.signed_at
        state.followed = message.offset() or 0
        self.triggers[key] = state
        self._changed.add(key)
        return None

    def _from_matcher(self, key: str, command: Matched | MatchFailed, now: float) -> None:
        state = self.triggers.get(key)
        if state is None or state.trigger is None:
            _MATCHES.labels("ignored").inc()
            return
        self._changed.add(key)
        if isinstance(command, MatchFailed):
            decisions.failed(state, command)
            return
        start = decisions.matched(state, command, now)
        _MATCHES.labels("ignored" if start is None else "started").inc()
        if start is not None:
            self._request(state, start, command, now)

    def _request(self, state: TriggerState, start: Start, match: Matched, now: float) -> None:
        assert state.trigger is not None  # else it starts nothing  # noqa: S101
        request = {
            "procedure": state.trigger.procedure,
            "tenant": state.tenant,
            "actor": state.actor,
            "execution_id": start.execution_id,
            "idempotency_key": start.idempotency_key,
            "started_by": start.started_by,
        }
        if state.trigger.version is not None:
            request["version"] = state.trigger.version
        if match.inputs is not None:
            request["inputs"] = match.inputs
        route = route_of(start.execution_id).encode()
        given = headers(
            ident=start.execution_id,
            kind="request",
            source=SOURCE,
            time=iso(now),
            subject=start.execution_id,
        )
        home = partition_for(route, ROUTER_PARTITIONS)
        self.send(REQUESTS, route, orjson.dumps(request), given, home)

    def _refuse_apply(self, key: str, command: ApplyTrigger) -> Fault | None:
        wrong = decisions.refuse_topic(command.trigger.topic, self.topic_prefix)
        if wrong is not None:
            return Fault("invalid", f"trigger.topic: {wrong}")
        if key not in self.triggers and len(self.triggers) >= MAX_TRIGGERS:
            return Fault("too_many", f"there are {MAX_TRIGGERS} triggers here already; remove some")
        return None

    def _absent(self, tenant: str, name: str) -> str:
        begin = record_key(tenant, "")
        known = [
            state.name
            for key, state in self.triggers.items()
            if key.startswith(begin) and state.trigger is not None
        ]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "see `runstream triggers list`"
        return f"there is no trigger {name!r}; {hint}"

    def _set_timer(self, now: float) -> None:
        removed = any(state.removed_at is not None for state in self.triggers.values())
        self._expire_at = now + _EXPIRE_SECONDS if removed else None


def _sentence(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = [str(part)[:64] for part in fault["loc"]]
    named = (fault.get("ctx") or {}).get("field")
    if named is not None:
        where.append(str(named))
    return f"{'.'.join(where)}: {fault['msg']}" if where else str(fault["msg"])
