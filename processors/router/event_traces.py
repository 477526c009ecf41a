"""Traces of executions, as headers of the records that the router writes anyway.

The router sends no spans. What it commits says all that they need, and a reader of the events
makes them from that (sinks/trace_reader.py): of an aborted transaction there is none, and of a
router that was killed none is missing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from confluent_kafka import Message

from processors.router.state import Execution
from runtime.trace_settings import Sampling
from streams.envelope import Headers, message_headers
from streams.lifecycle import TERMINAL_EVENTS
from streams.trace_context import (
    TRACEPARENT,
    TraceContext,
    attempt_span,
    execution_span,
    parsed,
    trace_parent,
)
from streams.trace_notes import NOTE, Source, ended_note, source_note

_BEGINS: Final = frozenset({"execution.accepted", "execution.rejected"})


class EventTrace(NamedTuple):
    """The trace of an execution, for its events."""

    #: As the execution keeps it.
    text: str
    #: When the execution began, in Unix seconds.
    began: float
    #: The record that asked for it, where these events answer one.
    source: Source | None = None

    def context(self, execution_id: str) -> TraceContext:
        """The span of the execution."""
        return parsed(self.text).at(execution_span(execution_id))

    def headers(self, context: TraceContext, kind: str) -> Headers:
        """The headers of an event of this type; `context` is that of the execution."""
        given = [(TRACEPARENT, context.text.encode())]
        if not context.sampled:
            return given
        notes = []
        if self.source is not None and kind in _BEGINS:
            notes.append(source_note(self.source))
        if kind in TERMINAL_EVENTS:
            notes.append(ended_note(parsed(self.text).span_id, self.began))
        if notes:
            given.append((NOTE, ";".join(notes).encode()))
        return given


def begin(
    sampling: Sampling | None, message: Message, execution_id: str, now: float
) -> EventTrace | None:
    """The trace of an execution that this record asks for; None where there are no traces."""
    if sampling is None:
        return None
    context = sampling.begin(trace_parent(message_headers(message)), execution_id)
    partition, offset = message.partition() or 0, message.offset() or 0
    source = Source(str(message.topic()), partition, offset, max(message.timestamp()[1], 0))
    return EventTrace(context.text, now, source)


def begin_execution(
    sampling: Sampling | None, message: Message, execution: Execution, now: float
) -> EventTrace | None:
    """The same, and the execution keeps it."""
    trace = begin(sampling, message, execution.id, now)
    if trace is not None:
        execution.trace = trace.text
    return trace


def trace_of(execution: Execution) -> EventTrace | None:
    """The trace of an execution that was accepted before; None where it has none."""
    text = execution.trace
    return None if text is None else EventTrace(text, execution.accepted_at)


def command_header(text: str, execution_id: str, step: str, attempt: int) -> tuple[str, bytes]:
    """The header of the command of an attempt: what its executor does is below its own span."""
    span = attempt_span(execution_id, step, attempt)
    return TRACEPARENT, parsed(text).at(span).text.encode()
