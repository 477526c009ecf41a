"""Dead letters: what a record that cannot be processed looks like on `<its topic>.dlq`.

A dead letter is the record itself, byte for byte, with headers that say what was wrong. Nothing
here calls Kafka. The writer waits for the delivery before it commits the source offset.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

from prometheus_client import Counter

from streams.envelope import HOPS
from streams.limits import MAX_DEAD_LETTER_BYTES

SUFFIX: Final = ".dlq"
#: Headers of Runstream; a redriven record that fails again carries the newest values only.
PREFIX: Final = "runstream-error-"
#: How many headers of the source could not be kept.
DROPPED: Final = "runstream-headers-dropped"
#: The class of a step after its last attempt; its record can be decoded, its redrive is a rerun.
RETRIES_EXHAUSTED: Final = "retries_exhausted"

#: The size that the record had, where only its beginning is kept.
TRUNCATED: Final = f"{PREFIX}truncated"

_KEPT_KEY: Final = 1_024
_KEPT_VALUE: Final = 64 * 1_024
_MAX_CLASS: Final = 64
_MAX_MESSAGE: Final = 1_000
_MAX_NAME: Final = 256

HeaderList = list[tuple[str, str | bytes | None]]

#: Counted by the writer; the topic is the source's name without a prefix.
WRITTEN: Final = Counter(
    "runstream_dead_letters_total",
    "Records written to a dead-letter topic",
    ["topic", "error_class"],
)


def count_from_zero(topics: Iterable[str], error_classes: Iterable[str]) -> None:
    """Create the series, so that the first dead letter is an increase and not a new series."""
    classes = tuple(error_classes)
    for topic in topics:
        for error_class in classes:
            WRITTEN.labels(topic, error_class)


class SourceRecord(Protocol):
    """A consumed record, as confluent-kafka hands it out."""

    def topic(self) -> str | None: ...
    def partition(self) -> int | None: ...
    def offset(self) -> int | None: ...
    def key(self) -> Any: ...
    def value(self) -> Any: ...
    def headers(self) -> Any: ...
    def timestamp(self) -> tuple[int, int]: ...


class DeadLetter(NamedTuple):
    """What to produce; without a partition where it came from no record."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: HeaderList
    partition: int | None


def dead_letter(
    topic: str,
    message: SourceRecord,
    *,
    error_class: str,
    message_text: str,
    stage: str,
    group: str,
    attempt: int = 1,
    app: str | None = None,
) -> DeadLetter:
    """The dead letter for `message` of `topic` (its full name): same key, value and partition.

    `message_text` never quotes the record; `stage` is where it
    failed (decode, decide, store …). A header of the source is kept if its key occurs once and
    its value is UTF-8; the others are counted. Where the dead-letter topic has fewer partitions
    than the source, produce with `fitting(letter, partitions)`. Of a record that is larger than
    MAX_DEAD_LETTER_BYTES once it is decompressed the beginning is kept, and TRUNCATED says so.
    """
    kept, dropped = _kept(_headers(message))
    key, value = message.key(), message.value()
    size = _size(key, value, kept)
    if size > MAX_DEAD_LETTER_BYTES:
        # Only a compressed record can be so large: its topic bounds what it had on the wire.
        dropped += len(kept)
        key, value, kept = key and key[:_KEPT_KEY], value and value[:_KEPT_VALUE], []
        kept.append((TRUNCATED, _number(size)))
    own: HeaderList = [
        (f"{PREFIX}class", _text(error_class, _MAX_CLASS)),
        (f"{PREFIX}message", _text(message_text, _MAX_MESSAGE)),
        (f"{PREFIX}topic", _text(topic, _MAX_NAME)),
        (f"{PREFIX}partition", _number(message.partition())),
        (f"{PREFIX}offset", _number(message.offset())),
        (f"{PREFIX}timestamp", _moment(message.timestamp()[1])),
        (f"{PREFIX}group", _text(group, _MAX_NAME)),
        (f"{PREFIX}stage", _text(stage, _MAX_CLASS)),
        (f"{PREFIX}app", _text(app or group, _MAX_NAME)),
        (f"{PREFIX}attempt", _number(attempt)),
    ]
    if dropped:
        own.append((DROPPED, _number(dropped)))
    return DeadLetter(topic + SUFFIX, key, value, kept + own, message.partition())


def exhausted(
    topic: str,
    key: bytes,
    command: bytes,
    *,
    message_text: str,
    attempt: int,
    app: str,
    headers: Iterable[tuple[str, str | bytes | None]] = (),
) -> DeadLetter:
    """The dead letter for a step after its last attempt: its last command, as it was sent.

    `topic` is the step topic's name on the cluster. The command's key chooses the partition.
    """
    kept, _ = _kept(list(headers))
    own: HeaderList = [
        (f"{PREFIX}class", RETRIES_EXHAUSTED.encode()),
        (f"{PREFIX}message", _text(message_text, _MAX_MESSAGE)),
        (f"{PREFIX}topic", _text(topic, _MAX_NAME)),
        (f"{PREFIX}stage", b"run"),
        (f"{PREFIX}app", _text(app, _MAX_NAME)),
        (f"{PREFIX}attempt", _number(attempt)),
    ]
    return DeadLetter(topic + SUFFIX, key, command, kept + own, None)


def fitting(letter: DeadLetter, partitions: int) -> DeadLetter:
    """The dead letter for a topic of that many partitions: by key where its own is not there."""
    if letter.partition is not None and letter.partition >= partitions:
        return letter._replace(partition=None)
    return letter


def without_error(headers: Iterable[tuple[str, str | bytes | None]]) -> HeaderList:
    """The headers of a dead letter as its record had them, with one hop more."""
    kept: HeaderList = []
    hops = 0
    for name, value in headers:
        if name == HOPS:
            hops = hop_count(value)
        elif not name.startswith(PREFIX) and name != DROPPED:
            kept.append((name, value))
    kept.append((HOPS, _number(hops + 1)))
    return kept


def hop_count(value: str | bytes | None) -> int:
    """How often a dead letter was redriven, by its hop header; 0 where that is malformed."""
    return int(value) if value and value.isdigit() and len(value) < 10 else 0


def _headers(message: SourceRecord) -> list[tuple[str, Any]]:
    try:
        return list(message.headers() or ())
    except (UnicodeDecodeError, ValueError):
        # A header key is not text: the client then gives none of the headers.
        return [("\ufffd", b"\xff")]


def _kept(given: list[tuple[str, Any]]) -> tuple[HeaderList, int]:
    counts = Counts(name for name, _ in given)
    kept: HeaderList = []
    dropped = 0
    for name, value in given:
        if name.startswith(PREFIX) or name == DROPPED:
            continue
        raw = value.encode() if isinstance(value, str) else value
        if counts[name] == 1 and _is_text(raw):
            kept.append((name, raw))
        else:
            dropped += 1
    return kept, dropped


def _size(key: Any, value: Any, headers: HeaderList) -> int:
    """The bytes of a record, without the few that say how long its parts are."""
    parts = [key, value, *(text for header in headers for text in header)]
    return sum(len(part) for part in parts if part is not None)


def _is_text(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


def _text(text: str, limit: int) -> bytes:
    return text[:limit].encode(errors="replace")


def _number(number: int | None) -> bytes:
    return str(-1 if number is None else number).encode()


def _moment(milliseconds: int) -> bytes:
    if milliseconds < 0:
        return b""
    moment = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
