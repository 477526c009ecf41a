"""One partition of the lock keeper: records in, answers and changelog records out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from confluent_kafka import Message
from prometheus_client import Counter
from pydantic import ValidationError

from processors.locks.keeper import Keeper
from processors.locks.names import is_record
from processors.locks.state import (
    COUNTER,
    PREFIX,
    Party,
    decode,
    decode_counter,
    encode,
    encode_counter,
    key_of,
)
from runtime.kafka.commit_counts import CommitCounts
from runtime.kafka.hosted import Fault
from runtime.kafka.partition import Output
from streams.envelope import headers
from streams.ids import route_of
from streams.limits import MAX_RECORD_BYTES
from streams.locks import (
    LOCK_COMMAND,
    Acquire,
    AnyLockAnswer,
    Expired,
    Granted,
    Name,
    Refused,
    Release,
)
from streams.timestamps import iso
from streams.topics import LOCK_COMMANDS, LOCK_GRANTS, LOCKS_STATE, Topic

SOURCE: Final = "runstream/locks"

_ANSWERS = Counter("runstream_lock_answers_total", "Answers of the lock keeper", ["answer"])


class LockStateError(Exception):
    """The changelog holds what this version cannot read; going on would forget who holds what."""


@dataclass(slots=True)
class KeeperPartition:
    """The locks of the tenants whose commands lie in the partition of this number."""

    source: ClassVar[Topic] = LOCK_COMMANDS
    prefix: ClassVar[bytes] = PREFIX

    number: int
    keeper: Keeper = field(default_factory=Keeper)
    counts: CommitCounts = field(default_factory=CommitCounts)
    #: The last token of the changelog.
    written: int = 0
    _records: dict[bytes, bytes] = field(default_factory=dict)

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record; the latest of a key counts."""
        if value is None:
            self._records.pop(key, None)
        else:
            self._records[key] = value

    def restored(self, now: float) -> None:
        """Put the state together; every holder gets a whole lease.

        Raises LockStateError for records of another version.
        """
        records, self._records = self._records, {}
        try:
            counter = decode_counter(records.pop(COUNTER, encode_counter(0)))
            parties: list[Party] = []
            for key, value in records.items():
                if is_record(key):
                    self.keeper.names.restore(key, value)
                else:
                    parties.append(decode(key, value))
        except (KeyError, TypeError, ValueError) as error:
            raise LockStateError(f"{LOCKS_STATE.name}, partition {self.number}") from error
        self.written = counter
        self.keeper.restored(parties, counter, now)

    def handle(self, message: Message, now: float, out: Output) -> Fault | None:
        """Decide about one record of `locks.commands`; returns why it is none, or None."""
        value = message.value()
        if value is None:
            return Fault("invalid", "the record has no value")
        if len(value) > MAX_RECORD_BYTES:
            return Fault(
                "invalid", f"the record has {len(value)} bytes; {MAX_RECORD_BYTES} are allowed"
            )
        try:
            command = LOCK_COMMAND.validate_json(value)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part)[:64] for part in fault["loc"])
            return Fault("invalid", f"{where}: {fault['msg']}")
        answers: list[AnyLockAnswer] = []
        if isinstance(command, Acquire):
            answers = self.keeper.acquire(command, now)
        elif isinstance(command, Release):
            answers = self.keeper.release(command, now)
        elif isinstance(command, Name):
            self.keeper.names.learn(command.tenant, command.assets)
        else:
            self.keeper.renew(command, now)
        self._send(answers, now, out)
        return None

    def next_deadline(self) -> float | None:
        """When the next lease may end, in Unix seconds."""
        return self.keeper.next_expiry()

    def tick(self, now: float, out: Output) -> None:
        """End the leases that nobody renewed."""
        self._send(self.keeper.expire(now), now, out)

    def flush(self, out: Output) -> None:
        """Write the changelog of everything that changed in this batch."""
        keeper = self.keeper
        for execution_id in keeper.changed:
            party = keeper.parties.get(execution_id)
            value = None if party is None else encode(party)
            out.send(LOCKS_STATE, key_of(execution_id), value, None, self.number)
        keeper.changed.clear()
        for key, names in keeper.names.records():
            out.send(LOCKS_STATE, key, names, None, self.number)
        if keeper.granted > self.written:
            # Whoever holds nothing is forgotten; that no token is given twice must last.
            self.written = keeper.granted
            out.send(LOCKS_STATE, COUNTER, encode_counter(self.written), None, self.number)

    def _send(self, answers: list[AnyLockAnswer], now: float, out: Output) -> None:
        for answer in answers:
            execution_id = answer.execution_id
            given = headers(
                ident=_ident(answer), kind=f"lock.{answer.type}", source=SOURCE, time=iso(now),
                subject=execution_id,
            )  # fmt: skip
            value = answer.model_dump_json().encode()
            out.send(LOCK_GRANTS, route_of(execution_id).encode(), value, given)
            self.counts.add(_ANSWERS.labels(answer.type))


def _ident(answer: AnyLockAnswer) -> str:
    """The same for an answer that is given again with the same content."""
    match answer:
        case Granted(tokens=tokens) | Expired(tokens=tokens):
            what = str(max(tokens.values()))
        case Refused(request=request, holder=holder):
            what = f"{request}:{holder}"
        case _:
            what = f"{answer.request}:{answer.asset}:{answer.holder}"
    return f"{answer.execution_id}:{answer.type}:{what}"


for _type in ("granted", "queued", "refused", "expired"):
    _ANSWERS.labels(_type)
