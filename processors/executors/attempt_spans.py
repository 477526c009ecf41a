"""Spans of attempts and claims, made from what was committed and reported."""

from __future__ import annotations

from collections.abc import Sequence
from time import time_ns

from drivers.context import Failure
from processors.executors.attempts import Attempt
from processors.executors.claim import Place, Start
from runtime import clock, tracing
from runtime.recording import Recording, start
from runtime.spans import Fault, Span, kafka, links_to
from streams.trace_context import NO_SPAN, TraceContext, new_trace, other_span, parsed


def record(attempt: Attempt) -> None:
    """Record what the task of this attempt does, where it is traced; called in that task."""
    if attempt.traceparent is None or (traces := tracing.active()) is None:
        return
    sent = parsed(attempt.traceparent)
    if not sent.sampled:
        return
    # An attempt is claimed once: its id names it.
    attempt.recording = Recording(
        sent.at(other_span("process", attempt.start.attempt_id)), traces.app
    )
    start(attempt.recording)


def finish(attempt: Attempt, kind: str, failure: Failure | None) -> None:
    """Send the spans of an attempt whose end is reported; `failure` is masked."""
    recording = attempt.recording
    if recording is None or attempt.traceparent is None:
        return
    traces = tracing.active()
    if traces is None:
        return
    attempt.recording = None
    command, place = attempt.command, attempt.place
    now = time_ns()
    attributes = {
        **({} if place is None else _read_at(place)),
        "messaging.message.id": attempt.start.attempt_id,
        "runstream.execution.id": command.execution_id,
        "runstream.step": command.step,
        "runstream.attempt": command.attempt,
        "runstream.tool": command.tool,
        "runstream.tenant": command.tenant,
        "runstream.driver": attempt.invocation.driver,
        "runstream.outcome": kind,
    }
    if recording.left_out:
        attributes["runstream.spans_left_out"] = recording.left_out
    fault = None
    if failure is not None:
        fault = Fault(failure.error_class, failure.message)
    own = Span(
        "process" if place is None else f"process {place.topic}",
        recording.context,
        parsed(attempt.traceparent).span_id,
        "consumer",
        now - round((clock.monotonic() - attempt.claimed_at) * 1e9),
        now,
        attributes,
        fault,
        app=traces.app,
    )
    traces.add(own, *recording.children)


def claimed(starts: Sequence[tuple[Start, bytes | None, Place | None]], seconds: float) -> None:
    """Send the span of a claim transaction, with a link to each attempt that it has claimed."""
    traces = tracing.active()
    if traces is None:
        return
    links = links_to(parsed(sent) for _, sent, _ in starts if sent is not None)
    place = next((place for _, _, place in starts if place is not None), None)
    if not links or place is None:
        return
    now = time_ns()
    # An attempt is claimed once, so the first one names the claim.
    first = links[0]
    context = TraceContext(
        new_trace(f"claim {first.trace_id} {first.span_id}"), other_span("claim", *first[:2]), True
    )
    attributes = kafka("receive", place.topic, group=place.group, count=len(starts))
    start_ns = now - round(seconds * 1e9)
    traces.add(
        Span(
            f"receive {place.topic}", context, NO_SPAN, "client", start_ns, now, attributes,
            links=links, app=traces.app,
        )
    )  # fmt: skip


def _read_at(place: Place) -> dict[str, str | bool | int | float]:
    return kafka(
        "process", place.topic, partition=place.partition, offset=place.offset, group=place.group
    )
