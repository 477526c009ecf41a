"""Several reports in one record of `steps.reports`: JSON Lines, one report in each line.

An executor that claims or ends many attempts at once writes those of one partition together: their
envelope and their signature, each longer than most reports, stand there once. A record with one
report is that report and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from streams.envelope import Headers, header

#: `ce_type` of a record with several reports.
TYPE: Final = "runstream.reports.v1"
#: The most reports in one record, and the most bytes of one that shares its record.
MAX_LINES: Final = 64
MAX_LINE_BYTES: Final = 4 * 1024
_END: Final = b"\n"
#: What these say of the first report would be said of all.
_OF_ONE: Final = ("ce_subject", "traceparent")


def join(reports: Sequence[bytes]) -> bytes:
    """The value of a record with these reports, JSON without line feeds, in this order."""
    return _END.join(reports)


def headers_of(first: Headers, reports: int) -> Headers:
    """The headers of a record with so many reports, made from those of its first one."""
    own = {"ce_type": TYPE.encode(), "content-type": b"application/jsonl"}
    found: Headers = []
    for name, value in first:
        if name == "ce_id":
            found.append((name, b"%b+%d" % (value, reports - 1)))
        elif name not in _OF_ONE:
            found.append((name, own.get(name, value)))
    return found


def split(value: bytes, headers: Sequence[tuple[str, Any]]) -> list[bytes] | None:
    """The reports of a record; None where it is no record with several, as any other writer's."""
    if _END not in value or value.count(_END) >= MAX_LINES or header(headers, "ce_type") != TYPE:
        return None
    return value.split(_END)
