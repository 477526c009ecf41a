"""Everything the executor emits is a valid report, whatever a tool returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.executors import reports, shortening
from processors.executors.reports import Reports
from streams.commands import StepCommand
from streams.limits import MAX_OUTPUT_BYTES, MAX_REPORT_BYTES
from streams.reports import (
    EXCERPT_BYTES,
    REPORT,
    Cancelled,
    Failed,
    Heartbeat,
    StreamSummary,
    Succeeded,
)
from tests.unit.executors_agent.test_claim import EXECUTION, command

COMMAND = StepCommand.model_validate_json(orjson.dumps(command()))


def no_tokens(topic: str, values: Sequence[bytes]) -> list[bytes]:
    """In the place of signatures, which nobody checks here."""
    return [b"token"] * len(values)


MAKER = Reports("here", no_tokens)
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(st.characters())
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
    ),
    max_leaves=20,
)


def succeeded(output: Any) -> Succeeded:
    _, value, _ = MAKER.record(COMMAND, "succeeded", "t", **reports.end_fields(0.5, output))
    assert len(value) <= MAX_REPORT_BYTES
    report = REPORT.validate_json(value)
    assert isinstance(report, Succeeded)
    return report


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=8), values, max_size=5))
def test_any_output_can_be_reported(output: dict[str, Any]) -> None:
    assert succeeded(output).output is not None


#: Text as hostile programs write it; control characters take six bytes of JSON each.
texts = st.text(st.characters(), max_size=50) | st.builds(
    lambda piece, times: piece * times,
    st.sampled_from(["\x00", "\x1b", '"', "\ud800", "ü", "\U0001f600", "x", "\\"]),
    st.integers(0, 300_000),
)
outputs = st.dictionaries(texts.map(lambda text: text[:100_000]), values | texts, max_size=5)
summaries = st.builds(
    StreamSummary,
    bytes=st.integers(0, 2**63 - 1),
    sha256=st.just("0" * 64),
    head=texts.map(lambda text: text[:EXCERPT_BYTES].encode("utf-8", "replace").decode()),
    tail=texts.map(lambda text: text[:EXCERPT_BYTES].encode("utf-8", "replace").decode()),
    lost_bytes=st.integers(0, 2**63 - 1),
)


@settings(max_examples=60, deadline=None)
@given(
    output=outputs | st.none(),
    stdout=summaries | st.none(),
    stderr=summaries | st.none(),
    message=texts,
    evidence=outputs,
    kind=st.sampled_from(["succeeded", "failed", "cancelled"]),
)
def test_every_report_of_an_end_is_valid_and_within_its_budget(
    output: Any, stdout: Any, stderr: Any, message: str, evidence: Any, kind: str
) -> None:
    named = COMMAND.model_copy(update={"step": "s" * 128})
    fields = reports.end_fields(1e8, output, stdout, stderr)
    if kind != "succeeded":
        fields["evidence"] = reports.evidence(evidence)
    if kind == "failed":
        fields["error"] = reports.error(message, message, True)
    if kind == "cancelled":
        fields["confirmed"] = False
    _, value, _ = Reports("i" * 100, no_tokens).record(named, kind, "t", None, **fields)
    assert len(value) <= MAX_REPORT_BYTES
    assert REPORT.validate_json(value).type == kind


def test_a_report_as_large_as_it_can_get_is_within_its_budget() -> None:
    worst = "\x01" * 300_000
    huge = {f"{number}{worst[:1000]}": worst[:2_000] for number in range(2_000)}
    stream = StreamSummary(1, "0" * 64, worst[:EXCERPT_BYTES], worst[:EXCERPT_BYTES])
    fields = reports.end_fields(1.0, huge, stream, stream)
    _, value, _ = MAKER.record(
        COMMAND, "failed", "t", evidence=reports.evidence(huge),
        error=reports.error(worst, worst, False), **fields,
    )  # fmt: skip
    assert len(value) <= MAX_REPORT_BYTES
    report = REPORT.validate_json(value)
    assert isinstance(report, Failed) and report.output is not None
    assert report.output["truncated"] is True
    assert len(orjson.dumps(report.output)) <= MAX_OUTPUT_BYTES
    # The largest that fits is kept whole.
    whole = {"text": "x" * (MAX_OUTPUT_BYTES - len(b'{"text":""}'))}
    assert succeeded(whole).output == whole


def test_ordinary_output_is_reported_as_it_is() -> None:
    output = {"a": 1, "b": [True, None, 1.5, {"c": "ü\u0000"}], "d": -(2**63), "e": 2**64 - 1}
    assert succeeded(output).output == output


def test_values_that_json_has_not_become_harmless() -> None:
    class Holder:
        secret = "hunter2"

        def __repr__(self) -> str:
            return self.secret

    output = succeeded(
        {
            "nan": math.nan,
            "big": 2**70,
            "huge": 10**5_000,
            "bytes": b"\xffa",
            "half": "\ud800",
            "set": {1},
            "odd": Holder(),
            3: "three",
        }
    ).output
    assert output is not None
    assert output["nan"] is None and output["big"] == str(2**70)
    assert output["huge"].startswith("<integer of") and output["set"] == [1]
    assert output["odd"] == "<Holder>" and output["3"] == "three"


def test_deep_output_is_cut_where_readers_would_fail() -> None:
    deep: Any = "bottom"
    for _ in range(5_000):
        deep = [deep]
    assert b"<too deep>" in shortening.encode({"deep": deep, "flat": 1}, MAX_OUTPUT_BYTES)
    assert succeeded({"deep": deep, "flat": 1}).output is not None


def test_a_report_is_keyed_by_route_and_named_by_attempt() -> None:
    key, value, headers = MAKER.record(COMMAND, "started", "2026-11-20T07:00:00.000Z", TRACE)
    assert key == b"456789ab"
    assert REPORT.validate_json(value).executor == "here"
    assert dict(headers) == {
        "ce_id": f"{EXECUTION}:one:2:started".encode(),
        "ce_type": b"runstream.report.started.v1",
        "ce_source": b"runstream/executor/here",
        "ce_specversion": b"1.0",
        "ce_time": b"2026-11-20T07:00:00.000Z",
        "ce_subject": EXECUTION.encode(),
        "content-type": b"application/json",
        "traceparent": TRACE,
    }
    _, _, beat = MAKER.record(COMMAND, "heartbeat", "t", None, 3, **reports.progress(1, "m", 7))
    assert dict(beat)["ce_id"] == f"{EXECUTION}:one:2:heartbeat:3".encode()


@pytest.mark.parametrize("percent", [None, -1.0, 0.0, 99.5, 100.5, math.nan, math.inf])
def test_progress_out_of_bounds_is_left_out(percent: float | None) -> None:
    fields = reports.progress(percent, "n" * 900, 12)
    report = REPORT.validate_json(MAKER.record(COMMAND, "heartbeat", "t", None, 1, **fields)[1])
    assert isinstance(report, Heartbeat) and report.bytes == 12
    assert report.percent == (percent if percent in (0.0, 99.5) else None)


def test_failed_and_cancelled_are_valid() -> None:
    stream = StreamSummary(bytes=3, sha256="0" * 64, head="abc", tail="")
    fields = reports.end_fields(-0.1, {"exit_code": 1}, stream, stream)
    error = reports.error("exit_status" * 20, "\ud800" + "m" * 5_000, True)
    failed = REPORT.validate_json(
        MAKER.record(COMMAND, "failed", "t", error=error, timed_out=False, **fields)[1]
    )
    assert isinstance(failed, Failed) and failed.error["transient"] and failed.stdout == stream
    evidence = reports.evidence({"pids": [1, 2], "junk": "j" * 100_000})
    cancelled = REPORT.validate_json(
        MAKER.record(COMMAND, "cancelled", "t", confirmed=True, evidence=evidence, **fields)[1]
    )
    assert isinstance(cancelled, Cancelled) and cancelled.evidence["pids"] == [1, 2]
    assert cancelled.duration_seconds == 0
