"""From bytes to typed rows, or to a reason why not; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from streams.envelope import SIGNATURE, header, major_version
from streams.escape import NUL_IN_JSON, visible_tree
from streams.events import Event, EventRecord, typed
from streams.ids import event_id
from streams.payloads import Unknown
from streams.reports import OutputChunk

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CURRENT: Final = b".v1"

GivenHeaders = Sequence[tuple[str, bytes | str | None]] | None
M = TypeVar("M", bound=BaseModel)


class Unreadable(NamedTuple):
    """Why a record is not what its topic carries: a stable class and a sentence."""

    error_class: str
    message: str


class EventRow(NamedTuple):
    """One event, and its data as JSON exactly as it came, fields that are not known included."""

    event_id: str
    event: Event
    data_json: str
    #: Of the end of an execution and of what follows it, where the router signs.
    signature: str | None = None


class OutputRow(NamedTuple):
    """One chunk of output, in the order of the table's columns."""

    execution_id: str
    step: str
    attempt: int
    stream: str
    chunk: int
    byte_offset: int
    tenant: str
    text: str
    at: str


def read_event(value: bytes | None, headers: GivenHeaders) -> EventRow | Unreadable:
    """The event in a record of `execution.events`."""
    record = _read(EventRecord, value, headers)
    if isinstance(record, Unreadable):
        return record
    if not _ID.fullmatch(record.execution_id):
        return Unreadable("invalid", "execution_id: not a UUID in lower case")
    try:
        event = typed(record)
    except ValidationError as error:
        return _invalid(error, "data")
    return EventRow(
        event_id(event.execution_id, event.seq),
        event,
        orjson.dumps(record.data).decode(),
        header(headers, SIGNATURE) if headers else None,
    )


def stored_event(
    execution_id: str,
    seq: int,
    kind: str,
    at: datetime,
    tenant: str,
    step: str | None,
    attempt: int | None,
    data: dict[str, Any],
) -> Event:
    """The event of a stored row; data that an earlier version wrote in another shape is Unknown."""
    record = EventRecord.model_construct(
        execution_id=execution_id, seq=seq, type=kind, at=at.isoformat(), tenant=tenant,
        step=step, attempt=attempt, data=data,
    )  # fmt: skip
    try:
        return typed(record)
    except ValidationError:
        return Event(execution_id, seq, kind, record.at, tenant, Unknown(data), step, attempt)


def read_output(
    value: bytes | None, headers: GivenHeaders, timestamp_ms: int
) -> OutputRow | Unreadable:
    """The chunk in a record of `execution.output`; its time is the broker's."""
    chunk = _read(OutputChunk, value, headers)
    if isinstance(chunk, Unreadable):
        return chunk
    if not _ID.fullmatch(chunk.execution_id):
        return Unreadable("invalid", "execution_id: not a UUID in lower case")
    return OutputRow(
        chunk.execution_id,
        chunk.step,
        chunk.attempt,
        chunk.stream,
        chunk.index,
        chunk.offset,
        chunk.tenant,
        chunk.text,
        timestamp(timestamp_ms),
    )


def timestamp(unix_ms: int) -> str:
    """A broker's timestamp as RFC 3339 text."""
    return datetime.fromtimestamp(max(unix_ms, 0) / 1_000, UTC).isoformat(timespec="milliseconds")


def _read(model: type[M], value: bytes | None, headers: GivenHeaders) -> M | Unreadable:
    if value is None:
        return Unreadable("not_json", "the record has no value")
    future = _newer_major(headers)
    if future is not None:
        return Unreadable("unknown_version", f"major version {future} is newer than this program")
    try:
        # As fast as pydantic's own parser, and it refuses NaN, infinity and lone surrogates,
        # which Postgres would refuse later.
        tree = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Unreadable("not_json", f"the value is not JSON: {error.msg}")
    if NUL_IN_JSON in value:
        tree = visible_tree(tree)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        return _invalid(error)


def _invalid(error: ValidationError, *within: str) -> Unreadable:
    """The first fault and where it is; never the value, which may be a secret."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join([*within, *(str(part) for part in first["loc"])]) or "value"
    return Unreadable("invalid", f"{field}: {first['msg']}")


def _newer_major(headers: GivenHeaders) -> int | None:
    """The major version, where the record names another one than ours."""
    for name, value in headers or ():
        if name == "ce_type" and not (isinstance(value, bytes) and value.endswith(_CURRENT)):
            major = major_version(header(headers, "ce_type"))
            return major if major is not None and major > 1 else None
    return None
