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

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True, defer_build=True)

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


@cache
def payload_adapter(kind: str) -> TypeAdapter[Any]:
    """What reads and describes the payload of a type of `EVENT_TYPES`.

    It is made when the first event of the type is read: the start of a process need not wait.
    """
    return TypeAdapter(EVENT_TYPES[kind])


_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS


def encode_event(event: Event) -> bytes:
    """The event as JSON; raises TypeError where the payload is none."""
    value = _without_chain(event)
    return value if event.chain is None else with_chain(value, event.chain)


def encode_chained(event: Event, previous: str) -> bytes:
    """The same for an event without a chain, which it is given: the one that follows `previous`."""
    value = _without_chain(event)
    event.chain = link_form(previous, value if is_plain(value) else canonical(value))
    return with_chain(value, event.chain)


def _without_chain(event: Event) -> bytes:
    """With sorted keys: so it nearly always is the canonical form, and need not be made twice."""
    data: Any = event.data
    if isinstance(data, Accepted):
        # A plan is written without what it leaves at its defaults.
        data = _as_dict(data)
        data["plan"] = orjson.Fragment(canonical(encode_plan(data["plan"])))
    body: dict[str, Any] = {
        "at": event.at,
        "data": data.fields if isinstance(data, Unknown) else data,
        "execution_id": event.execution_id,
        "seq": event.seq,
        "tenant": event.tenant,
        "type": event.type,
    }
    if event.step is not None:
        body["step"] = event.step
        if event.attempt is not None:
            body["attempt"] = event.attempt
    return orjson.dumps(body, default=_as_dict, option=_SORTED)


@cache
def _names(payload: Hashable) -> tuple[str, ...]:
    assert isinstance(payload, type) and is_dataclass(payload)  # noqa: S101
    return tuple(item.name for item in fields(payload))


def _as_dict(payload: Any) -> dict[str, Any]:
    kind: Any = type(payload)
    return {name: getattr(payload, name) for name in _names(kind)}


def decode_event(value: bytes) -> Event:
    """The event in a record; raises ValueError (orjson's or pydantic's) where it is none."""
    # pydantic's own JSON parser accepts NaN and infinity in values of any type; orjson does not.
    return typed(EventRecord.model_validate(orjson.loads(value)))


def typed(record: EventRecord) -> Event:
    """The event with the payload of its type; raises pydantic.ValidationError."""
    data = (
        payload_adapter(record.type).validate_python(record.data)
        if record.type in EVENT_TYPES
        else Unknown(record.data)
    )
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
