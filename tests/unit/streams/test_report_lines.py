"""Several reports in one record are the same reports again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import report_lines
from streams.envelope import headers
from streams.report_lines import MAX_LINES

ONE = headers(
    ident="e:s:1:started",
    kind="report.started",
    source="runstream/executor/one",
    time="2026-01-01T00:00:00Z",
    subject="e",
    traceparent=b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
SEVERAL = report_lines.headers_of(ONE, 3)


@given(st.lists(st.binary().filter(lambda one: b"\n" not in one), min_size=2, max_size=MAX_LINES))
def test_what_is_joined_is_split_into_the_same(reports: list[bytes]) -> None:
    assert report_lines.split(report_lines.join(reports), SEVERAL) == reports


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (b'{"type":"started"}', SEVERAL),
        (b'{\n"type":"started"\n}', ONE),
        (b"a\nb", []),
        (b"\n" * 500_000, SEVERAL),
        (b"\n".join([b"{}"] * (MAX_LINES + 1)), SEVERAL),
    ],
)
def test_any_other_record_is_one_report(value: bytes, given: list[tuple[str, bytes]]) -> None:
    assert report_lines.split(value, given) is None


def test_the_headers_say_nothing_of_one_report_alone() -> None:
    found = dict(SEVERAL)
    assert found["ce_id"] == b"e:s:1:started+2"
    assert found["ce_type"] == b"runstream.reports.v1"
    assert found["ce_source"] == dict(ONE)["ce_source"]
    assert not {"ce_subject", "traceparent"} & found.keys()
