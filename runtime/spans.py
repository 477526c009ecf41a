"""Spans: what happened, from when to when, as plain values; `runtime.otlp` sends them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from streams.trace_context import NO_SPAN, TraceContext

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | bool | int | float

#: Of a text in a span: attributes are for searching, the rest is in events and logs.
MAX_TEXT: Final = 256
#: A batch of more names these only; how many there are is an attribute.
MAX_LINKS: Final = 128


@dataclass(frozen=True, slots=True)
class Fault:
    """Why it failed: a class of few values, and a sentence without secrets."""

    error_class: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One span that has ended; times are Unix nanoseconds."""

    name: str
    context: TraceContext
    #: The span that it is part of; NO_SPAN where it is the first of its trace.
    parent: str
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    fault: Fault | None = None
    links: tuple[TraceContext, ...] = ()
    #: The name of the process type that it is of.
    app: str = ""

    @property
    def is_first(self) -> bool:
        """Whether no other span is above it."""
        return self.parent == NO_SPAN


def nanoseconds(unix_seconds: float) -> int:
    """Unix seconds as spans have them; to the microsecond, since a float has no more."""
    return round(unix_seconds * 1_000_000) * 1_000


def links_to(contexts: Iterable[TraceContext]) -> tuple[TraceContext, ...]:
    """The links of a span of a batch, each once and no more than MAX_LINKS."""
    return tuple(dict.fromkeys(one for one in contexts if one.sampled))[:MAX_LINKS]


def kafka(
    operation: Literal["send", "process", "receive", "settle"],
    topic: str,
    *,
    partition: int | None = None,
    offset: int | None = None,
    group: str | None = None,
    count: int | None = None,
) -> dict[str, Value]:
    """The attributes of an operation on a topic, by the messaging conventions 1.37 and later.

    `offset` is that of the record, `count` how many records a batch has.
    """
    found: dict[str, Value] = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }
    if partition is not None:
        found["messaging.destination.partition.id"] = str(partition)
    if offset is not None:
        found["messaging.kafka.offset"] = offset
    if group is not None:
        found["messaging.consumer.group.name"] = group
    if count is not None:
        found["messaging.batch.message_count"] = count
    return found
