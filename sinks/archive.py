"""The archive of dead letters: one row of bounded size for each; pure."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from runtime.kafka.dead_letters import PREFIX, SourceRecord
from sinks.records import timestamp
from streams.escape import visible

#: What the table keeps of a key or value; the record itself stays on its topic for 30 days.
KEPT_BYTES: Final = 64 * 1024
_KEPT_HEADER: Final = 4 * 1024
_KEPT_HEADERS: Final = 100
_LARGEST: Final = 2**63 - 1
_LARGEST_PARTITION: Final = 2**31 - 1


class DeadLetterRow(NamedTuple):
    """One dead letter, in the order of the table's columns."""

    topic: str
    partition: int
    offset: int
    at: str
    error_class: str | None
    error_message: str | None
    stage: str | None
    source_topic: str | None
    source_partition: int | None
    source_offset: int | None
    execution_id: str | None
    key: bytes | None
    key_bytes: int | None
    value: bytes | None
    value_bytes: int | None
    headers: str


def read_dead_letter(message: SourceRecord) -> DeadLetterRow:
    """The row of a record of any dead-letter topic; every record has one."""
    try:
        given: list[tuple[str, Any]] = list(message.headers() or ())
    except (UnicodeDecodeError, ValueError):
        given = []
    headers = {visible(name): _shown(value) for name, value in given[:_KEPT_HEADERS]}
    key: bytes | None = message.key()
    value: bytes | None = message.value()
    return DeadLetterRow(
        str(message.topic()),
        message.partition() or 0,
        message.offset() or 0,
        timestamp(message.timestamp()[1]),
        # Both are indexed, and an index entry has a largest size.
        (headers.get(f"{PREFIX}class") or "")[:64] or None,
        headers.get(f"{PREFIX}message"),
        headers.get(f"{PREFIX}stage"),
        headers.get(f"{PREFIX}topic"),
        _number(headers.get(f"{PREFIX}partition"), _LARGEST_PARTITION),
        _number(headers.get(f"{PREFIX}offset"), _LARGEST),
        (headers.get("ce_subject") or "")[:64] or None,
        None if key is None else key[:KEPT_BYTES],
        None if key is None else len(key),
        None if value is None else value[:KEPT_BYTES],
        None if value is None else len(value),
        orjson.dumps(headers).decode(),
    )


def _shown(value: Any) -> str | None:
    if isinstance(value, bytes):
        try:
            return visible(value.decode()[:_KEPT_HEADER])
        except UnicodeDecodeError:
            return "0x" + value[:_KEPT_HEADER].hex()
    return None


def _number(text: str | None, largest: int) -> int | None:
    if text is not None and text.isascii() and text.isdigit() and len(text) < 20:
        number = int(text)
        return number if number <= largest else None
    return None
