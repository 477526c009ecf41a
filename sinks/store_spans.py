"""Spans of what the sink has stored: one for the batch, and one in each execution that ended."""

from __future__ import annotations

from time import time_ns

from confluent_kafka import Message

from runtime import tracing
from runtime.spans import Span, kafka, links_to, nanoseconds
from sinks.event_spans import traced
from sinks.reading import Reading
from streams.envelope import message_headers
from streams.lifecycle import TERMINAL_EVENTS
from streams.trace_context import NO_SPAN, TraceContext, new_trace, other_span


def tell(reading: Reading, group: str, seconds: float) -> None:
    """Send the spans of a batch that is committed; it took so many seconds."""
    traces = tracing.active()
    if traces is None:
        return
    ended: list[tuple[str, TraceContext, Message]] = []
    for (topic, partition), offset, row in reading.batch.events:
        if row.event.type in TERMINAL_EVENTS:
            message = reading.messages[topic, partition, offset]
            context = traced(message_headers(message))
            if context is not None:
                ended.append((row.event.execution_id, context, message))
    if ended:
        traces.add(*_spans(ended, reading.records, group, time_ns(), seconds, traces.app))


def _spans(
    ended: list[tuple[str, TraceContext, Message]],
    records: int,
    group: str,
    now_ns: int,
    seconds: float,
    app: str,
) -> list[Span]:
    topic = str(ended[0][2].topic())
    links = links_to(context for _, context, _ in ended)
    # An execution ends once, and its end is stored once.
    trace_id = new_trace(f"batch {ended[0][0]}")
    batch = TraceContext(trace_id, other_span("batch", trace_id), True)
    read = kafka("process", topic, group=group, count=records)
    found = [
        Span(
            f"process {topic}", batch, NO_SPAN, "consumer", now_ns - round(seconds * 1e9), now_ns,
            {**read, "runstream.executions.ended": len(ended)}, links=links, app=app,
        )
    ]  # fmt: skip
    for execution_id, context, message in ended:
        written = nanoseconds(max(message.timestamp()[1], 0) / 1_000)
        attributes = {
            "db.system.name": "postgresql",
            "runstream.execution.id": execution_id,
            **kafka("process", topic, partition=message.partition(), offset=message.offset()),
        }
        found.append(
            Span(
                f"store {topic}", context.at(other_span("stored", execution_id)), context.span_id,
                "consumer", min(written, now_ns), now_ns, attributes, links=(batch,), app=app,
            )
        )  # fmt: skip
    return found
