"""What readers are sent: events and chunks of output, as they lie on their topics; pure.

A record is decoded once, however many readers it has; what they are sent is its own JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import orjson

from streams.vocabulary import Environment

ACCEPTED: Final = "execution.accepted"
REJECTED: Final = "execution.rejected"
EXPLAINED: Final = "execution.explained"


class Origin(NamedTuple):
    """What decides who may read an execution; None where no event says it."""

    tenant: str
    actor: str | None
    environment: Environment | None
    level: int | None
    #: The procedure that its request named.
    procedure: str | None = None


@dataclass(slots=True, eq=False)
class LiveEvent:
    """One event of `execution.events`."""

    partition: int
    offset: int
    execution_id: str
    tenant: str
    seq: int
    type: str
    at: str
    step: str | None
    attempt: int | None
    #: Its JSON, in one line.
    value: bytes
    #: Of its execution, where this event says it.
    origin: Origin | None = None
    #: Where a reader of its tenant goes on after it; set when it is handed out.
    cursor: bytes = b""

    def data(self) -> dict[str, Any]:
        """The payload."""
        found = orjson.loads(self.value).get("data")
        return found if isinstance(found, dict) else {}


@dataclass(slots=True, eq=False)
class LiveChunk:
    """One record of `execution.output`; what it says is read only where somebody follows it."""

    partition: int
    offset: int
    #: Its key: the route key of its execution.
    route: bytes
    value: bytes
    _said: ChunkPlace | None = None

    def place(self) -> ChunkPlace | None:
        """What it is a piece of; None where the record is no chunk."""
        if self._said is None:
            self._said = _place(self.value)
        return self._said if self._said.number >= 0 else None


class ChunkPlace(NamedTuple):
    """Of which output a chunk is a piece, and which one."""

    execution_id: str
    step: str
    attempt: int
    stream: Literal["stdout", "stderr"]
    number: int
    #: Bytes of the stream before the chunk, and those of its text.
    begin: int
    length: int


_NO_CHUNK: Final = ChunkPlace("", "", 0, "stdout", -1, 0, 0)


def decode(value: object, partition: int, offset: int) -> LiveEvent | None:
    """The event in a record; None where it is none."""
    if not isinstance(value, bytes):
        return None
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    ident, seq, kind = found.get("execution_id"), found.get("seq"), found.get("type")
    tenant, at = found.get("tenant"), found.get("at")
    if not (
        isinstance(ident, str)
        and isinstance(seq, int)
        and isinstance(kind, str)
        and isinstance(tenant, str)
        and isinstance(at, str)
        and seq > 0
    ):
        return None
    return LiveEvent(
        partition,
        offset,
        ident,
        tenant,
        seq,
        kind,
        at,
        found.get("step"),
        found.get("attempt"),
        one_line(value),
        _origin(tenant, seq, kind, found.get("data")),
    )


def one_line(value: bytes) -> bytes:
    """The same JSON without a line break: in a stream of events a line is a field."""
    if b"\n" in value or b"\r" in value:
        return orjson.dumps(orjson.loads(value))
    return value


def _origin(tenant: str, seq: int, kind: str, data: Any) -> Origin | None:
    if not isinstance(data, dict):
        return None
    if kind == ACCEPTED:
        procedure = data.get("procedure")
        return Origin(
            tenant,
            data.get("actor"),
            data.get("environment"),
            data.get("approval_level"),
            procedure.get("name") if isinstance(procedure, dict) else None,
        )
    if kind == EXPLAINED or (kind == REJECTED and seq == 1):
        # Of what was never admitted nobody knows where it would have acted.
        return Origin(tenant, data.get("actor"), None, None)
    return None


def _place(value: bytes) -> ChunkPlace:
    try:
        found = orjson.loads(value)
        text = found["text"]
        place = ChunkPlace(
            found["execution_id"],
            found["step"],
            found["attempt"],
            found["stream"],
            found["index"],
            found["offset"],
            len(text.encode()),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return _NO_CHUNK
    well = isinstance(place.number, int) and isinstance(place.begin, int)
    return place if well else _NO_CHUNK
