"""Trace context: what of a stranger's header is taken, and ids that everybody derives alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from streams.trace_context import (
    NO_SPAN,
    TraceContext,
    attempt_span,
    execution_span,
    new_trace,
    parsed,
    trace_parent,
)
from streams.trace_notes import Source, ended_note, ended_of, source_note, source_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (GOOD, GOOD),
        (f"00-{TRACE}-{SPAN}-00".encode(), f"00-{TRACE}-{SPAN}-00".encode()),
        # A later version is read as far as this one goes.
        (f"cc-{TRACE}-{SPAN}-01-what-comes".encode(), GOOD),
        (f"01-{TRACE}-{SPAN}-01".encode(), GOOD),
        (f"01-{TRACE}-{SPAN}-01.more".encode(), None),
        (GOOD + b"-more", None),
        (GOOD + b"\n", None),
        (f"ff-{TRACE}-{SPAN}-01".encode(), None),
        (f"00-{'0' * 32}-{SPAN}-01".encode(), None),
        (f"00-{TRACE}-{'0' * 16}-01".encode(), None),
        (GOOD.upper(), None),
        (f"cc-{TRACE}-{SPAN}-01-".encode() + b"x" * 1_000_000, None),
        (b"\xff\xfe", None),
        (b"", None),
        ("00-x".encode("utf-16"), None),
        (None, None),
        (GOOD.decode(), None),
    ],
)
def test_only_a_trace_parent_is_one(value: bytes | str | None, taken: bytes | None) -> None:
    given = [("tracestate", b"\xff"), ("traceparent", value), ("baggage", b"k=" + b"v" * 9_999)]
    assert trace_parent(given) == taken


def test_of_several_none_counts() -> None:
    assert trace_parent([("traceparent", GOOD), ("traceparent", GOOD)]) is None
    assert trace_parent([("traceparent", b"\xff"), ("traceparent", GOOD)]) is None
    assert trace_parent([("traceparent", GOOD)] * 1_000) is None
    assert trace_parent(None) is None and trace_parent([]) is None


@given(some.lists(some.tuples(some.sampled_from(["traceparent", "x"]), some.binary(max_size=80))))
def test_whatever_comes_is_no_error_and_of_one_length(
    headers: list[tuple[str, bytes | str | None]],
) -> None:
    found = trace_parent(headers)
    assert found is None or (len(found) == 55 and parsed(found).trace_id != "0" * 32)


def test_ids_are_derived_and_well_formed() -> None:
    execution = "0199d2c5-7a3e-8c11-9f00-5a1b2c3d4e5f"
    assert re.fullmatch("[0-9a-f]{32}", new_trace(execution))
    spans = [
        execution_span(execution),
        attempt_span(execution, "a", 1),
        attempt_span(execution, "a", 2),
        attempt_span(execution, "a1", 2),
        attempt_span(execution, "a[1]", 2),
    ]
    assert len(set(spans)) == len(spans)
    assert all(re.fullmatch("[0-9a-f]{16}", span) for span in spans)
    # Not by chance: these are what every version has to give.
    assert new_trace(execution) == new_trace(execution)


def test_a_context_survives_its_text() -> None:
    for sampled in (True, False):
        for span in (SPAN, NO_SPAN):
            context = TraceContext(TRACE, span, sampled)
            assert parsed(context.text) == parsed(context.text.encode()) == context


def test_notes_are_read_as_they_were_written_and_nothing_else_is() -> None:
    source = Source("execution.requests", 3, 42, 1_790_000_000_123)
    note = f"{source_note(source)};{ended_note(SPAN, 1_790_000_000.5)}"
    assert source_of(note) == source
    assert ended_of(note) == (SPAN, 1_790_000_000.5)
    for wrong in (None, "", "from=/1/2/3", "parent=zz,began=1", "from=" + "x" * 9_999):
        assert source_of(wrong) is None and ended_of(wrong) is None
