"""Events: what happened to an execution, numbered 1..n without gap, written by the router only.

What each type says is in `streams.payloads`; which status follows from it in `streams.lifecycle`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from streams.admitted import encode_plan
from streams.chain import CHAIN_LENGTH, canonical, is_plain, link_form, with_chain
from streams.limits import MAX_ATTEMPTS, MAX_INTEGER
from streams.payloads import EVENT_TYPES, Accepted, Payload, Unknown
from streams.timestamps import Timestamp, unix


@dataclass(slots=True)
class Event:
    """One event; `at` is RFC 3339 text in UTC."""

    execution_id: str
    seq: int
    type: str
    at: Timestamp
    tenant: str
    data: Payload
    step: str | None = None
    attempt: int | None = None
    #: Set when the event is written; see `streams.chain`.
    chain: str | None = None

    def unix(self) -> float:
        """When it happened, in Unix seconds."""
        return unix(self.at)


class EventRecord(BaseModel):
    """One event, as it stands on `execution.events`."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)

    execution_id: str = Field(min_length=36, max_length=36)
    seq: int = Field(ge=1, le=MAX_INTEGER)
    type: str = Field(max_length=64)
    at: Timestamp
    tenant: str
    step: str | None = None
    attempt: int | None = Field(default=None, ge=1, le=MAX_ATTEMPTS)
    data: dict[str, Any] = Field(default_factory=dict)
    chain: str | None = Field(
        default=None,
        min_length=CHAIN_LENGTH,
        max_length=CHAIN_LENGTH,
        description="hash over this event and all before it of its execution; see docs/audit.md",
    )


#: Reads and describes the payload of each type.
PAYLOADS: Final[dict[str, TypeAdapter[Any]]] = {
    kind: TypeAdapter(payload) for kind, payload in EVENT_TYPES.items()
}


_ACCEPTED: Final = tuple(item.name for item in fields(Accepted))


#: Fields of payloads are written in their order, which makes them readable, and hashed sorted.
_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS


def encode_event(event: Event) -> bytes:
    """The event as JSON; raises TypeError where the payload is none."""
    body = _body(event)
    if event.chain is not None:
        body["chain"] = event.chain
    return orjson.dumps(body)


def encode_chained(event: Event, previous: str) -> bytes:
    """The same for an event without a chain, which it is given: the one that follows `previous`.

    The chain is `streams.chain.link` of the event; to sort the fields here takes half as long as
    to read the JSON again.
    """
    body = _body(event)
    value = orjson.dumps(body)
    if isinstance(event.data, Accepted) or not is_plain(value):
        form = canonical(value)
    else:
        form = orjson.dumps(body, default=_as_dict, option=_SORTED)
    event.chain = link_form(previous, form)
    return with_chain(value, event.chain)


@cache
def _names(payload: Hashable) -> tuple[str, ...]:
    assert isinstance(payload, type) and is_dataclass(payload)  # noqa: S101
    return tuple(item.name for item in fields(payload))


def _as_dict(payload: Any) -> dict[str, Any]:
    kind: Any = type(payload)
    return {name: getattr(payload, name) for name in _names(kind)}


def _body(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = {
        "execution_id": event.execution_id,
        "seq": event.seq,
        "type": event.type,
        "at": event.at,
        "tenant": event.tenant,
    }
    if event.step is not None:
        body["step"] = event.step
        if event.attempt is not None:
            body["attempt"] = event.attempt
    data: Any = event.data
    if isinstance(data, Accepted):
        # A plan is written without what it leaves at its defaults.
        plan = orjson.Fragment(encode_plan(data.plan))
        data = {name: getattr(data, name) for name in _ACCEPTED} | {"plan": plan}
    elif isinstance(data, Unknown):
        data = data.fields
    body["data"] = data
    return body


def decode_event(value: bytes) -> Event:
    """The event in a record; raises ValueError (orjson's or pydantic's) where it is none."""
    # pydantic's own JSON parser accepts NaN and infinity in values of any type; orjson does not.
    return typed(EventRecord.model_validate(orjson.loads(value)))


def typed(record: EventRecord) -> Event:
    """The event with the payload of its type; raises pydantic.ValidationError."""
    reader = PAYLOADS.get(record.type)
    data = Unknown(record.data) if reader is None else reader.validate_python(record.data)
    return Event(
        record.execution_id,
        record.seq,
        record.type,
        record.at,
        record.tenant,
        data,
        record.step,
        record.attempt,
        record.chain,
    )
