"""From one event to its spans; pure.

Every span is made of one record alone, and its ids are derived: whoever reads the record again,
after a crash or in the place of another sink, makes the same span.

    execution                        from its acceptance to its terminal event
      process execution.requests     the decision that admitted or refused it
      send steps.<domain>            one for each attempt; what its executor did is below it
        step.lost                    the executor that had claimed it is gone
      step.failed ...                an end of a step that no executor has reported
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runtime.spans import Fault, Kind, Span, Value, kafka, nanoseconds
from streams.envelope import header
from streams.events import Event, decode_event
from streams.lifecycle import TERMINAL_EVENTS
from streams.payloads import (
    Accepted,
    Dispatched,
    Ended,
    Rejected,
    StepCancelled,
    StepFailed,
    StepLost,
)
from streams.trace_context import (
    TraceContext,
    attempt_span,
    execution_span,
    other_span,
    parsed,
    trace_parent,
)
from streams.trace_notes import NOTE, ended_of, source_of

#: The name of the service that these spans are of.
APP: Final = "router"
_STEP_ENDS: Final = frozenset({"step.failed", "step.timed_out", "step.cancelled", "step.lost"})
_TYPES: Final = TERMINAL_EVENTS | _STEP_ENDS | {"execution.accepted", "step.dispatched"}
_WANTED: Final = frozenset(f"runstream.{kind}.v1".encode() for kind in _TYPES)
#: The ends of an execution that nobody has wanted.
_FAULTS: Final = {
    "execution.failed": "failed",
    "execution.partial": "partial",
    "execution.timed_out": "timed_out",
}

Given = Sequence[tuple[str, bytes | str | None]]


@dataclass(frozen=True, slots=True)
class Record:
    """A record of `execution.events`."""

    headers: Given
    value: bytes | None
    #: By the broker's clock, in Unix milliseconds.
    timestamp_ms: int


def traced(headers: Given) -> TraceContext | None:
    """The span of the execution that an event is of; None where it is not recorded."""
    found = trace_parent(headers)
    context = None if found is None else parsed(found)
    return context if context is not None and context.sampled else None


def spans(record: Record, prefix: str) -> list[Span]:
    """The spans that an event completes; none for what is no event, or is not traced.

    `prefix` is that of all topics and groups.
    """
    if not any(key == "ce_type" and value in _WANTED for key, value in record.headers):
        return []
    context = traced(record.headers)
    if context is None or record.value is None:
        return []
    try:
        event = decode_event(record.value)
    except ValueError:
        return []  # The sink parks it as a dead letter.
    if context.span_id != execution_span(event.execution_id):
        return []  # Not written by a router.
    at = _At(event, context, header(record.headers, NOTE), record.timestamp_ms, prefix)
    return at.spans()


@dataclass(frozen=True, slots=True)
class _At:
    """One event with what its record says."""

    event: Event
    #: The span of the execution.
    context: TraceContext
    note: str | None
    written_ms: int
    prefix: str

    def spans(self) -> list[Span]:
        data = self.event.data
        if isinstance(data, Accepted):
            return self._admission({"runstream.plan.name": data.name or ""})
        if isinstance(data, Dispatched):
            return self._sent(data)
        if isinstance(data, Ended | Rejected):
            rejected = isinstance(data, Rejected)
            return [*(self._admission({}) if rejected else []), *self._execution(data)]
        return self._unreported()

    def _admission(self, more: dict[str, Value]) -> list[Span]:
        source = source_of(self.note)
        if source is None:
            return []
        read = kafka(
            "process", source.topic, partition=source.partition, offset=source.offset,
            group=f"{self.prefix}runstream-router",
        )  # fmt: skip
        decided = self.event.unix()
        waited = round(max(0.0, decided - source.timestamp_ms / 1_000), 3)
        if source.timestamp_ms:
            more = {**more, "runstream.request.waited_seconds": waited}
        name = f"process {source.topic}"
        start = nanoseconds(decided)
        return [self._span(name, "admission", "consumer", start, {**read, **more})]

    def _sent(self, data: Dispatched) -> list[Span]:
        step, attempt = self.event.step or "", self.event.attempt or 0
        own = attempt_span(self.event.execution_id, step, attempt)
        more: dict[str, Value] = {"runstream.tool": data.tool}
        topic = f"{self.prefix}{data.topic}"
        start, name = nanoseconds(self.event.unix()), f"send {topic}"
        sent = {**kafka("send", topic), **more}
        return [self._span(name, "", "producer", start, sent, own=own)]

    def _execution(self, data: Ended | Rejected) -> list[Span]:
        found = ended_of(self.note)
        if found is None:
            return []
        parent, began = found
        fault = None
        if isinstance(data, Rejected):
            fault = Fault(data.reason, data.message)
        elif (wrong := _FAULTS.get(self.event.type)) is not None:
            fault = Fault(wrong, data.reason or "")
        return [
            Span(
                "execution",
                self.context,
                parent,
                "internal",
                nanoseconds(began),
                max(nanoseconds(began), nanoseconds(self._written)),
                {**self._names(), "runstream.outcome": self.event.type.partition(".")[2]},
                fault,
                app=APP,
            )
        ]

    def _unreported(self) -> list[Span]:
        """An end that only the router knows of; an executor's own span says what it reported."""
        event, data = self.event, self.event.data
        if event.step is None or event.attempt is None:
            return []
        fault = None
        if isinstance(data, StepLost):
            fault = Fault("lost", "The lease ended without a report.")
        elif isinstance(data, StepFailed) and data.report is None:
            if data.error["class"] == "lost":
                return []  # It follows from step.lost.
            fault = Fault(data.error["class"], data.error["message"])
        elif isinstance(data, StepCancelled) and data.report is None:
            fault = None if data.confirmed else Fault("unconfirmed", data.reason)
        else:
            return []
        # What was never dispatched has no span of its own; what is lost, an executor had claimed.
        lost = isinstance(data, StepLost)
        parent = attempt_span(event.execution_id, event.step, event.attempt) if lost else None
        start = nanoseconds(event.unix())
        return [self._span(event.type, event.type, "internal", start, {}, parent, fault=fault)]

    def _span(
        self,
        name: str,
        what: str,
        kind: Kind,
        start_ns: int,
        attributes: dict[str, Value],
        parent: str | None = None,
        *,
        own: str | None = None,
        fault: Fault | None = None,
    ) -> Span:
        """A span from `start_ns` to the moment at which its event was written."""
        ident = own or other_span(what, self.event.execution_id, str(self.event.seq))
        end = max(start_ns, nanoseconds(self._written))
        return Span(
            name, self.context.at(ident), parent or self.context.span_id, kind, start_ns, end,
            {**attributes, **self._names()}, fault, app=APP,
        )  # fmt: skip

    @property
    def _written(self) -> float:
        return max(self.written_ms / 1_000, self.event.unix())

    def _names(self) -> dict[str, Value]:
        event = self.event
        found: dict[str, Value] = {
            "runstream.execution.id": event.execution_id,
            "runstream.tenant": event.tenant,
        }
        if event.step is not None:
            found["runstream.step"] = event.step
        if event.attempt is not None:
            found["runstream.attempt"] = event.attempt
        return found
