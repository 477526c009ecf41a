"""What the router writes of traces: headers alone, and none where traces are off."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runtime.spans import Span
from runtime.trace_settings import Sampling
from sinks.event_spans import Record, spans
from streams import topics
from streams.trace_context import NO_SPAN, attempt_span, execution_span, new_trace, parsed
from tests.unit.router.simulation import Simulation

TRACE, PRODUCER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = ("traceparent", f"00-{TRACE}-{PRODUCER}-01".encode())
ON = Sampling("parentbased_always_on", 1.0)
PLAN = {"steps": [{"tool": "fail", "retry": {"max_attempts": 2, "backoff_seconds": 0.1}}]}

Sent = list[tuple[str, dict[str, Any], dict[str, bytes]]]


class Traced(Simulation):
    """A simulation that keeps the headers of what is written."""

    def __init__(self, traces: Sampling | None = ON) -> None:
        self.sent: Sent = []
        super().__init__(traces=traces)

    def _collect(self) -> None:
        self.hosted.flush(self.out)
        for topic, _, value, headers in self.out.records:
            if topic != "router.state" and value is not None and headers:
                self.sent.append((topic, orjson.loads(value), dict(headers)))
        super()._collect()

    def request(self, body: dict[str, Any], *headers: tuple[str, bytes]) -> str:
        """Submit it; returns the execution id."""
        (first, *_) = self.produce(topics.REQUESTS, orjson.dumps(body), headers=list(headers))
        return str(first["execution_id"])

    def spans(self) -> list[Span]:
        """What the reader of the events makes of them."""
        return [
            span
            for topic, value, headers in self.sent
            if topic == topics.EVENTS.name
            for span in spans(
                Record(list(headers.items()), orjson.dumps(value), 1_790_000_000_000), ""
            )
        ]


def _to_the_end(router: Traced) -> None:
    first = router.take()
    router.report("started", first)
    error = {"class": "connection_lost", "message": "gone", "transient": True}
    router.report("failed", first, error=error)
    router.wait(5)
    second = router.take()
    assert second["attempt"] == 2
    router.restart()
    router.report("started", second)
    router.report("succeeded", second, output={})


def test_the_producers_trace_goes_to_every_event_and_command() -> None:
    router = Traced()
    execution = router.request({"plan": PLAN}, PARENT)
    _to_the_end(router)
    own = f"00-{TRACE}-{execution_span(execution)}-01".encode()
    events = [headers for topic, _, headers in router.sent if topic == topics.EVENTS.name]
    assert {headers["traceparent"] for headers in events} == {own}
    commands = [
        parsed(headers["traceparent"]).span_id
        for topic, _, headers in router.sent
        if topic.startswith("steps.")
    ]
    step = router.events[-2]["step"]
    assert commands == [attempt_span(execution, step, number) for number in (1, 2)]
    assert not any("tracestate" in headers for _, _, headers in router.sent)


def test_the_events_alone_make_the_tree_also_over_a_restart() -> None:
    router = Traced()
    execution = router.request({"plan": PLAN}, PARENT)
    _to_the_end(router)
    found = router.spans()
    root = execution_span(execution)
    assert [(span.name, span.parent) for span in found] == [
        ("process execution.requests", root),
        ("send steps.test.immediate", root),
        ("send steps.test.immediate", root),
        ("execution", PRODUCER),
    ]
    assert len({span.context.span_id for span in found}) == len(found)
    assert {span.context.trace_id for span in found} == {TRACE}
    (whole,) = [span for span in found if span.name == "execution"]
    assert whole.fault is None and whole.end_ns > whole.start_ns
    # Read again, by whomever, they are the same.
    assert router.spans() == found


def test_without_a_producer_the_trace_is_derived_and_begins_here() -> None:
    router = Traced()
    execution = router.request({"plan": PLAN}, ("traceparent", b"\xff\xfe"))
    router.control("cancel", execution)
    router.report("cancelled", router.take(), confirmed=True, reason="cancelled", evidence={})
    (whole,) = [span for span in router.spans() if span.name == "execution"]
    assert (whole.context.trace_id, whole.parent) == (new_trace(execution), NO_SPAN)
    assert whole.is_first


def test_a_refused_request_is_a_span_of_its_producers_trace() -> None:
    router = Traced()
    router.request({"plan": {"steps": [{"tool": "no-such-tool"}]}}, PARENT)
    admitted, whole = router.spans()
    assert (whole.parent, whole.context.trace_id) == (PRODUCER, TRACE)
    assert whole.fault is not None and whole.fault.error_class == "invalid"
    assert admitted.parent == whole.context.span_id


def test_a_lost_attempt_is_told_below_its_own_span() -> None:
    router = Traced()
    execution = router.request({"plan": {"steps": [{"tool": "sleep"}]}}, PARENT)
    command = router.take()
    router.report("started", command)
    router.wait(120)
    (lost,) = [span for span in router.spans() if span.name == "step.lost"]
    assert lost.parent == attempt_span(execution, command["step"], 1)
    assert lost.fault is not None and lost.fault.error_class == "lost"


def test_what_is_not_recorded_is_passed_on_as_that() -> None:
    router = Traced()
    router.request({"plan": PLAN}, ("traceparent", f"00-{TRACE}-{PRODUCER}-00".encode()))
    _to_the_end(router)
    assert all(headers["traceparent"].endswith(b"-00") for topic, _, headers in router.sent
               if topic.startswith(("execution.events", "steps.")))  # fmt: skip
    assert router.spans() == []


@pytest.mark.parametrize("headers", [(), (PARENT,)])
def test_without_traces_nothing_is_written_of_them(headers: tuple[tuple[str, bytes], ...]) -> None:
    router = Traced(None)
    router.request({"plan": PLAN}, *headers)
    _to_the_end(router)
    assert len(router.sent) > 8
    assert not any({"traceparent", "runstream-trace"} & given.keys() for _, _, given in router.sent)


def test_a_trace_of_an_older_version_of_the_state_is_none() -> None:
    """A changelog that was written before there were traces is restored, and goes on without."""
    router = Traced()
    router.request({"plan": PLAN})
    for key, value in list(router.changelog.items()):
        if key.endswith(b"/.plan"):
            body = orjson.loads(value)
            assert body.pop("trace") is not None
            router.changelog[key] = orjson.dumps(body)
    router.restart()
    (execution,) = router.partition.store.living.values()
    assert execution.trace is None
