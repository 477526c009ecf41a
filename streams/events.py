"""Events: what happened to an execution, numbered 1..n without gap, written by the router only.

What each type says is in `streams.payloads`; which status follows from it in `streams.lifecycle`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, Final, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator, core_schema

from streams.admitted import encode_plan
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


#: Reads and describes the payload of each type.
PAYLOADS: Final[dict[str, TypeAdapter[Any]]] = {
    kind: TypeAdapter(payload) for kind, payload in EVENT_TYPES.items()
}


_ACCEPTED: Final = tuple(item.name for item in fields(Accepted))


def encode_event(event: Event) -> bytes:
    """The event as JSON; raises TypeError where the payload is none."""
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
    return orjson.dumps(body)


def decode_event(value: bytes) -> Event:
    """The event in a record; raises pydantic.ValidationError where it is none."""
    try:
        return cast(Event, _reader().validate_json(value))
    except ValidationError as error:
        if error.errors(include_input=False, include_url=False)[0]["type"] != "union_tag_invalid":
            raise
    return typed(EventRecord.model_validate_json(value))


@cache
def _reader() -> SchemaValidator:
    """Reads envelope and payload of every known type in one pass, in half the time of two."""
    definitions: dict[str, core_schema.CoreSchema] = {}

    def event_schema(kind: str) -> core_schema.CoreSchema:
        payload: Any = PAYLOADS[kind].core_schema
        if payload["type"] == "definitions":
            definitions.update((item["ref"], item) for item in payload["definitions"])
            payload = payload["schema"]
        schemas = {
            name: TypeAdapter[Any](cast(Any, Annotated[item.annotation, item])).core_schema
            for name, item in EventRecord.model_fields.items()
        } | {"data": core_schema.with_default_schema(payload, default={}, validate_default=True)}
        names = [item.name for item in fields(Event)]
        given = [core_schema.dataclass_field(name, schemas[name]) for name in names]
        return core_schema.dataclass_schema(
            Event, core_schema.dataclass_args_schema("Event", given), names, slots=True
        )

    union = core_schema.tagged_union_schema(
        {kind: event_schema(kind) for kind in EVENT_TYPES}, discriminator="type"
    )
    return SchemaValidator(core_schema.definitions_schema(union, list(definitions.values())))


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
    )
